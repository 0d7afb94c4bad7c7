"""Tidy what clerks typed: names, birth dates, numbers. Pure; what follows is left to the mappings."""

import re
import unicodedata
from datetime import date

DAY_FIRST = re.compile(r"(?:(?:([0-9]{1,2})[/.-])?([0-9]{1,2})[/.-])?([0-9]{4})")
YEAR_FIRST = re.compile(r"([0-9]{4})-([0-9]{2})(?:-([0-9]{2}))?")
GROUPING = str.maketrans("", "", " .-\u00a0\t")


def tidy_name(typed: str) -> str:
    """Return the name in NFC and upper case, with single spaces."""
    return unicodedata.normalize("NFC", " ".join(typed.split()).upper())


def tidy_number(typed: str | None) -> str:
    """Return the digits without the spaces, dots and hyphens of grouping; empty when nothing was typed."""
    return (typed or "").translate(GROUPING)


def iso_birth_date(typed: str | None) -> str | None:
    """Return `YYYY-MM-DD`, `YYYY-MM` or `YYYY`; zeros for day or month mean unknown. None when unreadable."""
    text = (typed or "").strip()
    if found := DAY_FIRST.fullmatch(text):
        day, month, year = found.groups()
    elif found := YEAR_FIRST.fullmatch(text):
        year, month, day = found.groups()
    else:
        return None
    return _as_far_as_known(int(year), int(month or 0), int(day or 0))


def _as_far_as_known(year: int, month: int, day: int) -> str | None:
    try:
        whole = date(year, month or 1, day or 1)
    except ValueError:
        return None
    if not month:
        return None if day else f"{year:04d}"
    return whole.isoformat() if day else f"{year:04d}-{month:02d}"
