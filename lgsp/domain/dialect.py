"""The JSON Schema that may be published: what both validators read alike, and what no body can make slow.

JSON Schema 2020-12 less its corners, walked from one schema through all that it refers to. The form of each keyword is the meta-schema's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jsonschema_rs

from lgsp.domain import patterns
from lgsp.errors import Refusal

Schema = Mapping[str, Any]

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
REFERENCE: Final = re.compile(r"(urn:[^#]+)?(?:#/\$defs/([A-Za-z][A-Za-z0-9_.-]{0,63}))?")
"""A document by its URN, one of its `$defs`, or one of our own `$defs`."""
LARGEST_NUMBER: Final = 2**53
"""Beyond it a number in a schema does not mean the same everywhere (RFC 7493)."""
MOST_PARTS: Final = 10_000
"""How many schemas a place in a body may be held against, each reference counted as if it stood in full."""
DEEPEST: Final = 64
"""How many schemas may stand within each other, references followed; the slow validator takes stack for each."""

HOLDS_ONE: Final = frozenset({
    "additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
})  # fmt: skip
HOLDS_LIST: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
HOLDS_NAMED: Final = frozenset({"$defs", "dependentSchemas", "patternProperties", "properties"})
NUMERIC: Final = frozenset({
    "const", "enum", "exclusiveMaximum", "exclusiveMinimum", "maxContains", "maxItems", "maxLength", "maxProperties", "maximum", "minContains",
    "minItems", "minLength", "minProperties", "minimum", "multipleOf",
})  # fmt: skip
TOP: Final = frozenset({"$id", "$schema"})
OTHERS: Final = frozenset({
    "$comment", "$ref", "contentEncoding", "contentMediaType", "default", "dependentRequired", "deprecated", "description", "examples", "format",
    "pattern", "readOnly", "required", "title", "type", "uniqueItems", "writeOnly",
})  # fmt: skip
KEYWORDS: Final = HOLDS_ONE | HOLDS_LIST | HOLDS_NAMED | NUMERIC | OTHERS
ANNOTATION: Final = "x-"
"""How names of our own begin; anything else is a slip of the pen, which would let every value pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What holding a body against one schema can touch."""

    documents: frozenset[str]
    members: frozenset[str]
    """The names that schemas give to members: the only ones of a body that may be repeated to anybody."""
    keywords: frozenset[str]


def survey(urn: str, schemas: Mapping[str, Schema]) -> Extent:
    """Return the extent of a schema; refuse (`directory_invalid`) what is outside the dialect, there or in what it refers to."""
    walk = _Walk(urn=urn, schemas=schemas)
    walk.document(urn, 0)
    return Extent(
        documents=frozenset(walk.documents), members=frozenset(walk.members), keywords=frozenset(walk.keywords)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    parts: int = 1
    height: int = 1


@dataclass(slots=True, kw_only=True)
class _Walk:
    urn: str
    schemas: Mapping[str, Schema]
    documents: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    keywords: set[str] = field(default_factory=set)
    _sizes: dict[int, _Size | None] = field(default_factory=dict)
    """By identity of the schema; None while it is being walked."""

    def document(self, urn: str, depth: int) -> _Size:
        return self._size(urn, self._document(urn), depth, TOP)

    def _document(self, urn: str) -> Schema:
        schema = self.schemas.get(urn)
        if schema is None:
            raise self._refused("refers to a schema that is not at hand")
        if urn not in self.documents:
            if schema.get("$schema", DRAFT) != DRAFT or schema.get("$id", urn) != urn:
                raise self._refused("'$schema' or '$id' is another")
            if not jsonschema_rs.meta.is_valid(dict(schema)):
                raise self._refused("not a JSON Schema 2020-12 document")
            self.documents.add(urn)
        return schema

    def _size(self, urn: str, schema: Schema, depth: int, more: frozenset[str] = frozenset()) -> _Size:
        if id(schema) not in self._sizes:
            self._sizes[id(schema)] = None
            self._look_at(schema, more)
            inner = [self._size(urn, part, self._deeper(depth)) for part in _parts(schema)]
            if "$ref" in schema:
                inner.append(self._referred(urn, schema["$ref"], self._deeper(depth)))
            self._sizes[id(schema)] = _Size(
                parts=1 + sum(size.parts for size in inner), height=1 + max((size.height for size in inner), default=0)
            )
        found = self._sizes[id(schema)]
        if found is None:
            raise self._refused("'$ref' leads back to where it stands")
        if found.parts > MOST_PARTS or depth + found.height > DEEPEST:
            raise self._refused(f"more than {MOST_PARTS} parts, or nested deeper than {DEEPEST}, with all references")
        return found

    def _deeper(self, depth: int) -> int:
        if depth >= DEEPEST:
            raise self._refused(f"nested deeper than {DEEPEST}, with all references")
        return depth + 1

    def _referred(self, urn: str, reference: str, depth: int) -> _Size:
        form = REFERENCE.fullmatch(reference)
        if form is None or not reference:
            raise self._refused("'$ref' is neither a URN nor a name in '$defs'")
        document, name = form[1] or urn, form[2]
        if name is None:
            return self.document(document, depth)
        schema = self._document(document).get("$defs", {}).get(name)
        if schema is None:
            raise self._refused("'$ref' names nothing in '$defs'")
        return self._size(document, schema, depth) if isinstance(schema, Mapping) else _Size()

    def _look_at(self, schema: Schema, more: frozenset[str]) -> None:
        for keyword, value in schema.items():
            if keyword not in KEYWORDS and keyword not in more and not keyword.startswith(ANNOTATION):
                raise self._refused(f"'{keyword}' is not a keyword that a published schema may use here")
            if keyword in NUMERIC and not _small(value):
                raise self._refused(f"'{keyword}' holds a number beyond {LARGEST_NUMBER}")
        expressions = [*([schema["pattern"]] if "pattern" in schema else []), *schema.get("patternProperties", ())]
        for expression in expressions:
            self._expression(expression)
        self.keywords |= schema.keys()
        self.members |= schema.get("properties", {}).keys()

    def _expression(self, expression: str) -> None:
        try:
            patterns.matcher(expression)
        except patterns.NotLinear:
            raise self._refused(
                "a pattern needs look-around or back references, is too large, or means different things to different engines"
            ) from None

    def _refused(self, words: str) -> Refusal:
        return Refusal("directory_invalid", f"schema {self.urn}: {words}")


def _parts(schema: Schema) -> Iterator[Schema]:
    for keyword, value in schema.items():
        for inner in _held(keyword, value):
            if isinstance(inner, Mapping):
                yield inner


def _held(keyword: str, value: Any) -> Iterable[object]:  # noqa: ANN401 - any JSON value
    if keyword in HOLDS_ONE:
        return (value,)
    if keyword in HOLDS_LIST:
        return value  # type: ignore[no-any-return]
    return value.values() if keyword in HOLDS_NAMED else ()


def _small(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(map(_small, value.values()))
    if isinstance(value, list):
        return all(map(_small, value))
    return not isinstance(value, int | float) or abs(value) <= LARGEST_NUMBER


def with_plain_patterns(schema: Any) -> Any:  # noqa: ANN401 - a schema is an object or a boolean
    """Return a copy of a schema, its patterns written as our engine takes them."""
    if not isinstance(schema, Mapping):
        return schema
    return {keyword: _plain(keyword, value) for keyword, value in schema.items()}


def _plain(keyword: str, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if keyword == "pattern":
        return patterns.plain(value)
    if keyword in HOLDS_ONE:
        return with_plain_patterns(value)
    if keyword in HOLDS_LIST:
        return [with_plain_patterns(inner) for inner in value]
    if keyword == "patternProperties":
        return {patterns.plain(name): with_plain_patterns(inner) for name, inner in value.items()}
    return {name: with_plain_patterns(inner) for name, inner in value.items()} if keyword in HOLDS_NAMED else value
