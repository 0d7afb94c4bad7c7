"""What somebody may have meant who wrote a name that is not known: the nearest one that is, where one is near."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


def guess(name: str, known: Iterable[str], form: str = "{}") -> str:
    """Return `; did you mean …?` with the nearest known name, written in a form, or nothing where none is near."""
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {form.format(close[0])}?" if close else ""


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return every problem of a model as `place: words`, never with a value that was given."""
    rows = error.errors(include_url=False, include_context=False, include_input=False)
    return [f"{'.'.join(map(str, row['loc'])) or 'all'}: {_words(row, model)}" for row in rows]


def _words(row: Any, model: type[BaseModel]) -> str:  # noqa: ANN401 - the library's own row
    if row["type"] == "extra_forbidden":
        *place, name = row["loc"]
        return f"there is no such member{guess(str(name), members_at(model, place))}"
    return str(row["msg"]).removeprefix("Value error, ").replace("Field required", "is missing")


def members_at(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """Return the names that a model takes at a place in it, none where the place is no model's."""
    for step in place:
        field = next((field for name, field in model.model_fields.items() if step in {name, field.alias}), None)
        if field is None:
            continue  # a number in a list, or a name in a table of models
        inner = next(_models_in(field.annotation), None)
        if inner is None:
            return []
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - whatever a field may be annotated with
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
