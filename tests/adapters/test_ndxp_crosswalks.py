from datetime import UTC, date, datetime

import pytest

from adapters.ndxp import crosswalks


@pytest.mark.parametrize(
    ("source", "code", "gender"),
    [
        ("social-insurance", "1", "male"),
        ("social-insurance", "2", "female"),
        ("social-insurance", "3", "other"),
        ("judicial-record", "1", "male"),
        ("judicial-record", "0", "female"),
        ("driver-health", "0", "male"),
        ("driver-health", "1", "female"),
    ],
)
def test_each_source_codes_gender_its_own_way(source, code: str, gender) -> None:
    assert crosswalks.gender(source, code) == gender
    assert crosswalks.gender_code(source, gender) == code


@pytest.mark.parametrize(
    ("source", "code"), [("social-insurance", "0"), ("judicial-record", "2"), ("driver-health", "")]
)
def test_an_unknown_gender_is_not_guessed(source, code: str) -> None:
    with pytest.raises(ValueError, match="gender"):
        crosswalks.gender(source, code)


def test_a_gender_that_a_source_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="gender"):
        crosswalks.gender_code("judicial-record", "other")


@pytest.mark.parametrize(
    ("source", "text", "moment"),
    [
        ("public-service-portal", "20261122083015", datetime(2026, 11, 22, 1, 30, 15, tzinfo=UTC)),
        ("justice", "22/11/2026", datetime(2026, 11, 21, 17, tzinfo=UTC)),
        ("health", "22/11/2026", datetime(2026, 11, 21, 17, tzinfo=UTC)),
        ("enterprise", "22/11/2026", datetime(2026, 11, 21, 17, tzinfo=UTC)),
        ("social-insurance", "20261122", datetime(2026, 11, 21, 17, tzinfo=UTC)),
        ("population", "20261122", datetime(2026, 11, 21, 17, tzinfo=UTC)),
    ],
)
def test_each_source_writes_dates_its_own_way(source, text: str, moment: datetime) -> None:
    assert crosswalks.moment(source, text) == moment


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("population", "22/11/2026"),
        ("population", "2026112"),
        ("population", "20260230"),
        ("justice", "2/11/2026"),
        ("public-service-portal", "20261122"),
    ],
)
def test_a_date_of_another_source_is_refused(source, text: str) -> None:
    with pytest.raises(ValueError, match=source):
        crosswalks.moment(source, text)


@pytest.mark.parametrize(
    ("source", "text"),
    [("public-service-portal", "20261122000000"), ("justice", "22/11/2026"), ("population", "20261122")],
)
def test_a_day_is_written_as_the_source_reads_it(source, text: str) -> None:
    assert crosswalks.day_text(source, date(2026, 11, 22)) == text


@pytest.mark.parametrize(
    ("source", "text", "value"),
    [
        ("words", "True", True),
        ("words", "False", False),
        ("digits", "1", True),
        ("digits", "0", False),
        ("letters", "Y", True),
        ("letters", "N", False),
    ],
)
def test_each_source_spells_truth_its_own_way(source, text: str, *, value: bool) -> None:
    assert crosswalks.boolean(source, text) is value
    assert crosswalks.boolean_text(source, value=value) == text


@pytest.mark.parametrize(("source", "text"), [("words", "true"), ("digits", "2"), ("letters", "y"), ("words", "")])
def test_truth_is_not_guessed(source, text: str) -> None:
    with pytest.raises(ValueError, match="boolean"):
        crosswalks.boolean(source, text)


@pytest.mark.parametrize(
    ("source", "good", "bad"),
    [
        ("response-code", "00", "0"),
        ("error-code", 0, 1),
        ("status", "1", "0"),
        ("msg-state", 1, 0),
    ],
)
def test_success_is_read_from_inside_the_answer(source, good, bad) -> None:
    assert crosswalks.succeeded(source, good)
    assert not crosswalks.succeeded(source, bad)


@pytest.mark.parametrize(
    ("legacy", "code"),
    [
        ("000.00.05.H01", "H01.05"),
        ("000.00.00.H49", "H49"),
        ("003.02.12.G18", "G18.12.02.003"),
        ("000.02.12.G18", "G18.12.02"),
        ("003.00.12.G18", "G18.12.00.003"),
    ],
)
def test_an_agency_code_turns_round(legacy: str, code: str) -> None:
    assert crosswalks.agency_from_legacy(legacy) == code
    assert crosswalks.agency_to_legacy(code) == legacy


@pytest.mark.parametrize("code", ["H01.05", "00.00.05.H01", "000.00.05.H01\n", "000.00.05.h01", ""])
def test_only_the_legacy_layout_is_turned(code: str) -> None:
    with pytest.raises(ValueError, match="level 1 on the right"):
        crosswalks.agency_from_legacy(code)


@pytest.mark.parametrize("code", ["H01.005", "H01.5", "H01.05.003", "H01.05.00.003.1", "000.00.05.H01", ""])
def test_a_code_that_the_legacy_layout_cannot_hold_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="level 1 on the right"):
        crosswalks.agency_to_legacy(code)
