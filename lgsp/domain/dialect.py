"""The JSON Schema that may be published: what both validators read alike, and what no body can make slow.

JSON Schema 2020-12 less its corners, walked from one schema through all that it refers to. The form of each keyword is the meta-schema's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
"""Beyond it a number in a schema does not mean the same everywhere (RFC 7493); thousands beyond 64 bits keep the meta-schema busy for a minute."""
MOST_PARTS: Final = 2_000
"""How many schemas a document may be, each reference counted as if it stood in full."""
MOST_HELD: Final = 256
"""How many schemas one value of a body may be held against; 64 KiB of values take the fast validator some seven milliseconds for each."""
MOST_PATTERNS: Final = 256
"""How many different patterns a document may refer to; each takes up to `patterns.SMALL` bytes."""
MOST_LARGE_PATTERNS: Final = 8
"""How many of them may be larger; each takes up to 10 MiB."""
DEEPEST: Final = 64
"""How many schemas may stand within each other, references followed; the slow validator takes stack for each."""

HOLDS_ONE: Final = frozenset({
    "additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
})  # fmt: skip
HOLDS_LIST: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
HOLDS_NAMED: Final = frozenset({"$defs", "dependentSchemas", "patternProperties", "properties"})
IN_PLACE: Final = frozenset({"$ref", "allOf", "anyOf", "dependentSchemas", "else", "if", "not", "oneOf", "then"})
"""Their schemas are held against the value itself, the others' against values within it."""
ONE_EACH: Final = frozenset({"prefixItems", "properties"})
"""A value within is held against one of theirs at most."""
TOP: Final = frozenset({"$id", "$schema"})
OTHERS: Final = frozenset({
    "$comment", "$ref", "const", "contentEncoding", "contentMediaType", "default", "dependentRequired", "deprecated", "description", "enum",
    "examples", "exclusiveMaximum", "exclusiveMinimum", "format", "maxContains", "maxItems", "maxLength", "maxProperties", "maximum", "minContains",
    "minItems", "minLength", "minProperties", "minimum", "multipleOf", "pattern", "readOnly", "required", "title", "type", "uniqueItems", "writeOnly",
})  # fmt: skip
KEYWORDS: Final = HOLDS_ONE | HOLDS_LIST | HOLDS_NAMED | OTHERS
ANNOTATION: Final = "x-"
"""How names of our own begin; anything else is a slip of the pen, which would let every value pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What holding a body against one schema can touch."""

    documents: frozenset[str]
    members: frozenset[str]
    """The names that schemas give to members: the only ones of a body that may be repeated to anybody."""
    keywords: frozenset[str]
    held: int
    """How many schemas one value of a body is held against, at most."""


def survey(urn: str, schemas: Mapping[str, Schema]) -> Extent:
    """Return the extent of a schema; refuse (`directory_invalid`) what is outside the dialect, there or in what it refers to."""
    walk = _Walk(urn=urn, schemas=schemas)
    size = walk.document(urn, 0)
    return Extent(
        documents=frozenset(walk.documents),
        members=frozenset(walk.members),
        keywords=frozenset(walk.keywords),
        held=size.held,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    parts: int = 1
    height: int = 1
    here: int = 1
    """How many schemas the value itself is held against."""
    within: int = 0
    """How many a value within it is, at most."""

    @property
    def held(self) -> int:
        return max(self.here, self.within)


def _joined(inner: Sequence[tuple[str, _Size]]) -> _Size:
    """Return the size of a schema with these within it, each by the keyword that holds it; what `$defs` holds counts where it is referred to."""
    in_place = [size for keyword, size in inner if keyword in IN_PLACE]
    one_each = [max((size.held for name, size in inner if name == keyword), default=0) for keyword in ONE_EACH]
    others = [size.held for keyword, size in inner if keyword not in IN_PLACE | ONE_EACH | {"$defs"}]
    return _Size(
        parts=1 + sum(size.parts for _, size in inner),
        height=1 + max((size.height for _, size in inner), default=0),
        here=1 + sum(size.here for size in in_place),
        within=sum(size.within for size in in_place) + sum(one_each) + sum(others),
    )


@dataclass(slots=True, kw_only=True)
class _Walk:
    urn: str
    schemas: Mapping[str, Schema]
    documents: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    keywords: set[str] = field(default_factory=set)
    _patterns: set[str] = field(default_factory=set)
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
            if not _is_small(schema):
                raise self._refused(f"a number beyond {LARGEST_NUMBER}")
            if not jsonschema_rs.meta.is_valid(dict(schema)):
                raise self._refused("not a JSON Schema 2020-12 document")
            self.documents.add(urn)
        return schema

    def _size(self, urn: str, schema: Schema, depth: int, more: frozenset[str] = frozenset()) -> _Size:
        if id(schema) not in self._sizes:
            self._sizes[id(schema)] = None
            self._look_at(schema, more)
            inner = [(keyword, self._size(urn, part, self._deeper(depth))) for keyword, part in _parts(schema)]
            if "$ref" in schema:
                inner.append(("$ref", self._referred(urn, schema["$ref"], self._deeper(depth))))
            self._sizes[id(schema)] = _joined(inner)
        found = self._sizes[id(schema)]
        if found is None:
            raise self._refused("'$ref' leads back to where it stands")
        if found.parts > MOST_PARTS or depth + found.height > DEEPEST:
            raise self._refused(f"more than {MOST_PARTS} parts, or nested deeper than {DEEPEST}, with all references")
        if found.held > MOST_HELD:
            raise self._refused(f"a value would be held against more than {MOST_HELD} schemas")
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
        for keyword in schema:
            if keyword not in KEYWORDS and keyword not in more and not keyword.startswith(ANNOTATION):
                raise self._refused(f"'{keyword}' is not a keyword that a published schema may use here")
        expressions = [*([schema["pattern"]] if "pattern" in schema else []), *schema.get("patternProperties", ())]
        for expression in expressions:
            self._expression(expression)
        self.keywords |= schema.keys()
        self.members |= schema.get("properties", {}).keys()

    def _expression(self, expression: str) -> None:
        if expression in self._patterns:
            return
        try:
            patterns.matcher(expression)
        except patterns.NotLinear:
            raise self._refused(
                "a pattern needs look-around or back references, is too large, or means different things to different engines"
            ) from None
        self._patterns.add(expression)
        if len(self._patterns) > MOST_PATTERNS or sum(map(patterns.is_large, self._patterns)) > MOST_LARGE_PATTERNS:
            raise self._refused(f"more than {MOST_PATTERNS} patterns, or {MOST_LARGE_PATTERNS} large ones")

    def _refused(self, words: str) -> Refusal:
        return Refusal("directory_invalid", f"schema {self.urn}: {words}")


def _parts(schema: Schema) -> Iterator[tuple[str, Schema]]:
    for keyword, value in schema.items():
        for inner in _held(keyword, value):
            if isinstance(inner, Mapping):
                yield keyword, inner


def _held(keyword: str, value: Any) -> Iterable[object]:  # noqa: ANN401 - any JSON value
    if keyword in HOLDS_ONE:
        return (value,)
    if keyword in HOLDS_LIST:
        return value  # type: ignore[no-any-return]
    return value.values() if keyword in HOLDS_NAMED else ()


def _is_small(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_small, value.values()))
    if isinstance(value, list):
        return all(map(_is_small, value))
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
