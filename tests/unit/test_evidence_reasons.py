"""Why a check of evidence failed is said in Vietnamese, for every reason that the checks know."""

import ast
from pathlib import Path

import pytest

from lgsp.cli.evidence.reasons import REASONS, reason
from lgsp.domain import checkpoint, envelope, evidence, evidence_checks, notes, statements, strictjson
from lgsp.errors import catalogue

RAISED = {"ValueError", "NoteInvalid", "NotStrict", "_demand", "Refusal"}
NOT_OF_BUNDLES = {
    "a batch has at most 256 items",  # of who signs
    "not a proof of this version",  # of proofs of one entry
    "a proof has one index and at most 63 hashes",
    "the entry is not in the log at this index",
    "not a note key: name+hash+base64 expected",  # of keys in settings and the trust file
    "the hash in the note key does not fit name and key",
    "a key name is not empty and has no space, plus or control character",
    "unsupported kind or size of a note key",
    "a log's key or a witness's key is of the other kind",
}


def reasons_in(module):
    """Return the words of all refusals in a module, with an X for what is named in them."""
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RAISED:
            at = 1 if node.func.id in {"_demand", "Refusal"} else 0
            for text in node.args[at : at + 1]:
                if isinstance(text, ast.Constant):
                    yield text.value
                elif isinstance(text, ast.JoinedStr):
                    yield "".join(each.value if isinstance(each, ast.Constant) else "X" for each in text.values)


@pytest.mark.parametrize(
    "module",
    [evidence_checks, evidence, statements, checkpoint, notes, envelope, strictjson],
    ids=lambda module: module.__name__,
)
def test_each_reason_that_a_check_can_give_is_known_in_vietnamese(module):
    found = set(reasons_in(module)) - NOT_OF_BUNDLES
    assert found
    assert {words for words in found if reason(words, "vi") == words} == set()


def test_what_is_named_in_a_reason_stays():
    assert reason("entry 7 does not stand in the log", "vi") == "mục 7 không nằm trong nhật ký"
    assert reason("entry 7 does not stand in the log", "en") == "entry 7 does not stand in the log"
    assert reason("version 2 of the directory stands twice", "vi") == "phiên bản 2 của danh bạ có hai lần"


def test_a_refusal_is_said_by_its_code_its_title_and_its_detail():
    title = catalogue()["directory_invalid"].title["vi"]
    assert reason("signature", "vi") == f"signature: {catalogue()['signature'].title['vi']}"
    assert reason("directory_invalid: the statement has no root", "vi") == (
        f"directory_invalid: {title} (văn bản danh bạ không có giá trị gốc)"
    )


def test_what_nobody_knows_beforehand_stays_as_it_is():
    assert reason("key x: of another kind", "vi") == "key x: of another kind"
    assert reason("directory_invalid: grant g-1: since: a whole number", "vi").endswith(
        "(grant g-1: since: a whole number)"
    )


def test_both_languages_name_the_same_things():
    assert {words for words, said in REASONS.items() if ("{a}" in words) != ("{a}" in said)} == set()
