import ast
import unicodedata
from pathlib import Path

import pytest

import lgsp
from lgsp.errors import Defect, LgspError, Refusal, Unusable, catalogue

PACKAGE = Path(lgsp.__file__).parent
CODES = catalogue()
CARRIERS = {"Refusal", "Unusable"}


def codes_in(tree: ast.AST) -> set[str]:
    """Every code given as a literal to an error of the catalogue."""
    return {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", getattr(node.func, "attr", "")) in CARRIERS
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }


def used_codes() -> dict[str, str]:
    return {
        code: str(path.relative_to(PACKAGE))
        for path in sorted(PACKAGE.rglob("*.py"))
        for code in codes_in(ast.parse(path.read_text("utf-8")))
    }


def test_every_code_that_is_used_stands_in_the_catalogue():
    used = used_codes()
    assert len(used) >= 30, "the search finds what it looks for"
    assert {code: path for code, path in used.items() if code not in CODES} == {}


def test_the_search_for_codes_finds_both_spellings_of_a_raise():
    source = "raise Refusal('a', pointer='/x')\nraise errors.Unusable('b')\nRefusal(code)\nOther('c')\n"
    assert codes_in(ast.parse(source)) == {"a", "b"}


@pytest.mark.parametrize("code", CODES)
def test_a_row_of_the_catalogue_is_complete_in_both_languages(code):
    row = CODES[code]
    assert row.code == code
    assert code.replace("_", "").isalnum()
    assert code == code.lower()
    for texts in (row.title, row.hint):
        assert set(texts) == {"en", "vi"}
        assert all(text.strip() == text and text for text in texts.values())
        assert texts["en"].isascii()
        assert unicodedata.is_normalized("NFC", texts["vi"])
    assert row.title["en"] != row.title["vi"]
    assert row.hint["en"] != row.hint["vi"]


@pytest.mark.parametrize("code", CODES)
def test_a_row_has_a_status_of_http_and_somebody_who_must_act(code):
    row = CODES[code]
    assert row.status in {400, 401, 403, 404, 405, 409, 410, 413, 422, 429, 500, 502, 503}
    assert row.family in {"sender", "operator", "administrator", "nobody", "us"}


def test_titles_and_hints_tell_the_codes_apart():
    titles = [row.title["en"] for row in CODES.values()]
    assert len(set(titles)) == len(titles)
    vietnamese = [row.title["vi"] for row in CODES.values()]
    assert len(set(vietnamese)) == len(vietnamese)


def test_a_refusal_becomes_a_problem_in_the_language_that_is_asked_for():
    refusal = Refusal("clock_ahead", pointer="/recordedtime", now="2026-11-22T00:00:00.000Z")
    assert refusal.problem() == {
        "type": "urn:lgsp:refusal:clock_ahead",
        "title": CODES["clock_ahead"].title["en"],
        "status": 400,
        "code": "clock_ahead",
        "retryable": False,
        "hint": CODES["clock_ahead"].hint["en"],
        "pointer": "/recordedtime",
        "now": "2026-11-22T00:00:00.000Z",
    }
    assert refusal.problem("vi")["title"] == CODES["clock_ahead"].title["vi"]
    assert "detail" not in refusal.problem()
    assert Refusal("schema", "breaks 'type'").problem()["detail"] == "breaks 'type'"


def test_a_refusal_says_in_words_what_and_where():
    assert str(Refusal("schema", "breaks 'type'", pointer="/a")) == "schema at /a: breaks 'type'"
    assert str(Refusal("signature")) == f"signature: {CODES['signature'].title['en']}"


def test_a_code_that_does_not_exist_cannot_be_raised():
    with pytest.raises(KeyError):
        Refusal("no_such_code")


def test_the_tree_of_errors_is_as_drawn():
    assert issubclass(Unusable, Refusal)
    assert issubclass(Refusal, LgspError)
    assert issubclass(Defect, LgspError)
    assert not issubclass(Defect, Refusal)
    assert Unusable("config_invalid", exit_code=4).exit_code == 4
    assert Unusable("config_invalid").exit_code == 2
