"""How often each grant was used today, for the quotas that grants state; counted in the bus's own day.

A gateway that is alone counts by itself and is exact. Beside others it reads the ledger anew every second, so a quota is passed by no more than
what the others accept under that grant between two readings.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from lgsp.domain.directory import ZONE, day_of
from lgsp.domain.exchange import ExchangeKey
from lgsp.ports.clock import Clock
from lgsp.ports.ledger import Ledger

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = timedelta(seconds=60)
"""After which nothing accepted at a moment can still be on its way into the ledger, at any gateway by its own clock."""


@dataclass(slots=True, kw_only=True)
class Quotas:
    """Counts per grant and day."""

    ledger: Ledger
    clock: Clock
    _day: date = date.min
    _mark: datetime = EPOCH
    _earlier: Counter[str] = field(default_factory=Counter)
    """Uses before the mark: they change no more."""
    _used: Counter[str] = field(default_factory=Counter)
    _held: defaultdict[str, Counter[ExchangeKey]] = field(default_factory=lambda: defaultdict(Counter))
    """Uses that are being committed, by grant: an envelope that is there more than once at the same time is one use."""
    _settled: Counter[str] = field(default_factory=Counter)
    """Uses that were committed since the last reading of what came lately began: it may have missed them."""

    async def refresh(self) -> None:
        """Count what the ledger holds of today; only what came lately is read again."""
        now = self.clock.now()
        day = day_of(now)
        self._turn_to(day)
        mark = max(self._mark, now - LATEST)
        earlier = await self.ledger.used_since(self._mark, mark)
        self._settled.clear()
        lately = await self.ledger.used_since(mark)
        if day != self._day:  # midnight has passed meanwhile: what was read is of the day before
            return
        self._earlier.update(earlier)
        self._mark = mark
        self._used = self._earlier + Counter(lately) + self._settled

    def _turn_to(self, day: date) -> None:
        if day != self._day:
            self._day, self._mark = day, datetime.combine(day, time.min, tzinfo=ZONE)
            self._earlier, self._used = Counter(), Counter()

    def used(self, grant: str, *, but: ExchangeKey | None = None) -> int:
        """Return how often the grant was used today, not counting what is being committed of one exchange."""
        self._turn_to(day_of(self.clock.now()))
        held = self._held.get(grant, ())
        return self._used[grant] + len(held) - (but in held)

    def hold(self, grant: str, key: ExchangeKey) -> None:
        """Count a use by an exchange that is about to be committed."""
        if grant:
            self._held[grant][key] += 1

    def settle(self, grant: str, key: ExchangeKey, *, used: bool) -> None:
        """Count it for good once it is committed, or give it back."""
        if not grant:
            return
        held = self._held[grant]
        held[key] -= 1
        if not held[key]:
            del held[key]
        if used:
            self._used[grant] += 1
            self._settled[grant] += 1
