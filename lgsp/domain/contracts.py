"""Contracts: JSON Schema 2020-12 documents by URN, validation of bodies, and the members that name a person.

Documents refer to each other by URN; nothing is ever fetched. Texts of problems are ours: a value out of a body goes nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final, cast

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from lgsp.domain import jws, strictjson
from lgsp.domain.records import Subject
from lgsp.errors import Refusal

PROBLEMS_WEIGHED: Final = 32
"""How many problems of a body are compared for the most telling one; a hostile body has one for each of its bytes."""
SAFE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def _unique_items(validator: Any, wanted: object, value: object, _schema: object) -> Iterable[ValidationError]:  # noqa: ANN401 - the library's own
    """Check `uniqueItems` in linear time; the library compares each element with each, which a sender can make take minutes."""
    if wanted and validator.is_type(value, "array"):
        items = cast("list[object]", value)
        if len({_comparable(item) for item in items}) < len(items):
            yield ValidationError("an element stands twice")


def _comparable(value: object) -> object:
    """Return a value that is equal and hashes equal where JSON Schema calls two instances equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return "object", frozenset((name, _comparable(inner)) for name, inner in value.items())
    if isinstance(value, list):
        return "array", tuple(_comparable(inner) for inner in value)
    return ("boolean", value) if isinstance(value, bool) else value


Validator: Final = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"uniqueItems": _unique_items}
)


class Contracts:
    """The published schemas of one directory version; compiles each on first use."""

    def __init__(self, documents: Mapping[str, bytes]) -> None:
        """Take the documents by URN; `check_document` has been applied to each when it was published."""
        self._schemas = {urn: strictjson.parse_object(document) for urn, document in documents.items()}
        pairs = [(urn, DRAFT202012.create_resource(schema)) for urn, schema in self._schemas.items()]
        self._registry: Registry[Any] = Registry().with_resources(pairs)
        self._compiled: dict[str, Any] = {}

    def problems(self, urn: str, value: object) -> list[tuple[str, str]]:
        """Return (pointer, words) of every problem of a body under the schema; raise `KeyError` for a schema that is not held."""
        return [_described(error) for error in self._validator(urn).iter_errors(value)]

    def check(self, urn: str, value: object) -> None:
        """Refuse (`schema`) a body that breaks the schema, with the most telling problem."""
        worst = best_match(islice(self._validator(urn).iter_errors(value), PROBLEMS_WEIGHED))
        if worst is not None:
            pointer, words = _described(worst)
            raise Refusal("schema", words, pointer=pointer)

    def _validator(self, urn: str) -> Any:  # noqa: ANN401 - the library makes the class at run time
        compiled = self._compiled.get(urn)
        if compiled is None:
            compiled = self._compiled[urn] = Validator(self._schemas[urn], registry=self._registry)
        return compiled


def _described(error: ValidationError) -> tuple[str, str]:
    tokens = [
        str(token) if isinstance(token, int) or SAFE_NAME.fullmatch(token) else "*" for token in error.absolute_path
    ]
    words = f"breaks '{error.validator}'"
    if error.validator == "required" and isinstance(error.instance, dict):
        missing = [name for name in cast("list[str]", error.validator_value) if name not in error.instance]
        words += f": {', '.join(missing)} missing"
    return "".join(f"/{token}" for token in tokens), words


def check_document(urn: str, document: bytes, others: Mapping[str, bytes]) -> str:
    """Return the hash of a schema document; refuse (`directory_invalid`) one that is no 2020-12 schema, or refers to what is not in `others`."""
    try:
        schema = strictjson.parse_object(document)
        Draft202012Validator.check_schema(schema)
        if schema.get("$id") != urn:
            raise Refusal("directory_invalid", f"schema {urn}: $id is another")
        _resolve_all(urn, schema, {**others, urn: document})
    except (strictjson.NotStrict, SchemaError):
        raise Refusal("directory_invalid", f"schema {urn}: not a JSON Schema 2020-12 document") from None
    except Unresolvable:
        raise Refusal("directory_invalid", f"schema {urn}: refers to a schema that is not at hand") from None
    return jws.hash_of(document)


def _resolve_all(urn: str, schema: dict[str, Any], documents: Mapping[str, bytes]) -> None:
    pairs = [(name, DRAFT202012.create_resource(strictjson.parse_object(data))) for name, data in documents.items()]
    registry: Registry[Any] = Registry().with_resources(pairs)
    resolver = registry.resolver(base_uri=urn)
    for reference in references(schema):
        resolver.lookup(reference)


def references(schema: object) -> Iterable[str]:
    """Yield every `$ref` of a schema."""
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def subject_values(subjects: Iterable[Subject], body: object) -> list[tuple[str, str]]:
    """Return (scheme, number) of every person that a validated body names, each once, in order of appearance."""
    found = {
        (subject.scheme, value): None
        for subject in subjects
        for value in _at(body, subject.pointer.split("/")[1:])
        if isinstance(value, str)
    }
    return list(found)


def _at(value: object, tokens: list[str]) -> Iterable[object]:
    if not tokens:
        yield value
    elif tokens[0] == "*" and isinstance(value, list):
        for inner in value:
            yield from _at(inner, tokens[1:])
    elif isinstance(value, dict) and tokens[0] in value:
        yield from _at(value[tokens[0]], tokens[1:])
