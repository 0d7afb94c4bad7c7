"""Moments as people write them on a command line."""

from __future__ import annotations

from datetime import UTC, datetime

from lgsp.domain.envelope import format_time
from lgsp.errors import Unusable


def moment_of(text: str) -> str:
    """Return the protocol's form of a day or time, of this machine's zone unless it says another; refuse (`bad_request`) other texts."""
    try:
        return format_time(datetime.fromisoformat(text).astimezone(UTC))
    except (ValueError, OverflowError):
        raise Unusable(
            "bad_request", "a time looks like 2026-11-22, 2026-11-22T07:00 or 2026-11-22T00:00:00Z"
        ) from None
