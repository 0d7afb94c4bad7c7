"""Slow figures of the whole bus, read every few seconds: the size of the log, and since when something waits in each lane."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from lgsp.bus.room import Room
from lgsp.domain import envelope, strictjson
from lgsp.domain.exchange import UNHELD, State
from lgsp.domain.lanes import LANES
from lgsp.domain.records import Lane
from lgsp.errors import Refusal
from lgsp.ports.clock import Clock
from lgsp.ports.ledger import Ledger

EVERY: Final = 5.0
"""Seconds between readings."""
WAITING: Final[frozenset[State]] = UNHELD | {"waiting"}
READ_SECONDS: Final = 10.0
"""How long one reading may take."""


@dataclass(slots=True, kw_only=True)
class Vitals:
    """The figures of the last reading; while the ledger is away they stay as they were."""

    ledger: Ledger
    room: Room
    clock: Clock
    entries: int = 0
    _since: dict[Lane, datetime] = field(default_factory=dict)
    """When that was accepted which waits for longest."""

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            with suppress(Refusal, TimeoutError):  # the look at the engines tells of it
                async with asyncio.timeout(READ_SECONDS):
                    await self.read()
            await asyncio.sleep(EVERY)

    async def read(self) -> None:
        """Read the figures now."""
        self.entries = await self.ledger.size()
        self._since = {lane: await self._accepted_at(first) for lane, first in self._firsts().items()}

    def waits(self, lane: Lane) -> float:
        """Return for how many seconds the oldest delivery of a lane that nobody holds has waited; 0 when none does."""
        since = self._since.get(lane)
        return 0.0 if since is None else max((self.clock.now() - since).total_seconds(), 0.0)

    def _firsts(self) -> dict[Lane, int]:
        """Return by lane the place in the log of the oldest delivery that nobody holds."""
        waiting = [depth for depth in self.room.depths if depth.state in WAITING]
        firsts = {lane: min((depth.first for depth in waiting if depth.lane == lane), default=-1) for lane in LANES}
        return {lane: first for lane, first in firsts.items() if first >= 0}

    async def _accepted_at(self, index: int) -> datetime:
        [entry] = await self.ledger.entries(index, index + 1)
        return envelope.parse_time(strictjson.parse_object(entry)["ts"])
