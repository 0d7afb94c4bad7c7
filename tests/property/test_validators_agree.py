import copy
import json
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lgsp.domain import strictjson
from lgsp.domain.validation import Contract
from lgsp.errors import Refusal
from lgsp.testing.world import schema_documents

SCHEMAS = {urn: strictjson.parse_object(document) for urn, document in schema_documents().items()}
CONTRACTS = {urn: Contract(urn, SCHEMAS) for urn in SCHEMAS}
SAMPLES = sorted((Path(__file__).parents[2] / "adapters").glob("*/samples/*/*.json"))
URN = "urn:lgsp:schema:tests:thing:1.0.0"
BUDGET = settings(max_examples=50, deadline=None)


def contract(schema):
    return Contract(URN, {URN: schema})


def disagree(held, body):
    return held.takes(body) != (next(held.problems(body), None) is None)


def schema_of(sample):
    name = sample.name.partition(".")[0]
    return next(urn for urn in SCHEMAS if urn.endswith(f":{name}:1.0.0"))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: f"{path.parts[-4]}/{path.parts[-2]}/{path.name}")
def test_both_validators_say_of_a_sample_what_its_folder_says(sample):
    held, body = CONTRACTS[schema_of(sample)], json.loads(sample.read_text(encoding="utf-8"))
    assert held.takes(body) is (sample.parent.name != "invalid")
    assert not disagree(held, body)


@pytest.mark.parametrize("urn", SCHEMAS)
def test_both_validators_take_the_examples_of_a_schema(urn):
    for example in SCHEMAS[urn]["examples"]:
        assert CONTRACTS[urn].takes(example)
        assert not disagree(CONTRACTS[urn], example)


NUMBERS = st.sampled_from(
    [0, 1, -1, 2, 3, 10, 2**53, -(2**53), 2**63 - 1, 0.0, -0.0, 1.0, 0.5, 0.1, 0.3, 1.1, 4.35, 19.99, 1e300, 5e-324]
)
TEXTS = st.sampled_from(
    [
        "",
        "a",
        "aa",
        "ab",
        "a\n",
        "b",
        "ế",
        "é",
        "1",
        "12",
        "٠",
        "_",
        "\ufeff",
        "\u00a0",
        "😀",
        "a b",
        "099165000123",
        "H01.12",
    ]
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
BODIES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
EXAMPLES = [(urn, example) for urn, schema in SCHEMAS.items() for example in schema["examples"]]


def places(body):
    """Yield (container, key) of each value in a body."""
    inner = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for key, value in list(inner):
        yield body, key
        yield from places(value)


@st.composite
def mutated(draw, body):
    holder = [copy.deepcopy(body)]
    for _ in range(draw(st.integers(1, 3))):
        where, key = draw(st.sampled_from(list(places(holder))))
        value = where[key]
        kind = draw(st.sampled_from(["replace", "edit", "drop", "add", "twice"]))
        if kind == "edit" and isinstance(value, str):
            at = draw(st.integers(0, len(value)))
            where[key] = value[:at] + draw(TEXTS) + value[at + draw(st.integers(0, 2)) :]
        elif kind == "drop" and where is not holder:
            del where[key]
        elif kind == "add" and isinstance(value, dict):
            value[draw(TEXTS)] = draw(BODIES)
        elif kind == "twice" and isinstance(value, list):
            value.extend(copy.deepcopy(value))
        else:
            where[key] = draw(BODIES)
    return holder[0]


@BUDGET
@given(st.data())
def test_both_validators_say_the_same_of_examples_with_something_changed(data):
    urn, example = data.draw(st.sampled_from(EXAMPLES))
    assert not disagree(CONTRACTS[urn], data.draw(mutated(example)))


PATTERNS = st.sampled_from(["^a$", "^a$(?!\\n)", "^\\d+$", "\\w", "^\\s", "^\\p{L}+$", "a|b", "^[^a]*$", "", "(a+)+b"])
COUNTS = st.integers(0, 3)


def keywords(inner):
    """Draw a schema with a few keywords, `inner` being the schemas within."""
    named = st.dictionaries(TEXTS, inner, max_size=2)
    several = st.lists(inner, min_size=1, max_size=2)
    values = {
        "type": st.sampled_from(["integer", "number", "string", "object", "array", "null", "boolean", ["integer", "string"]]),
        "const": BODIES, "enum": st.lists(BODIES, min_size=1, max_size=3), "pattern": PATTERNS, "uniqueItems": st.booleans(),
        "minimum": NUMBERS, "exclusiveMinimum": NUMBERS, "maximum": NUMBERS, "exclusiveMaximum": NUMBERS,
        "multipleOf": st.sampled_from([1, 2, 3, 0.1, 0.01, 0.5, 1.5]), "minLength": COUNTS, "maxLength": COUNTS, "minItems": COUNTS,
        "maxItems": COUNTS, "minProperties": COUNTS, "maxProperties": COUNTS, "minContains": COUNTS, "maxContains": COUNTS,
        "required": st.lists(TEXTS, max_size=2, unique=True), "dependentRequired": st.dictionaries(TEXTS, st.lists(TEXTS, max_size=2, unique=True), max_size=2),
        "properties": named, "patternProperties": st.dictionaries(PATTERNS, inner, max_size=2), "dependentSchemas": named,
        "allOf": several, "anyOf": several, "oneOf": several, "prefixItems": several, "not": inner, "if": inner, "then": inner, "else": inner,
        "items": inner, "contains": inner, "additionalProperties": inner, "propertyNames": inner, "unevaluatedItems": inner, "unevaluatedProperties": inner,
    }  # fmt: skip
    names = st.lists(st.sampled_from(sorted(values)), min_size=1, max_size=4, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: values[name] for name in chosen}))


MADE_UP = st.recursive(st.booleans() | keywords(st.booleans()), keywords, max_leaves=6)


def may_be_published(schema):
    try:
        return contract(schema)
    except Refusal:
        return None


@BUDGET
@given(MADE_UP.filter(lambda schema: isinstance(schema, dict)), st.lists(BODIES, min_size=4, max_size=8))
def test_both_validators_say_the_same_under_schemas_that_nobody_wrote(schema, bodies):
    held = may_be_published(schema)
    assume(held is not None)
    # The library matches the patterns of members beside unevaluatedProperties by an engine of its own; there it finds no words.
    assume(not {"unevaluatedProperties", "patternProperties"} <= held._extent.keywords)
    assert [body for body in bodies if disagree(held, body)] == []


PLANTED = [
    ({"multipleOf": 0.01}, 19.99),
    ({"pattern": "^a$"}, "a\n"),
    ({"pattern": "^\\d$"}, "٠"),
    ({"patternProperties": {"^a$": False}}, {"a\n": 1}),
]


@pytest.mark.parametrize(("schema", "body"), PLANTED)
def test_a_difference_between_validators_is_found(schema, body):
    held = contract(schema)
    assert not disagree(held, body)
    held._slow = Draft202012Validator(schema)
    assert disagree(held, body)


@pytest.mark.parametrize(("schema", "body"), PLANTED[:1])
def test_where_the_slow_validator_finds_nothing_the_refusal_has_general_words(schema, body):
    held = contract({"not": schema})
    held._slow = Draft202012Validator({"not": schema})
    with pytest.raises(Refusal) as caught:
        held.check(body)
    assert (caught.value.code, caught.value.detail, caught.value.pointer) == ("schema", "breaks its schema", "")


WIDE = [
    ({"type": "integer"}, 10**400, True),
    ({"type": "integer"}, 1e300, True),
    ({"maximum": 1}, 10**400, False),
    ({"minimum": -1.5}, 10**400, True),
    ({"multipleOf": 7}, 7 * 10**400, True),
    ({"multipleOf": 0.5}, 10**400, True),
    ({"multipleOf": 0.1}, 1e308, True),
    ({"multipleOf": 2}, 2**64 + 1, False),
    ({"const": 1}, 2**64, False),
    ({"enum": [2**53]}, 2.0**53, True),
    ({"type": "string"}, 2**64, False),
]


@pytest.mark.parametrize(("schema", "body", "good"), WIDE)
def test_both_validators_say_the_same_of_wide_numbers(schema, body, good):
    held = contract(schema)
    assert held.takes(body) is good
    assert not disagree(held, body)
