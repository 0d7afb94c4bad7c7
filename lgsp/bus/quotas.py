"""How often each grant was used today, for the quotas that grants state; counted in the bus's own day."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, time

from lgsp.domain.directory import ZONE, day_of
from lgsp.ports.clock import Clock
from lgsp.ports.ledger import Ledger


@dataclass(slots=True, kw_only=True)
class Quotas:
    """Counts per grant and day, filled from the ledger at start."""

    clock: Clock
    _day: date = date.min
    _used: Counter[str] = field(default_factory=Counter)

    async def load(self, ledger: Ledger) -> None:
        """Count what the ledger holds of today."""
        self._day = day_of(self.clock.now())
        midnight = datetime.combine(self._day, time.min, tzinfo=ZONE)
        self._used = Counter(await ledger.used_since(midnight))

    def used(self, grant: str) -> int:
        """Return how often the grant was used today."""
        today = day_of(self.clock.now())
        if today != self._day:
            self._day, self._used = today, Counter()
        return self._used[grant]

    def count(self, grant: str, by: int = 1) -> None:
        """Count one use more, or with -1 give one back."""
        if grant:
            self._used[grant] += by
