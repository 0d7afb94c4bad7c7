"""One schema, compiled: a fast validator says yes or no, a slow one finds the words for a no.

The fast one decides. The slow one shares its patterns and its arithmetic, and is asked only about a body that is refused already.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import islice
from typing import Any, Final, cast

import jsonschema_rs
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError, best_match
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from lgsp.domain import dialect, patterns
from lgsp.errors import Refusal

PROBLEMS_WEIGHED: Final = 32
"""How many problems of a body are compared for the most telling one; a hostile body has one for each of its bytes."""
HOLDINGS_WEIGHED: Final = 50_000
"""How often values of a refused body may be held against schemas to find words for it; the slow validator takes some ten microseconds each time."""
SAFE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
UNEVALUATED: Final = frozenset({"unevaluatedItems", "unevaluatedProperties"})
"""Keywords for which the slow validator takes time that grows with the square of a body: there it is not asked."""
WIDEST: Final = 2**63
"""Integers beyond 64 bits are compared each with each by the fast validator's `uniqueItems`, so such bodies never reach it."""

Found = Iterator[ValidationError]


class Contract:
    """A schema with all that it refers to."""

    def __init__(self, urn: str, schemas: Mapping[str, dialect.Schema]) -> None:
        """Compile a schema; refuse (`directory_invalid`) one outside the dialect."""
        self._extent = dialect.survey(urn, schemas)
        self._fast = _fast(urn, {name: schemas[name] for name in self._extent.documents})
        self._slow = _slow(urn, {name: schemas[name] for name in self._extent.documents})

    def check(self, body: object) -> None:
        """Refuse (`schema`) a body that breaks the schema, with the most telling problem."""
        if "uniqueItems" in self._extent.keywords:
            self._refuse_wide(body, "")
        if not self.takes(body):
            raise self._refusal(body)

    def takes(self, body: object) -> bool:
        """Tell whether the body keeps to the schema; one that the validator cannot read does not."""
        try:
            return self._fast.is_valid(body)
        except ValueError:  # a lone surrogate, or no JSON type: strict reading lets neither through
            return False

    def problems(self, body: object) -> Found:
        """Yield every problem that the slow validator sees, in no order, in time that nothing bounds."""
        yield from self._slow.iter_errors(body)

    def described(self, error: ValidationError) -> tuple[str, str]:
        """Return a problem as (JSON pointer, words), with no name or value of the sender's own."""
        pointer = "".join(f"/{self._token(token)}" for token in error.absolute_path)
        if error.validator in {None, "properties"}:  # the schema of the place is `false`
            return pointer, "must not be there"
        words = f"breaks '{error.validator}'"
        if error.validator == "required" and isinstance(error.instance, dict):
            missing = [name for name in cast("list[str]", error.validator_value) if name not in error.instance]
            words += f": {', '.join(missing)} missing"
        return pointer, words

    def _refusal(self, body: object) -> Refusal:
        worst = None
        if not UNEVALUATED & self._extent.keywords and _values(body) * self._extent.held <= HOLDINGS_WEIGHED:
            worst = best_match(islice(self.problems(body), PROBLEMS_WEIGHED))
        if worst is None:
            return Refusal("schema", "breaks its schema")
        pointer, words = self.described(worst)
        return Refusal("schema", words, pointer=pointer)

    def _refuse_wide(self, value: object, pointer: str) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                self._refuse_wide(inner, f"{pointer}/{self._token(name)}")
        elif isinstance(value, list):
            for position, inner in enumerate(value):
                if isinstance(inner, int | list | dict):
                    self._refuse_wide(inner, f"{pointer}/{position}")
        elif isinstance(value, int) and not -WIDEST <= value < WIDEST:
            raise Refusal("schema", "an integer beyond 64 bits", pointer=pointer)

    def _token(self, token: str | int) -> str:
        if isinstance(token, str) and not (token in self._extent.members and SAFE_NAME.fullmatch(token)):
            return "*"
        return str(token)


def _fast(urn: str, schemas: Mapping[str, dialect.Schema]) -> jsonschema_rs.Draft202012Validator:
    written = {name: dialect.with_plain_patterns(schema) for name, schema in schemas.items()}
    try:
        registry = jsonschema_rs.Registry(list(written.items()), draft=jsonschema_rs.Draft202012)
        return jsonschema_rs.Draft202012Validator(
            written[urn], registry=registry, pattern_options=patterns.OPTIONS, validate_formats=False, offline=True
        )
    except (ValueError, jsonschema_rs.ReferencingError):
        raise Refusal("directory_invalid", f"schema {urn}: the fast validator cannot compile it") from None


def _slow(urn: str, schemas: Mapping[str, dialect.Schema]) -> Any:  # noqa: ANN401 - the library's own
    # Where a document that is referred to names its draft, the library would go on with the draft's own validator: other patterns and arithmetic.
    bare = {name: {key: schema[key] for key in schema if key != "$schema"} for name, schema in schemas.items()}
    resources = [(name, DRAFT202012.create_resource(schema)) for name, schema in bare.items()]
    registry: Registry[Any] = Registry().with_resources(resources)
    return Validator(bare[urn], registry=registry)


def _values(body: object) -> int:
    """Count the values in a body."""
    inner = body.values() if isinstance(body, dict) else body if isinstance(body, list) else ()
    return 1 + sum(map(_values, inner))


def _any_of(validator: Any, branches: list[object], value: object, _schema: object) -> Found:  # noqa: ANN401 - the library's own
    context = _failures(validator, branches, value)
    if len(context) == len(branches):
        yield ValidationError("no branch takes it", context=[error for errors in context.values() for error in errors])


def _one_of(validator: Any, branches: list[object], value: object, _schema: object) -> Found:  # noqa: ANN401 - the library's own
    context = _failures(validator, branches, value)
    if len(context) == len(branches):
        yield ValidationError("no branch takes it", context=[error for errors in context.values() for error in errors])
    elif len(context) < len(branches) - 1:
        yield ValidationError("more than one branch takes it")


def _failures(validator: Any, branches: list[object], value: object) -> dict[int, list[ValidationError]]:  # noqa: ANN401 - the library's own
    """Return the first problems of each branch that does not take the value; the library gathers all, one for each byte of a hostile body."""
    found = {
        position: list(islice(validator.descend(value, branch, schema_path=position), PROBLEMS_WEIGHED))
        for position, branch in enumerate(branches)
    }
    return {position: errors for position, errors in found.items() if errors}


def _unique_items(validator: Any, wanted: object, value: object, _schema: object) -> Found:  # noqa: ANN401 - the library's own
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


def _multiple_of(validator: Any, divisor: float, value: Any, _schema: object) -> Found:  # noqa: ANN401 - the library's own
    """Check `multipleOf` exactly on the numbers as written; the library divides floats, for which 19.99 is no multiple of 0.01."""
    if validator.is_type(value, "number") and _exact(value) % _exact(divisor):
        yield ValidationError("no multiple")


def _exact(number: int | float) -> Fraction:  # noqa: PYI041 - each is read in its own way
    return Fraction(repr(number)) if isinstance(number, float) else Fraction(number)


def _pattern(validator: Any, pattern: str, value: Any, _schema: object) -> Found:  # noqa: ANN401 - the library's own
    if validator.is_type(value, "string") and not patterns.matcher(pattern)(value):
        yield ValidationError("does not match")


def _properties(validator: Any, properties: Mapping[str, object], value: Any, _schema: object) -> Found:  # noqa: ANN401 - the library's own
    """Check `properties`; where the schema of a member is `false` the library forgets which member it was."""
    if validator.is_type(value, "object"):
        for name, schema in properties.items():
            if name in value and schema is False:
                yield ValidationError("must not be there", path=[name])
            elif name in value:
                yield from validator.descend(value[name], schema, path=name, schema_path=name)


def _pattern_properties(validator: Any, by_pattern: Mapping[str, object], value: Any, _schema: object) -> Found:  # noqa: ANN401 - the library's own
    if validator.is_type(value, "object"):
        for pattern, schema in by_pattern.items():
            for name, inner in value.items():
                if patterns.matcher(pattern)(name):
                    yield from validator.descend(inner, schema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, more: object, value: Any, schema: Mapping[str, Any]) -> Found:  # noqa: ANN401 - the library's own
    if validator.is_type(value, "object"):
        extra = _undeclared(value, schema)
        if more is False:
            yield from (ValidationError("a member that the schema does not name") for _ in islice(extra, 1))
        else:
            for name in extra:
                yield from validator.descend(value[name], more, path=name)


def _undeclared(names: Iterable[str], schema: Mapping[str, Any]) -> Iterator[str]:
    declared = schema.get("properties", {})
    matchers = [patterns.matcher(pattern) for pattern in schema.get("patternProperties", {})]
    return (name for name in names if name not in declared and not any(matches(name) for matches in matchers))


Validator: Final = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        "anyOf": _any_of,
        "additionalProperties": _additional_properties,
        "multipleOf": _multiple_of,
        "oneOf": _one_of,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "properties": _properties,
        "uniqueItems": _unique_items,
    },
)
"""The slow validator: the library's, with the fast one's patterns and arithmetic, and nothing that grows with the square of a body."""
