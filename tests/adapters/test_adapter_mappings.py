import unicodedata
from dataclasses import replace
from datetime import date

import pytest

from adapters.made_up.fleet import Hull
from adapters.one_stop import mapping as one_stop
from adapters.one_stop.records import Applicant
from adapters.police import mapping as police
from adapters.spelling import iso_birth_date, tidy_name, tidy_number
from adapters.vnfishbase import mapping
from adapters.vnfishbase.mapping import Linked, Quarantined
from adapters.vnfishbase.records import VesselRow

NAME = "NGUYỄN THỊ NGỌC ÁNH"
ROW = VesselRow(
    registration="AG-00012-TS",
    vessel_name="BÌNH MINH 07",
    owner_name=NAME,
    owner_number="099165000123",
    old_number=None,
    birth_date="12/05/1965",
    commune_code="30742",
    hull=Hull(length_m=12.5, engine_kw=110, material="gỗ", built=2001),
)
BODY = {"personalNumber": "099165000123", "fullName": NAME, "birthDate": "1965-05-12"}
AS_OF = date(2026, 11, 22)
ONE, OTHER = "099165000123", "099065000456"


@pytest.mark.parametrize(
    "typed",
    [
        NAME,
        NAME.lower(),
        NAME.title(),
        f" {NAME}\t",
        NAME.replace(" ", "\u00a0 "),
        unicodedata.normalize("NFD", NAME),
    ],
)
def test_a_name_is_sent_in_one_spelling(typed: str) -> None:
    assert tidy_name(typed) == NAME


@pytest.mark.parametrize(
    ("typed", "iso"),
    [
        ("12/05/1965", "1965-05-12"),
        ("2-5-1965", "1965-05-02"),
        ("12.5.1965", "1965-05-12"),
        (" 1965-05-12 ", "1965-05-12"),
        ("05/1965", "1965-05"),
        ("1965-05", "1965-05"),
        ("1965", "1965"),
        ("00/00/1965", "1965"),
        ("00/05/1965", "1965-05"),
        ("12/00/1965", None),
        ("31/02/1965", None),
        ("12/13/1965", None),
        ("29/02/2004", "2004-02-29"),
        ("29/02/2003", None),
        ("65", None),
        ("năm 1965", None),
        ("0000", None),
        ("", None),
        (None, None),
    ],
)
def test_a_birth_date_keeps_the_precision_that_was_typed(typed: str | None, iso: str | None) -> None:
    assert iso_birth_date(typed) == iso


@pytest.mark.parametrize(
    ("typed", "digits"),
    [("099 165 000123", ONE), ("099.165.000.123", ONE), ("099165000123 ", ONE), (None, ""), ("  ", "")],
)
def test_grouping_is_taken_out_of_a_number(typed: str | None, digits: str) -> None:
    assert tidy_number(typed) == digits


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, BODY),
        ({"owner_number": "099 165 000123"}, BODY),
        ({"owner_name": unicodedata.normalize("NFD", "Nguyễn  Thị Ngọc Ánh ")}, BODY),
        ({"birth_date": "1965"}, {**BODY, "birthDate": "1965"}),
        ({"owner_number": None, "old_number": "990000123"}, {"oldNumber": "990000123", "fullName": NAME, "birthDate": "1965-05-12"}),
        ({"owner_number": "990000123"}, {"oldNumber": "990000123", "fullName": NAME, "birthDate": "1965-05-12"}),
        ({"old_number": "990000123"}, BODY),
        ({"owner_number": None}, Quarantined(reason="number_missing")),
        ({"owner_number": "99165000123"}, Quarantined(reason="number_malformed")),
        ({"owner_number": "09916500012O"}, Quarantined(reason="number_malformed")),
        ({"owner_number": "٠٩٩١٦٥٠٠٠١٢٣"}, Quarantined(reason="number_malformed")),
        ({"birth_date": None}, Quarantined(reason="birth_date_missing")),
        ({"birth_date": "31/02/1965"}, Quarantined(reason="birth_date_unreadable")),
    ],
)  # fmt: skip
def test_a_row_becomes_a_question_or_a_reason(changes: dict[str, str | None], expected: object) -> None:
    assert mapping.verify_request(replace(ROW, **changes)) == expected


def test_a_number_found_out_from_others_is_asked_about() -> None:
    assert mapping.verify_request(replace(ROW, owner_number=None), ONE) == BODY


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"result": "match"}, Linked()),
        ({"result": "mismatch", "fields": ["fullName"]}, Quarantined(reason="name_differs")),
        ({"result": "mismatch", "fields": ["birthDate"]}, Quarantined(reason="birth_date_differs")),
        ({"result": "mismatch", "fields": ["birthDate", "fullName"]}, Quarantined(reason="person_differs")),
        ({"result": "not_found"}, Quarantined(reason="number_unknown")),
        ({"result": "deceased"}, Quarantined(reason="owner_deceased")),
        ({"result": "ambiguous"}, Quarantined(reason="number_ambiguous")),
    ],
)
def test_an_answer_links_or_quarantines(reply: dict[str, object], expected: object) -> None:
    assert mapping.verdict(reply) == expected


def test_an_unknown_result_is_never_taken_for_a_match() -> None:
    with pytest.raises(KeyError):
        mapping.verdict({"result": "probably"})


@pytest.mark.parametrize(
    ("police_answer", "commune_answer", "expected"),
    [
        (ONE, ONE, ONE),
        (ONE, None, ONE),
        (None, ONE, ONE),
        (ONE, OTHER, Quarantined(reason="answers_differ")),
        (None, None, Quarantined(reason="number_missing")),
    ],
)
def test_two_answers_are_compared(police_answer: str | None, commune_answer: str | None, expected: object) -> None:
    assert mapping.agreed_number(police_answer, commune_answer) == expected


def lacking(count: int, commune: str) -> list[VesselRow]:
    return [
        replace(ROW, registration=f"AG-{number:05d}-TS", owner_number=None, commune_code=commune)
        for number in range(count)
    ]


def test_the_police_get_lists_of_a_hundred() -> None:
    lists = list(mapping.police_lists([*lacking(230, "30742"), ROW], AS_OF))
    assert [len(body["rows"]) for body in lists] == [100, 100, 30]
    assert [body["listId"] for body in lists] == [f"20261122-police-{part:03d}" for part in (1, 2, 3)]


def test_a_commune_gets_its_own_vessels_alone() -> None:
    rows = [*lacking(101, "30742"), *lacking(2, "30307")]
    lists = list(mapping.commune_lists(rows, AS_OF))
    assert [(code, len(body["rows"])) for code, body in lists] == [("30307", 2), ("30742", 100), ("30742", 1)]
    assert all({row["communeCode"] for row in body["rows"]} == {code} for code, body in lists)


def test_a_list_of_nothing_is_not_sent() -> None:
    assert list(mapping.police_lists([ROW], AS_OF)) == []
    assert list(mapping.commune_lists([ROW], AS_OF)) == []


def test_a_birth_date_nobody_can_read_is_left_out_of_a_list() -> None:
    (body,) = mapping.police_lists([replace(ROW, owner_number=None, birth_date="?")], AS_OF)
    assert body == {
        "listId": "20261122-police-001",
        "asOf": "2026-11-22",
        "orgcat": "2025-07",
        "rows": [{"registration": "AG-00012-TS", "ownerName": NAME, "communeCode": "30742"}],
    }


@pytest.mark.parametrize("reply_of", [police.owner_list_reply, one_stop.owner_list_reply])
def test_a_list_is_answered_row_by_row(reply_of: object) -> None:
    request = {"listId": "a", "rows": [{"registration": "AG-00001-TS"}, {"registration": "AG-00002-TS"}]}
    reply = reply_of(request, {"AG-00002-TS": ONE, "AG-00003-TS": OTHER})
    assert reply == {
        "listId": "a",
        "rows": [
            {"registration": "AG-00001-TS", "status": "not_found"},
            {"registration": "AG-00002-TS", "personalNumber": ONE, "status": "found"},
        ],
    }
    assert mapping.answers(reply) == {"AG-00001-TS": None, "AG-00002-TS": ONE}


APPLICANT = Applicant(
    dossier="H01.31-20261122-0000001",
    procedure="1.001612.000.00.00.H01",
    number="099 165 000123",
    full_name="nguyễn thị ngọc ánh",
    birth_date="12/05/1965",
)


def test_an_applicant_becomes_a_question() -> None:
    assert one_stop.verify_request(APPLICANT) == BODY
    by_old = one_stop.verify_request(replace(APPLICANT, number="990000123"))
    assert by_old == {"oldNumber": "990000123", "fullName": NAME, "birthDate": "1965-05-12"}


@pytest.mark.parametrize("changes", [{"number": "99165000123"}, {"number": ""}, {"birth_date": "32/01/1965"}])
def test_what_an_officer_must_type_again_is_not_sent(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"neither twelve nor nine|not a date"):
        one_stop.verify_request(replace(APPLICANT, **changes))
