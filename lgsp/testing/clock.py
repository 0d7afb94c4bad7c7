"""A clock that stands still until it is told to go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

START: Final = datetime(2026, 11, 22, 0, 16, 31, 207000, tzinfo=UTC)
"""A moment of no meaning, in whole milliseconds."""


class ManualClock:
    """A clock moved by hand."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now

    def now(self) -> datetime:
        """Return the moment it stands at."""
        return self._now

    def advance(self, seconds: float) -> datetime:
        """Go on by so many seconds, or back when they are negative, and return the new moment."""
        self._now += timedelta(seconds=seconds)
        return self._now

    def set(self, moment: datetime) -> None:
        """Stand at another moment."""
        self._now = moment
