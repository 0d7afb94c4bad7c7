"""When a delivery that failed is tried again, and when it is parked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Doubling pauses between bounds; after `attempts` counted attempts the delivery is parked."""

    attempts: int = 8
    first: timedelta = timedelta(seconds=2)
    longest: timedelta = timedelta(minutes=10)

    def is_last(self, counted: int) -> bool:
        """Tell whether a delivery with this many counted attempts is parked."""
        return counted >= self.attempts

    def due(self, counted: int, now: datetime, asked: timedelta | None = None) -> datetime:
        """Return when the next attempt is due after `counted` (>= 1) of them; a receiver's own wish counts within a day."""
        if asked is not None:
            return now + min(max(asked, timedelta(0)), timedelta(days=1))
        return now + min(self.first * (1 << min(counted - 1, 20)), self.longest)


RETRY = RetryPolicy()
"""The policy of a bus that states no other."""
