"""The takeover: what a gateway held that is dead goes out again, whether it ever comes back or not.

Whoever notices does it; the rows see to it that it happens once. A gateway that lives is never robbed: what it forgets to look after ends with
its leases. Its own former self is dead too, for each running gateway has a number of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from lgsp.bus.moves import Moves, Step, took
from lgsp.bus.progress import Progress
from lgsp.domain.exchange import UNHELD, Delivery
from lgsp.logs import get_logger
from lgsp.ports.clock import Clock
from lgsp.ports.inboxes import Inboxes
from lgsp.ports.neighbours import Hear, Neighbours, News

AT_ONCE: Final = 500


@dataclass(slots=True, kw_only=True)
class Takeover:
    """Takes back the leases of dead gateways."""

    neighbours: Neighbours
    inboxes: Inboxes
    progress: Progress
    moves: Moves
    clock: Clock
    hear: Hear
    _living: frozenset[str] = frozenset()
    """Those who lived when everything was taken back."""
    _unplaced: list[Delivery] = field(default_factory=list)
    """What was taken back and not returned yet, for the ledger went away between two pages."""

    async def once(self) -> list[Delivery]:
        """Take back what is left of gateways that died since the last time, and return what is to be placed."""
        living = self.neighbours.living()
        if living is None or (living == self._living and not self._unplaced):
            return []
        await self._take_back(living)
        if self._living - living:
            # What it had queued and not told is lost with it.
            self.hear(News(missed=True))
        self._living = living
        found, self._unplaced = self._unplaced, []
        return found

    async def _take_back(self, living: frozenset[str]) -> None:
        now = self.clock.now()
        while held := await self.inboxes.in_state("leased", AT_ONCE, but=sorted(living)):
            steps = [self._back(delivery, now) for delivery in held]
            done = await self.progress.commit(steps)
            back = took(steps, done)
            if not back:
                break
            get_logger().warning("leases.taken_back", count=len(back))
            self._unplaced += [delivery for delivery in back if delivery.state in UNHELD]

    def _back(self, held: Delivery, now: datetime) -> Step:
        return self.moves.settle_final(held, now=now) if held.final else self.moves.requeue(held, now=now)
