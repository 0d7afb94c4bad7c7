"""Between the codings of the national sources and ours: gender, dates, booleans, success, agency codes.

Pure tables. A value that one source means is a wrong value of another. An unknown value raises ValueError,
never passes as something else.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Literal, TypeVar

Gender = Literal["male", "female", "other"]
GenderSource = Literal["social-insurance", "judicial-record", "driver-health"]
DateSource = Literal["public-service-portal", "justice", "health", "enterprise", "social-insurance", "population"]
BooleanSource = Literal["words", "digits", "letters"]
SuccessSource = Literal["response-code", "error-code", "status", "msg-state"]
Value = TypeVar("Value")

GENDERS: Mapping[GenderSource, Mapping[str, Gender]] = {
    "social-insurance": {"1": "male", "2": "female", "3": "other"},
    "judicial-record": {"1": "male", "0": "female"},
    "driver-health": {"0": "male", "1": "female"},
}
DATE_FORMATS: Mapping[DateSource, str] = {
    "public-service-portal": "%Y%m%d%H%M%S",
    "justice": "%d/%m/%Y",
    "health": "%d/%m/%Y",
    "enterprise": "%d/%m/%Y",
    "social-insurance": "%Y%m%d",
    "population": "%Y%m%d",
}
DATE_LENGTHS = {"%Y%m%d%H%M%S": 14, "%d/%m/%Y": 10, "%Y%m%d": 8}
BOOLEANS: Mapping[BooleanSource, Mapping[str, bool]] = {
    "words": {"True": True, "False": False},
    "digits": {"1": True, "0": False},
    "letters": {"Y": True, "N": False},
}
SUCCESSES: Mapping[SuccessSource, str] = {
    "response-code": "00",
    "error-code": "0",
    "status": "1",
    "msg-state": "1",
}
VIET_NAM = timezone(timedelta(hours=7))  # without summer time since 1975
LEGACY_AGENCY = re.compile(r"([0-9]{3})\.([0-9]{2})\.([0-9]{2})\.([A-Z][0-9]{2})")
AGENCY = re.compile(r"([A-Z][0-9]{2})(?:\.([0-9]{2})(?:\.([0-9]{2})(?:\.([0-9]{3}))?)?)?")


def gender(source: GenderSource, code: str) -> Gender:
    """Read a source's code."""
    return _known(GENDERS[source], code, "gender")


def gender_code(source: GenderSource, value: Gender) -> str:
    """Write a source's code; ValueError where the source has none for the value."""
    return _known({ours: code for code, ours in GENDERS[source].items()}, value, "gender")


def boolean(source: BooleanSource, text: str) -> bool:
    """Read a source's spelling of true and false."""
    return _known(BOOLEANS[source], text, "boolean")


def boolean_text(source: BooleanSource, *, value: bool) -> str:
    """Write a source's spelling of true or false."""
    return next(text for text, ours in BOOLEANS[source].items() if ours is value)


def succeeded(source: SuccessSource, code: str | int) -> bool:
    """Tell whether an answer with HTTP status 200 reports success inside."""
    return str(code) == SUCCESSES[source]


def moment(source: DateSource, text: str) -> datetime:
    """Read a source's date as an aware time in Viet Nam; a source without a time of day means midnight."""
    pattern = DATE_FORMATS[source]
    if len(text) != DATE_LENGTHS[pattern]:
        raise ValueError(f"not a date of the source {source}")
    try:
        return datetime.strptime(text, pattern).replace(tzinfo=VIET_NAM)
    except ValueError:
        raise ValueError(f"not a date of the source {source}") from None


def day_text(source: DateSource, day: date) -> str:
    """Write a day in a source's format; where the format has a time of day, midnight."""
    return day.strftime(DATE_FORMATS[source])


def agency_from_legacy(code: str) -> str:
    """Turn `000.00.05.H01` into `H01.05`: groups from the right, zero groups at the end dropped."""
    found = LEGACY_AGENCY.fullmatch(code)
    if found is None:
        raise ValueError("not an agency code with level 1 on the right")
    groups = list(reversed(found.groups()))
    while len(groups) > 1 and not int(groups[-1]):
        groups.pop()
    return ".".join(groups)


def agency_to_legacy(code: str) -> str:
    """Turn `H01.05` into `000.00.05.H01`; ValueError for a code that the old layout cannot hold."""
    found = AGENCY.fullmatch(code)
    if found is None:
        raise ValueError("not an agency code that the layout with level 1 on the right can hold")
    first, second, third, fourth = found.groups()
    return f"{fourth or '000'}.{third or '00'}.{second or '00'}.{first}"


def _known(table: Mapping[str, Value], key: str, what: str) -> Value:
    try:
        return table[key]
    except KeyError:
        raise ValueError(f"unknown code of {what}") from None
