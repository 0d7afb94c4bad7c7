import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

ROOT = Path(__file__).parents[2] / "schemas"
FILES = sorted(ROOT.glob("*/*/*.json"))
DOCUMENTS: dict[str, Any] = {
    str(path.relative_to(ROOT)): json.loads(path.read_text(encoding="utf-8")) for path in FILES
}
REGISTRY: Registry[Any] = Registry().with_resources(
    [(document["$id"], Resource.from_contents(document)) for document in DOCUMENTS.values()]
)
BODIES = [name for name in DOCUMENTS if not name.startswith("common/")]
DECIDED = {
    "urn:lgsp:schema:population:citizen-verify-request:1.0.0",
    "urn:lgsp:schema:population:citizen-verify-reply:1.0.0",
    "urn:lgsp:schema:fisheries:owner-list-request:1.0.0",
    "urn:lgsp:schema:fisheries:owner-list-reply:1.0.0",
    "urn:lgsp:schema:fisheries:vessel-linked:1.0.0",
}
each_document = pytest.mark.parametrize("name", DOCUMENTS)


def validator(urn: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": urn}, registry=REGISTRY)


def schemas_in(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every object that states a type or a constant, however deep."""
    if isinstance(node, dict):
        if "type" in node or "const" in node or "$ref" in node:
            yield node
        for key, value in node.items():
            if key not in {"examples", "if", "then", "else"}:
                yield from schemas_in(value)
    elif isinstance(node, list):
        for item in node:
            yield from schemas_in(item)


def strings_in(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict | list):
        for item in node.values() if isinstance(node, dict) else node:
            yield from strings_in(item)


def test_the_decided_bodies_are_there() -> None:
    assert {DOCUMENTS[name]["$id"] for name in BODIES} == DECIDED


@each_document
def test_a_schema_obeys_the_2020_12_meta_schema(name: str) -> None:
    assert DOCUMENTS[name]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(DOCUMENTS[name])


@each_document
def test_the_name_of_a_schema_is_its_place(name: str) -> None:
    domain, record, version = name.removesuffix(".json").split("/")
    assert DOCUMENTS[name]["$id"] == f"urn:lgsp:schema:{domain}:{record}:{version}"
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", version)


@each_document
def test_every_part_has_a_title_in_both_languages(name: str) -> None:
    document = DOCUMENTS[name]
    named = [document, *(part for part in schemas_in(document) if "$id" not in part)]
    lacking = [part for part in named if not (part.get("title") and part.get("x-title-vi"))]
    # An alternative inside anyOf is named by the schema that it refers to.
    assert [part for part in lacking if set(part) != {"$ref"}] == []


@each_document
def test_every_text_list_and_object_is_bounded(name: str) -> None:
    bounds = {"string": "maxLength", "array": "maxItems", "object": "additionalProperties"}
    for part in schemas_in(DOCUMENTS[name]):
        if "type" in part:
            assert bounds[part["type"]] in part
        assert part.get("additionalProperties", False) is False


@each_document
def test_every_reference_resolves_without_a_network(name: str) -> None:
    references = [part["$ref"] for part in schemas_in(DOCUMENTS[name]) if "$ref" in part]
    for reference in references:
        assert REGISTRY.resolver().lookup(reference).contents["$id"] == reference


@each_document
def test_a_pattern_means_the_same_in_every_language(name: str) -> None:
    patterns = [part["pattern"] for part in schemas_in(DOCUMENTS[name]) if "pattern" in part]
    for pattern in patterns:
        assert pattern.startswith("^")
        assert pattern.endswith(r"$(?!\n)")  # Python lets a bare $ match before a last line feed
        assert not re.search(r"\\[dwspPDWSbB]", pattern)  # these differ between engines outside ASCII


@each_document
def test_the_examples_of_a_schema_pass_it(name: str) -> None:
    examples = DOCUMENTS[name]["examples"]
    assert examples
    for example in examples:
        validator(DOCUMENTS[name]["$id"]).validate(example)


@each_document
def test_the_numbers_of_persons_in_examples_are_made_up(name: str) -> None:
    for text in strings_in(DOCUMENTS[name].get("examples", [])):
        for number in re.findall(r"(?<![0-9])(?:[0-9]{12}|[0-9]{9,10})(?![0-9])", text):
            assert number.startswith("099" if len(number) == 12 else "99")


PERSON = {"fullName": "NGUYỄN THỊ NGỌC ÁNH", "birthDate": "1965-05-12"}
ROW = {"registration": "AG-00012-TS", "ownerName": "DANH SÀ RƯƠL", "communeCode": "30742"}
LIST = {"listId": "a-1", "asOf": "2026-11-22", "orgcat": "2025-07", "rows": [ROW]}
ANSWER = {"listId": "a-1", "rows": [{"registration": "AG-00012-TS", "status": "not_found"}]}
CITIZEN, OWNERS = "population:citizen-verify", "fisheries:owner-list"
VERDICTS = [
    (f"{CITIZEN}-request", {"personalNumber": "099165000123", **PERSON}, True),
    (f"{CITIZEN}-request", {"oldNumber": "990000123", **PERSON}, True),
    (f"{CITIZEN}-request", {"personalNumber": "099165000123", "oldNumber": "990000123", **PERSON}, False),
    (f"{CITIZEN}-request", PERSON, False),
    (f"{CITIZEN}-request", {"personalNumber": "99165000123", **PERSON}, False),
    (f"{CITIZEN}-request", {"oldNumber": "990000123", "fullName": "DANH SÀ RƯƠL"}, False),
    (f"{CITIZEN}-request", {"oldNumber": "990000123", **PERSON, "phone": "1"}, False),
    (f"{CITIZEN}-reply", {"result": "match"}, True),
    (f"{CITIZEN}-reply", {"result": "mismatch", "fields": ["fullName", "birthDate"]}, True),
    (f"{CITIZEN}-reply", {"result": "mismatch", "fields": []}, False),
    (f"{CITIZEN}-reply", {"result": "mismatch", "fields": ["fullName", "fullName"]}, False),
    (f"{CITIZEN}-reply", {"result": "mismatch"}, False),
    (f"{CITIZEN}-reply", {"result": "match", "fields": ["fullName"]}, False),
    (f"{CITIZEN}-reply", {"result": "unsure"}, False),
    (f"{CITIZEN}-reply", {}, False),
    (f"{OWNERS}-request", LIST, True),
    (f"{OWNERS}-request", {**LIST, "rows": [{**ROW, "birthDate": "1965"}] * 100}, True),
    (f"{OWNERS}-request", {**LIST, "rows": [ROW] * 101}, False),
    (f"{OWNERS}-request", {**LIST, "rows": []}, False),
    (f"{OWNERS}-request", {**LIST, "rows": [{**ROW, "communeCode": 30742}]}, False),
    (f"{OWNERS}-request", {**LIST, "asOf": "22/11/2026"}, False),
    (f"{OWNERS}-request", {**LIST, "orgcat": "2025"}, False),
    (f"{OWNERS}-reply", ANSWER, True),
    (
        f"{OWNERS}-reply",
        {
            **ANSWER,
            "rows": [{"registration": "KG-00012-TS", "personalNumber": "099165000123", "status": "found"}],
        },
        True,
    ),
    (f"{OWNERS}-reply", {**ANSWER, "rows": [{"registration": "KG-00012-TS", "status": "found"}]}, False),
    (
        f"{OWNERS}-reply",
        {
            **ANSWER,
            "rows": [{"registration": "KG-00012-TS", "personalNumber": "099165000123", "status": "not_found"}],
        },
        False,
    ),
]


@pytest.mark.parametrize(("record", "body", "good"), VERDICTS)
def test_a_body_is_judged_by_its_schema(record: str, body: object, *, good: bool) -> None:
    assert validator(f"urn:lgsp:schema:{record}:1.0.0").is_valid(body) is good
