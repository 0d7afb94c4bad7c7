"""Contracts: JSON Schema 2020-12 documents by URN, validation of bodies, and the members that name a person.

Documents refer to each other by URN; nothing is ever fetched. Texts of problems are ours: a value out of a body goes nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lgsp.domain import jws, strictjson
from lgsp.domain.limits import LIMITS
from lgsp.domain.records import Subject
from lgsp.domain.validation import Contract
from lgsp.errors import Refusal


class Contracts:
    """The published schemas of one directory version; compiles each on first use."""

    def __init__(self, documents: Mapping[str, bytes]) -> None:
        """Take the documents by URN; `check_document` has been applied to each when it was published."""
        self._schemas = _readable(documents)
        self._compiled: dict[str, Contract] = {}

    def check(self, urn: str, value: object) -> None:
        """Refuse (`schema`) a body that breaks the schema; refuse (`schema_unusable`) a schema that is not held or cannot be compiled."""
        self._contract(urn).check(value)

    def problems(self, urn: str, value: object) -> list[tuple[str, str]]:
        """Return (pointer, words) of every problem of a body under the schema; refuse as `check` does. For texts of our own: nothing bounds it."""
        contract = self._contract(urn)
        return [] if contract.takes(value) else [contract.described(error) for error in contract.problems(value)]

    def _contract(self, urn: str) -> Contract:
        compiled = self._compiled.get(urn)
        if compiled is None:
            compiled = self._compiled[urn] = self._compile(urn)
        return compiled

    def _compile(self, urn: str) -> Contract:
        if urn not in self._schemas:
            raise Refusal("schema_unusable", f"schema {urn}: its document is not held, or cannot be read")
        try:
            return Contract(urn, self._schemas)
        except Refusal as refusal:  # published before a rule of today
            raise Refusal("schema_unusable", refusal.detail) from None


def _readable(documents: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """Return the documents that can be read: one that is broken or too large stops its own service, not the bus."""
    found = {}
    for urn, document in documents.items():
        if len(document) > LIMITS.schema_bytes:
            continue
        try:
            found[urn] = strictjson.parse_object(document)
        except strictjson.NotStrict:
            continue  # refused by name when it is asked for
    return found


def check_document(urn: str, document: bytes, others: Mapping[str, bytes]) -> str:
    """Return the hash of a schema document.

    Refuse (`directory_invalid`) one that is too large, no JSON Schema 2020-12, outside the dialect, or refers to what is not in `others`.
    """
    if len(document) > LIMITS.schema_bytes:
        raise Refusal("directory_invalid", f"schema {urn}: larger than {LIMITS.schema_bytes} bytes")
    try:
        schema = strictjson.parse_object(document)
    except strictjson.NotStrict:
        raise Refusal("directory_invalid", f"schema {urn}: not a JSON Schema 2020-12 document") from None
    if schema.get("$id") != urn:
        raise Refusal("directory_invalid", f"schema {urn}: $id is another")
    Contract(urn, _readable(others) | {urn: schema})
    return jws.hash_of(document)


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
