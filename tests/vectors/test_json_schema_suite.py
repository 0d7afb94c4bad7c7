"""The JSON Schema Test Suite, 2020-12: every required case, through our loader and both validators.

It travels in the source archive of `jsonschema`, fetched by `.ci/setup` in the version and with the hash that the lock holds. A schema of the suite is
published under a URN of ours, as everything is here. What our dialect refuses on purpose stands in `REFUSED`, by the words it is refused with.
"""

import hashlib
import json
import tarfile
from functools import cache
from importlib.metadata import version
from pathlib import Path, PurePosixPath

import pytest

from lgsp.domain import contracts, strictjson
from lgsp.domain.validation import Contract
from lgsp.errors import Refusal

ROOT = Path(__file__).parents[2]
ARCHIVE = ROOT / "build" / "fetched" / f"jsonschema-{version('jsonschema')}.tar.gz"
URN = "urn:lgsp:schema:tests:suite:1.0.0"
FILES = 46
GROUPS = 368
CASES = 1257

REFUSED = {
    "'$id' is not a keyword": {
        "anchor.json": [
            "Location-independent identifier with absolute URI",
            "Location-independent identifier with base URI change in subschema",
            "same $anchor with different base uri",
        ],
        "dynamicRef.json": ["after leaving a dynamic scope, it is not used by a $dynamicRef"],
        "ref.json": [
            "refs with relative uris and defs",
            "relative refs with absolute uris and defs",
            "$id must be resolved against nearest parent, not just immediate parent",
            "order of evaluation: $id and $ref",
            "URN ref with nested pointer ref",
            "ref to if",
            "ref to then",
            "ref to else",
            "ref with absolute-path-reference",
        ],
        "refRemote.json": ["base URI change"],
    },
    "'$anchor' is not a keyword": {
        "anchor.json": ["Location-independent identifier"],
        "dynamicRef.json": ["An $anchor with the same name as a $dynamicAnchor is not used for dynamic scope resolution"],
        "ref.json": ["order of evaluation: $id and $anchor and $ref"],
    },
    "'$dynamicRef' is not a keyword": {
        "dynamicRef.json": [
            "A $dynamicRef to a $dynamicAnchor in the same schema resource behaves like a normal $ref to an $anchor",
            "A $dynamicRef to an $anchor in the same schema resource behaves like a normal $ref to an $anchor",
            "$dynamicRef points to a boolean schema",
        ],
    },
    "'$dynamicAnchor' is not a keyword": {
        "dynamicRef.json": [
            "A $dynamicRef resolves to the first $dynamicAnchor still in scope that is encountered when the schema is evaluated",
            "A $dynamicRef without anchor in fragment behaves identical to $ref",
            "A $dynamicRef with intermediate scopes that don't include a matching $dynamicAnchor does not affect dynamic scope resolution",
            "A $dynamicRef without a matching $dynamicAnchor in the same schema resource behaves like a normal $ref to $anchor",
            "A $dynamicRef with a non-matching $dynamicAnchor in the same schema resource behaves like a normal $ref to $anchor",
            "A $dynamicRef that initially resolves to a schema with a matching $dynamicAnchor resolves to the first $dynamicAnchor in the dynamic scope",
            "A $dynamicRef that initially resolves to a schema without a matching $dynamicAnchor behaves like a normal $ref to $anchor",
            "strict-tree schema, guards against misspelled properties",
            "tests for implementation dynamic anchor and reference link",
            "$ref and $dynamicAnchor are independent of order - $ref first",
        ],
        "unevaluatedItems.json": ["unevaluatedItems with $dynamicRef"],
        "unevaluatedProperties.json": ["unevaluatedProperties with $dynamicRef"],
    },
    "'contentSchema' is not a keyword": {
        "content.json": ["validation of binary-encoded media type documents with schema"],
    },
    "'$ref' is neither a URN nor a name in '$defs'": {
        "defs.json": ["validate definition against metaschema"],
        "dynamicRef.json": [
            "A $ref to a $dynamicAnchor in the same schema resource behaves like a normal $ref to an $anchor",
            "multiple dynamic paths to the $dynamicRef keyword",
            "$ref and $dynamicAnchor are independent of order - $defs first",
            "$ref to $dynamicRef finds detached $dynamicAnchor",
            "$dynamicRef skips over intermediate resources - direct reference",
        ],
        "ref.json": [
            "root pointer ref",
            "relative pointer ref to object",
            "relative pointer ref to array",
            "escaped pointer ref",
            "remote ref, containing refs itself",
            "Recursive references between schemas",
            "refs with quote",
            "URN base URI with URN and anchor ref",
            "empty tokens in $ref json-pointer",
        ],
        "refRemote.json": [
            "remote ref",
            "fragment within remote ref",
            "anchor within remote ref",
            "ref within remote ref",
            "base URI change - change folder",
            "base URI change - change folder in subschema",
            "root ref in remote ref",
            "remote ref with ref to defs",
            "Location-independent identifier in remote ref",
            "retrieved nested refs resolve relative to their URI not $id",
            "remote HTTP ref with different $id",
            "remote HTTP ref with different URN $id",
            "remote HTTP ref with nested absolute ref",
            "$ref to $ref finds detached $anchor",
        ],
        "unevaluatedProperties.json": ["unevaluatedProperties + single cyclic ref"],
    },
    "refers to a schema that is not at hand": {
        "ref.json": ["simple URN base URI with $ref via the URN", "URN base URI with URN and JSON pointer ref"],
    },
    "'$schema' or '$id' is another": {
        "vocabulary.json": [
            "schema that uses custom metaschema with with no validation vocabulary",
            "ignore unrecognized optional vocabulary",
        ],
    },
}  # fmt: skip
WORDS = {
    (file, description): words
    for words, files in REFUSED.items()
    for file, descriptions in files.items()
    for description in descriptions
}


@cache
def suite():
    """Return the required groups of cases by file; the archive is the one of the lock, byte for byte."""
    assert ARCHIVE.is_file(), f"{ARCHIVE} is missing: run .ci/setup dev"
    digest = hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()
    assert f"--hash=sha256:{digest}" in (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    with tarfile.open(ARCHIVE) as archive:
        members = {PurePosixPath(member.name): member for member in archive if member.isfile()}
        return {
            path.name: json.load(archive.extractfile(member))
            for path, member in members.items()
            if path.match("json/tests/draft2020-12/*.json")
        }


def published(schema):
    """Return a schema of the suite as a document of ours: an object under our URN."""
    return ({"$ref": "#/$defs/it", "$defs": {"it": schema}} if isinstance(schema, bool) else schema) | {"$id": URN}


def groups(*, refused):
    return [
        (file, group) for file, found in suite().items() for group in found if ((file, group["description"]) in WORDS) is refused
    ]  # fmt: skip


def test_the_whole_suite_is_there():
    found = [group for each in suite().values() for group in each]
    assert (len(suite()), len(found), sum(len(group["tests"]) for group in found)) == (FILES, GROUPS, CASES)
    named = {(file, group["description"]) for file, each in suite().items() for group in each}
    assert WORDS.keys() - named == set()
    assert len(groups(refused=True)) == sum(len(each) for files in REFUSED.values() for each in files.values())


def test_both_validators_give_the_verdict_of_every_case_within_the_dialect():
    wrong = []
    for file, group in groups(refused=False):
        schema = published(group["schema"])
        contracts.check_document(URN, strictjson.compact(schema), {})
        contract = Contract(URN, {URN: schema})
        for case in group["tests"]:
            verdicts = contract.takes(case["data"]), next(contract.problems(case["data"]), None) is None
            if verdicts != (case["valid"], case["valid"]):
                wrong.append((file, group["description"], case["description"], verdicts))
    assert wrong == []


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_outside_the_dialect_is_refused_for_what_it_is(words):
    asked = [(file, group) for file, group in groups(refused=True) if WORDS[file, group["description"]] == words]
    assert asked
    for file, group in asked:
        with pytest.raises(Refusal) as caught:
            contracts.check_document(URN, strictjson.compact(published(group["schema"])), {})
        assert (caught.value.code, words in caught.value.detail) == ("directory_invalid", True), (
            file,
            group["description"],
            caught.value.detail,
        )
