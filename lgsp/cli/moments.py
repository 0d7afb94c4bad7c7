"""Moments as people write them on a command line."""

from __future__ import annotations

from datetime import UTC, datetime

from lgsp.domain.envelope import format_time, parse_time
from lgsp.errors import Unusable


def moment_of(text: str) -> str:
    """Return the protocol's form of a day, whose beginning in UTC it means, or of a time in that form; refuse (`bad_request`) other texts."""
    try:
        if "T" in text:
            return format_time(parse_time(text))
        return format_time(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC))
    except ValueError:
        raise Unusable(
            "bad_request", f"{text} is no day like 2026-11-22 and no time like 2026-11-22T07:00:00Z"
        ) from None
