import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lgsp.domain import contracts, jws, records, strictjson, validation
from lgsp.domain.limits import LIMITS
from lgsp.errors import Refusal
from lgsp.testing.world import (
    BODY,
    OWNER_LIST_REPLY_SCHEMA,
    OWNER_LIST_SCHEMA,
    VERIFY_REPLY_SCHEMA,
    VERIFY_SCHEMA,
    World,
    schema_documents,
)

DOCUMENTS = schema_documents()
HELD = contracts.Contracts(DOCUMENTS)
URN = "urn:lgsp:schema:tests:thing:1.0.0"


def document(**members: object) -> bytes:
    return strictjson.compact({"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": URN} | members)


def held(**members: object) -> contracts.Contracts:
    return contracts.Contracts({**DOCUMENTS, URN: document(**members)})


OTHER = "urn:lgsp:schema:tests:other:1.0.0"
THIRD = "urn:lgsp:schema:tests:third:1.0.0"
NO_URN = "urn:lgsp:schema:tests:a b"
STRING = {"type": "string"}


BODIES = [
    (VERIFY_SCHEMA, dict(BODY), None),
    (VERIFY_SCHEMA, {"oldNumber": "990000123", "fullName": "DANH SÀ RƯƠL", "birthDate": "1958"}, None),
    (VERIFY_SCHEMA, {**BODY, "oldNumber": "990000123"}, ""),
    (VERIFY_SCHEMA, {"fullName": "DANH SÀ RƯƠL", "birthDate": "1958"}, ""),
    (VERIFY_SCHEMA, {**BODY, "birthDate": "22/11/1985"}, "/birthDate"),
    (VERIFY_SCHEMA, {**BODY, "personalNumber": "099185"}, "/personalNumber"),
    (VERIFY_SCHEMA, {**BODY, "phone": "x"}, ""),
    (VERIFY_SCHEMA, [], ""),
    (VERIFY_REPLY_SCHEMA, {"result": "match"}, None),
    (VERIFY_REPLY_SCHEMA, {"result": "mismatch", "fields": ["fullName", "birthDate"]}, None),
    (VERIFY_REPLY_SCHEMA, {"result": "mismatch"}, ""),
    (VERIFY_REPLY_SCHEMA, {"result": "mismatch", "fields": ["fullName", "fullName"]}, "/fields"),
    (VERIFY_REPLY_SCHEMA, {"result": "maybe"}, "/result"),
    (OWNER_LIST_SCHEMA, {"listId": "20261122-30742-001", "asOf": "2026-11-22", "orgcat": "2025-07", "rows": []}, "/rows"),
    (OWNER_LIST_REPLY_SCHEMA, {"listId": "20261122-30742-001", "rows": [{"registration": "AG-00012-TS", "status": "lost"}]}, "/rows/0/status"),
]  # fmt: skip


@pytest.mark.parametrize(("urn", "body", "pointer"), BODIES)
def test_a_body_is_held_against_its_schema(urn, body, pointer):
    if pointer is None:
        HELD.check(urn, body)
        assert HELD.problems(urn, body) == []
    else:
        with pytest.raises(Refusal) as caught:
            HELD.check(urn, body)
        assert (caught.value.code, caught.value.pointer) == ("schema", pointer)
        assert HELD.problems(urn, body)


@pytest.mark.parametrize("urn", DOCUMENTS)
def test_every_published_schema_compiles_and_takes_its_own_examples(urn):
    for example in json.loads(DOCUMENTS[urn]).get("examples", []):
        HELD.check(urn, example)


def test_a_refusal_names_what_is_missing_and_never_a_value():
    with pytest.raises(Refusal) as caught:
        HELD.check(VERIFY_SCHEMA, {"personalNumber": "099185000017"})
    assert caught.value.detail == "breaks 'required': fullName, birthDate missing"
    with pytest.raises(Refusal) as caught:
        HELD.check(VERIFY_SCHEMA, {**BODY, "fullName": "NGUYỄN 099185000017\n"})
    assert "099185000017" not in str(caught.value)


@pytest.mark.parametrize("name", ["NGUYỄN THỊ ÁNH", "099185000017", "a b", "a/b", "x" * 65, "NguyenThiAnh"])
def test_a_member_name_of_the_sender_s_own_invention_is_not_repeated(name):
    strict = held(additionalProperties={"type": "integer"})
    with pytest.raises(Refusal) as caught:
        strict.check(URN, {name: "text"})
    assert caught.value.pointer == "/*"
    assert name not in str(caught.value.problem())


UNUSABLE = {
    "no document": {},
    "no JSON": {URN: b"{"},
    "no schema": {URN: document(type="thing")},
    "a reference to what is not held": {URN: document(**{"$ref": "urn:lgsp:schema:no:such:1.0.0"})},
    "a rule that came after it": {URN: document(pattern="(?=a)a")},
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_schema_that_the_bus_cannot_use_is_refused_as_the_bus_s_own_trouble(name):
    with pytest.raises(Refusal) as caught:
        contracts.Contracts(UNUSABLE[name]).check(URN, {})
    assert (caught.value.code, caught.value.entry.retryable) == ("schema_unusable", True)


def test_a_document_that_is_broken_leaves_the_others_in_use():
    contracts.Contracts({**DOCUMENTS, URN: b"{"}).check(VERIFY_SCHEMA, dict(BODY))


HOSTILE = {
    "many elements that must differ": (VERIFY_REPLY_SCHEMA, {"result": "mismatch", "fields": [*range(12_000), "a"]}),
    "many elements that no order is defined for": (VERIFY_REPLY_SCHEMA, {"result": "mismatch", "fields": [[], {}] * 6_000}),
    "many rows of nothing": (OWNER_LIST_SCHEMA, {"rows": [{}] * 20_000}),
    "many members": (VERIFY_SCHEMA, {f"m{number}": 1 for number in range(8_000)}),
    "a long name": (VERIFY_SCHEMA, {**BODY, "fullName": "A " * 30_000}),
    "a long number": (VERIFY_SCHEMA, {**BODY, "personalNumber": "9" * 60_000}),
    "a long birth date": (VERIFY_SCHEMA, {**BODY, "birthDate": "1985-" * 12_000}),
    "a long list id": (OWNER_LIST_SCHEMA, {"listId": "2" * 60_000, "rows": 5}),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_refused_in_bounded_time(name):
    urn, body = HOSTILE[name]
    assert len(strictjson.compact(body)) < 128 * 1024
    started = time.process_time()
    with pytest.raises(Refusal) as caught:
        HELD.check(urn, body)
    assert caught.value.code == "schema"
    assert time.process_time() - started < 1.0


GREEDY = {
    "integers beyond 64 bits that must differ": ({"uniqueItems": True}, [10**20 + n for n in range(2_900)]),
    "the same further in": ({"properties": {"a": {"uniqueItems": True}}}, {"a": [[10**20 + n] for n in range(2_600)]}),
    "numbers that must differ": ({"uniqueItems": True}, [*range(11_000), 1]),
    "objects that must differ": ({"uniqueItems": True}, [*({"a": n} for n in range(5_500)), {"a": 1}]),
    "branches for each element": ({"anyOf": [{"items": {"type": "string"}}, {"items": {"type": "null"}}]}, [1] * 32_000),
    "one branch for each element": ({"oneOf": [{"items": {"type": "string"}}, {"items": {"type": "null"}}]}, [1] * 32_000),
    "elements that nothing evaluates": ({"contains": {"type": "integer"}, "unevaluatedItems": False}, [*[1] * 32_000, "a"]),
    "members that nothing evaluates": ({"properties": {"a": {}}, "unevaluatedProperties": False}, {f"m{n}": 1 for n in range(6_000)}),
    "a pattern that forks": ({"items": {"pattern": "^(a|aa)+$"}}, ["a" * 60 + "b"] * 900),
    "a pattern that forks on members": ({"additionalProperties": False, "patternProperties": {"^(a+)+$": {}}}, {"a" * n + "b": 1 for n in range(330)}),
    "numbers that are no multiple": ({"items": {"multipleOf": 0.07}}, [*[7 * 10**4_000] * 14, 1]),
}  # fmt: skip


@pytest.mark.parametrize("name", GREEDY)
def test_no_keyword_takes_long_over_a_hostile_body(name):
    members, body = GREEDY[name]
    assert len(strictjson.compact(body)) < 66 * 1024
    greedy = held(**members)
    with pytest.raises(Refusal) as caught:
        greedy.check(URN, body)
    started = time.process_time()
    with pytest.raises(Refusal) as caught:
        greedy.check(URN, body)
    assert caught.value.code == "schema"
    assert time.process_time() - started < 0.5


def test_an_integer_beyond_64_bits_is_shown_where_elements_must_differ():
    strict = held(properties={"list": {"uniqueItems": True}}, additionalProperties=True)
    strict.check(URN, {"list": [2**63 - 1, -(2**63)]})
    for body, pointer in (({"list": [1, [2**63]]}, "/list/1/0"), ({"mine": 2**63}, "/*")):
        with pytest.raises(Refusal) as caught:
            strict.check(URN, body)
        assert (caught.value.pointer, caught.value.detail) == (pointer, "an integer beyond 64 bits")


def test_what_no_strict_reader_lets_through_is_refused_and_crashes_nothing():
    for value in ("\ud800", {"\ud800": 1}, b"bytes", {1: 2}):
        with pytest.raises(Refusal) as caught:
            held(type=["string", "object"], propertyNames={"maxLength": 9}).check(URN, value)
        assert caught.value.code == "schema"


def test_every_problem_of_a_body_is_told_to_those_who_ask():
    assert sorted(HELD.problems(VERIFY_SCHEMA, {**BODY, "birthDate": "x", "phone": "1"})) == [
        ("", "breaks 'additionalProperties'"),
        ("/birthDate", "breaks 'anyOf'"),
    ]


def test_a_member_that_a_schema_forbids_is_named_in_words():
    with pytest.raises(Refusal) as caught:
        HELD.check(VERIFY_REPLY_SCHEMA, {"result": "match", "fields": ["fullName"]})
    assert (caught.value.pointer, caught.value.detail) == ("/fields", "must not be there")


REFERRED = {
    "a pattern of classes": ({"pattern": r"^\p{Lu}+$"}, "a", ("", "breaks 'pattern'")),
    "a pattern that Python would try for ever": ({"pattern": "^(a+)+$"}, "a" * 40 + "b", ("", "breaks 'pattern'")),
    "a member that is forbidden": ({"properties": {"a": False}}, {"a": 1}, ("/a", "must not be there")),
    "a name by a pattern": ({"properties": {"ab": {}}, "patternProperties": {"^a": STRING}}, {"ab": 1}, ("/ab", "breaks 'type'")),
    "a member more": ({"properties": {"a": {}}, "additionalProperties": False}, {"b": 1}, ("", "breaks 'additionalProperties'")),
    "no branch": ({"anyOf": [STRING, {"type": "null"}]}, 1, ("", "breaks 'anyOf'")),
    "two branches": ({"oneOf": [{"minimum": 1}, {"minimum": 2}]}, 3, ("", "breaks 'oneOf'")),
    "an element twice": ({"uniqueItems": True}, [1, 1.0], ("", "breaks 'uniqueItems'")),
    "no multiple": ({"multipleOf": 0.01}, 0.015, ("", "breaks 'multipleOf'")),
}  # fmt: skip


@pytest.mark.parametrize("name", REFERRED)
def test_what_a_schema_refers_to_is_read_as_it_is_itself_whatever_draft_it_names(name):
    members, body, problem = REFERRED[name]
    alone = contracts.Contracts({URN: document(**members)})
    referred = contracts.Contracts({URN: document(**{"$ref": OTHER}), OTHER: document(**{"$id": OTHER, **members})})
    for held_by in (alone, referred):
        with pytest.raises(Refusal) as caught:
            held_by.check(URN, body)
        assert (caught.value.pointer, caught.value.detail) == problem


def slow_problems(value, **documents):
    """Return all that the slow validator holds against a body, also against one that the fast one takes."""
    schemas = {urn: strictjson.parse_object(data) for urn, data in documents.items()}
    return list(validation.Contract(URN, schemas).problems(value))


@pytest.mark.parametrize("value", [True, None, 4, "text", [1, 2], {"b": 1}])
def test_a_keyword_for_one_kind_of_value_leaves_the_others_alone(value):
    every = document(
        multipleOf=2, pattern="^t", uniqueItems=True, properties={"a": False}, patternProperties={"^c": STRING},
        additionalProperties={"type": "integer"},
    )  # fmt: skip
    contracts.Contracts({URN: every}).check(URN, value)
    assert slow_problems(value, **{URN: every}) == []


def test_a_multiple_as_written_is_no_problem_behind_a_reference_either():
    price = document(**{"$id": OTHER, "multipleOf": 0.01})
    assert slow_problems(19.99, **{URN: document(**{"$ref": OTHER}), OTHER: price}) == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, -2.0, 0.5]) | st.sampled_from(["", "a", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(st.lists(VALUES, max_size=5))
def test_elements_that_must_differ_are_compared_as_the_library_does(values):
    schema = {"uniqueItems": True}
    assert validation.Validator(schema).is_valid(values) is Draft202012Validator(schema).is_valid(values)


def test_unique_items_asks_lists_alone_and_only_where_it_is_wanted():
    assert validation.Validator({"uniqueItems": True}).is_valid("aa")
    assert validation.Validator({"uniqueItems": False}).is_valid([1, 1])
    assert not validation.Validator({"uniqueItems": True}).is_valid([1, 1.0])
    assert validation.Validator({"uniqueItems": True}).is_valid([1, True])


def test_a_document_is_checked_before_it_is_published():
    data = document(type="object", properties={"number": {"$ref": "urn:lgsp:schema:common:personal-number:1.0.0"}})
    assert contracts.check_document(URN, data, DOCUMENTS) == jws.hash_of(data)


@pytest.mark.parametrize("urn", DOCUMENTS)
def test_every_schema_of_the_project_can_be_published(urn):
    others = {name: data for name, data in DOCUMENTS.items() if name != urn}
    assert contracts.check_document(urn, DOCUMENTS[urn], others) == jws.hash_of(DOCUMENTS[urn])


BAD_DOCUMENTS = {
    "no JSON": b"{",
    "no object": b"true",
    "a member twice": b'{"$id":"x","$id":"x"}',
    "another id": document(**{"$id": "urn:lgsp:schema:tests:other:1.0.0"}),
    "no id": b'{"type":"object"}',
    "an unknown type": document(type="thing"),
    "a pattern that is none": document(pattern="("),
    "required as a text": document(required="a"),
    "a reference to what is not at hand": document(properties={"a": {"$ref": "urn:lgsp:schema:no:such:1.0.0"}}),
    "a reference to the web": document(items={"$ref": "https://example.vn/schema.json"}),
    "a reference to a file": document(allOf=[{"$ref": "file:///etc/passwd"}]),
    "a reference to nowhere in itself": document(properties={"a": {"$ref": "#/$defs/none"}}),
}


OUTSIDE = {
    "a keyword of another draft": ({"dependencies": {"a": ["b"]}}, "'dependencies'"),
    "a slip of the pen": ({"maxlength": 3}, "'maxlength'"),
    "a dynamic reference": ({"$dynamicRef": "#a", "$defs": {"a": {"$dynamicAnchor": "a"}}}, "'$dynamicRef'"),
    "an id within": ({"items": {"$id": "urn:x:y"}}, "'$id'"),
    "a draft within": ({"items": {"$schema": "http://json-schema.org/draft-07/schema#"}}, "'$schema'"),
    "another draft": ({"$schema": "http://json-schema.org/draft-07/schema#"}, "'$schema'"),
    "look-ahead": ({"pattern": "^(?!a)"}, "pattern"),
    "look-behind": ({"pattern": "(?<=a)b"}, "pattern"),
    "a back reference": ({"pattern": r"(a)\1"}, "pattern"),
    "an inline flag": ({"pattern": "(?i)a"}, "pattern"),
    "a word boundary": ({"pattern": r"\ba"}, "pattern"),
    "an end of Python's": ({"pattern": r"a\Z"}, "pattern"),
    "an escaped dollar before a look-ahead": ({"pattern": r"a\$(?!\n)"}, "pattern"),
    "a pattern that grows without bound": ({"pattern": "(x{1000}){1000}"}, "pattern"),
    "look-ahead in the name of a member": ({"patternProperties": {"(?=a)a": {}}}, "pattern"),
    "a number too wide": ({"maximum": 2**53 + 1}, "a number beyond"),
    "a number too wide within": ({"items": {"enum": [{"a": [1e300]}]}}, "a number beyond"),
    "a reference to all of itself": ({"items": {"$ref": URN}}, "leads back"),
    "a reference to its beginning": ({"items": {"$ref": "#"}}, "neither"),
    "a reference by a path": ({"items": STRING, "not": {"$ref": "#/items"}}, "neither"),
    "a reference that goes round": ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "leads back"),
    "a reference that doubles and doubles": (
        {"$defs": {f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(16)} | {"a16": STRING}}, "held against more"),
    "references that double, each for another member": (
        {"$defs": {f"a{n}": {"properties": {m: {"$ref": f"#/$defs/a{n + 1}"} for m in "ab"}} for n in range(16)} | {"a16": STRING}}, "parts"),
    "a long chain of references": ({"$defs": {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(900)} | {"a900": STRING}}, "deeper"),
    "a reference to what goes round": ({"$ref": OTHER}, "leads back"),
    "a reference to what is no schema": ({"$ref": THIRD}, "not a JSON Schema"),
    "a reference to what is no URN": ({"$ref": NO_URN}, "cannot compile"),
    "more patterns than may be": ({"patternProperties": {f"^a{n}$": {} for n in range(257)}}, "more than 256 patterns"),
    "more large patterns than may be": ({"allOf": [{"pattern": rf"\p{{L}}{{{n}}}"} for n in range(30, 39)]}, "or 8 large ones"),
}  # fmt: skip
NEIGHBOURS = {
    OTHER: document(**{"$id": OTHER, "$ref": URN}),
    THIRD: document(**{"$id": THIRD, "properties": 5}),
    NO_URN: document(**{"$id": NO_URN}),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_document_outside_the_dialect_is_refused_with_what_it_is(name):
    members, words = OUTSIDE[name]
    with pytest.raises(Refusal) as caught:
        contracts.check_document(URN, document(**members), NEIGHBOURS)
    assert caught.value.code == "directory_invalid"
    assert words in caught.value.detail


INSIDE = [
    {"x-title-vi": "Tên", "pattern": r"^\p{Lu}[\p{L} ]{0,99}$"},
    {"pattern": r"^[0-9]{12}$(?!\n)", "$comment": "the end that Python needs"},
    {"maximum": 2**53, "const": -(2**53), "enum": [0.1]},
    {"$defs": {"a": STRING, "b": True}, "items": {"$ref": "#/$defs/a"}, "contains": {"$ref": "#/$defs/b"}},
    {"$ref": "urn:lgsp:schema:tests:fourth:1.0.0#/$defs/a"},
    {"examples": [{"maxlength": -(2**53)}], "default": {"$ref": 1}},
]


@pytest.mark.parametrize("members", INSIDE)
def test_a_document_within_the_dialect_is_taken(members):
    fourth = "urn:lgsp:schema:tests:fourth:1.0.0"
    data = document(**members)
    assert contracts.check_document(URN, data, {fourth: document(**{"$id": fourth, "$defs": {"a": STRING}})})


def test_a_document_larger_than_the_bound_is_neither_published_nor_used_and_leaves_the_others_in_use():
    large = document(description="x" * LIMITS.schema_bytes)
    with pytest.raises(Refusal) as caught:
        contracts.check_document(URN, large, {})
    assert (caught.value.code, "larger than" in caught.value.detail) == ("directory_invalid", True)
    kept = contracts.Contracts({**DOCUMENTS, URN: large})
    kept.check(VERIFY_SCHEMA, dict(BODY))
    with pytest.raises(Refusal) as caught:
        kept.check(URN, {})
    assert caught.value.code == "schema_unusable"


def test_a_name_may_be_described_by_classes_of_letters():
    names = held(pattern=r"^\p{Lu}[\p{L} ]*$")
    names.check(URN, "Nguyễn Thị Ánh")
    with pytest.raises(Refusal):
        names.check(URN, "Nguyễn 2")


@pytest.mark.parametrize("name", BAD_DOCUMENTS)
def test_a_document_that_cannot_be_used_is_refused(name):
    with pytest.raises(Refusal) as caught:
        contracts.check_document(URN, BAD_DOCUMENTS[name], DOCUMENTS)
    assert caught.value.code == "directory_invalid"


def test_a_reference_into_itself_is_followed():
    contracts.check_document(URN, document(**{"$defs": {"a": {"type": "string"}}, "$ref": "#/$defs/a"}), {})


def test_references_are_found_wherever_they_stand():
    schema = {"$ref": "a", "items": [{"$ref": "b"}, {"not": {"$ref": "c"}}], "properties": {"$ref": {"type": "string"}}}
    assert list(contracts.references(schema)) == ["a", "b", "c"]


SUBJECTS = [
    ("/personalNumber", {"personalNumber": "1"}, ["1"]),
    ("/personalNumber", {"oldNumber": "1"}, []),
    ("/personalNumber", {"personalNumber": 1}, []),
    ("/personalNumber", {"personalNumber": None}, []),
    ("/personalNumber", [], []),
    ("/personalNumber", "text", []),
    ("/owner/number", {"owner": {"number": "1"}}, ["1"]),
    ("/owner/number", {"owner": "1"}, []),
    ("/rows/*/number", {"rows": [{"number": "1"}, {}, {"number": "2"}, {"number": "1"}]}, ["1", "2"]),
    ("/rows/*/number", {"rows": {"*": {"number": "1"}}}, ["1"]),
    ("/rows/*/number", {"rows": []}, []),
    ("/rows/*", {"rows": ["1", "2"]}, ["1", "2"]),
    ("/*", ["1"], ["1"]),
    ("/rows/*/*", {"rows": [["1"], ["2", "3"]]}, ["1", "2", "3"]),
]


@pytest.mark.parametrize(("pointer", "body", "numbers"), SUBJECTS)
def test_the_persons_that_a_body_names_are_found_each_once(pointer, body, numbers):
    subject = records.Subject(pointer=pointer, scheme="CCCD")
    assert contracts.subject_values([subject], body) == [("CCCD", number) for number in numbers]


def test_persons_of_several_pointers_keep_their_schemes_apart():
    subjects = [
        records.Subject(pointer="/a", scheme="CCCD"),
        records.Subject(pointer="/b", scheme="CMND"),
        records.Subject(pointer="/c", scheme="CCCD"),
    ]
    body = {"c": "099", "b": "099", "a": "099"}
    assert contracts.subject_values(subjects, body) == [("CCCD", "099"), ("CMND", "099")]


def test_the_world_s_contracts_are_the_published_ones():
    assert World.make().documents == DOCUMENTS
