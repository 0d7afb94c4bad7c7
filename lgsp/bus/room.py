"""Room in inboxes: what is open for each receiver, so that too much is refused before it is accepted, and no sender crowds out the others.

The figures are read from the rows every few seconds; what this gateway accepts and hands out in between is counted on top. With several
gateways the bounds are passed by what the others do between two readings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from lgsp.domain.exchange import UNHELD, Delivery
from lgsp.domain.limits import LIMITS, Limits
from lgsp.domain.records import Lane
from lgsp.ports.inboxes import Depth, Inboxes

CROWDING: Final = timedelta(seconds=1)
"""How long a sender that asked too much at once is taken for a program."""
CROWDS_KEPT: Final = 10_000
"""Pairs of a sender and an inbox that are taken for crowds, each for a moment; one more forgets the oldest."""
FULL: Final = 0.9
"""The share of an inbox's bytes from which on it is called full: the next large envelope may be one too many."""

Place = tuple[str, str, Lane]
"""(Inbox, sender, lane)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is open in the inboxes."""

    inboxes: Inboxes
    limits: Limits = LIMITS
    depths: list[Depth] = field(default_factory=list)
    """What was open at the last reading."""
    _open: Counter[str] = field(default_factory=Counter)
    """Bytes per inbox."""
    _waiting: Counter[Place] = field(default_factory=Counter)
    """Deliveries that nobody holds."""
    _crowding: dict[tuple[str, str], datetime] = field(default_factory=dict)
    """Until when a sender's requests to an inbox are bulk, the first to end first."""
    _full: set[str] = field(default_factory=set)
    """Inboxes that the carrier itself found full since the last reading."""

    async def refresh(self) -> None:
        """Read the figures anew."""
        self.depths[:] = await self.inboxes.depths()
        self._open.clear()
        self._waiting.clear()
        self._full.clear()
        for depth in self.depths:
            self._open[depth.inbox] += depth.size
            if depth.state in UNHELD:
                self._waiting[depth.inbox, depth.source, depth.lane] += depth.count

    def has(self, inbox: str, size: int) -> bool:
        """Tell whether `size` bytes more may wait for the receiver."""
        return self._open[inbox] + size <= self.limits.inbox_bytes

    def is_closed(self, inbox: str) -> bool:
        """Tell whether the carrier said lately that it takes nothing more for the receiver."""
        return inbox in self._full

    def lane(self, inbox: str, source: str, wanted: Lane, *, held: int, now: datetime) -> Lane:
        """Return the lane of one delivery more, while the receiver holds `held` requests of this sender.

        A person asks few questions at once. Who asks more is a program, and for a moment all that it asks is bulk, and overtakes nobody.
        """
        if wanted != "request":
            return wanted
        if self._waiting[inbox, source, wanted] + held >= self.limits.requests_open:
            self._note_crowd((inbox, source), now)
        return "bulk" if self._crowding.get((inbox, source), now) > now else wanted

    def _note_crowd(self, pair: tuple[str, str], now: datetime) -> None:
        self._crowding.pop(pair, None)
        self._crowding[pair] = now + CROWDING
        while len(self._crowding) > CROWDS_KEPT or self._crowding[next(iter(self._crowding))] <= now:
            del self._crowding[next(iter(self._crowding))]

    def add(self, deliveries: Iterable[Delivery]) -> None:
        """Count what was accepted."""
        for delivery in deliveries:
            self._open[delivery.to] += delivery.size
            self._waiting[_place(delivery)] += 1

    def take(self, deliveries: Iterable[Delivery]) -> None:
        """Count what is held from now on."""
        for delivery in deliveries:
            place = _place(delivery)
            self._waiting[place] = max(self._waiting[place] - 1, 0)

    def full(self) -> set[str]:
        """Return the inboxes that are about to refuse, or do."""
        return {name for name, size in self._open.items() if size >= FULL * self.limits.inbox_bytes} | self._full

    def close(self, inbox: str) -> None:
        """Take the carrier's word that an inbox is full, until the next reading."""
        self._full.add(inbox)


def _place(delivery: Delivery) -> Place:
    return delivery.to, delivery.source, delivery.lane
