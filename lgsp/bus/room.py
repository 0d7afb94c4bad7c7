"""Room in inboxes: how many bytes are open for each receiver, so that what would be too much is refused before it is accepted.

The figures are read from the rows every few seconds, and what this gateway accepts in between is added: with several gateways the bound is
passed by what they accept between two readings.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from lgsp.domain.exchange import State
from lgsp.domain.limits import LIMITS, Limits
from lgsp.ports.inboxes import Depth, Inboxes


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Bytes open per inbox."""

    inboxes: Inboxes
    limits: Limits = LIMITS
    depths: dict[tuple[str, State], Depth] = field(default_factory=dict)
    """What was open at the last reading, per (inbox, state)."""
    _open: Counter[str] = field(default_factory=Counter)
    _full: set[str] = field(default_factory=set)
    """Inboxes that the carrier itself found full since the last reading."""

    async def refresh(self) -> None:
        """Read the figures anew."""
        found = await self.inboxes.depths()
        self.depths.clear()
        self.depths.update(found)
        self._open.clear()
        for (inbox, _), depth in found.items():
            self._open[inbox] += depth.size
        self._full.clear()

    def has(self, inbox: str, size: int) -> bool:
        """Tell whether `size` bytes more may wait for the receiver."""
        return inbox not in self._full and self._open[inbox] + size <= self.limits.inbox_bytes

    def add(self, inbox: str, size: int) -> None:
        """Count what was accepted."""
        self._open[inbox] += size

    def close(self, inbox: str) -> None:
        """Take the carrier's word that an inbox is full, until the next reading."""
        self._full.add(inbox)
