"""The publisher: puts committed deliveries into their inboxes and notes which of them the carrier has confirmed.

What it cannot place stays `accepted`, and the sweep tries again; on the embedded transport there is nothing to place. What the carrier has
confirmed is noted a moment later, unless it has been handed out by then, as most is: a note that is lost in a crash makes the sweep publish a
second message, which finds its row moved on and is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from lgsp.bus.announcer import Announcer
from lgsp.bus.figures import Figures
from lgsp.bus.moves import Moves
from lgsp.bus.progress import Progress
from lgsp.domain.exchange import Delivery
from lgsp.domain.records import Lane
from lgsp.errors import Refusal
from lgsp.logs import get_logger
from lgsp.ports.inboxes import Inboxes, Parcel
from lgsp.ports.transport import Placed, Transport

NOTED_AFTER: Final = 0.2
"""Seconds until a confirmation is noted: longer than a hand-over takes, much shorter than the sweep waits for the note."""

Place = tuple[str, str]
"""(env hash, inbox): one delivery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Places deliveries."""

    inboxes: Inboxes
    transport: Transport
    progress: Progress
    announcer: Announcer
    moves: Moves
    figures: Figures
    _published: dict[Place, Delivery] = field(default_factory=dict)
    """What is on its way to the carrier, and was not handed out yet."""
    _confirmed: dict[Place, Delivery] = field(default_factory=dict)
    """What is to be noted as queued."""
    _bell: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Note what was confirmed, until cancelled."""
        while True:
            await self._bell.wait()
            await asyncio.sleep(NOTED_AFTER)
            try:
                await self.note_confirmed()
            except Refusal:
                get_logger().warning("task.failed", task="publisher")

    async def note_confirmed(self) -> None:
        """Note as queued what the carrier has confirmed and nobody has been handed."""
        self._bell.clear()
        confirmed = list(self._confirmed.values())
        self._confirmed.clear()
        await self.progress.note([self.moves.queue(delivery) for delivery in confirmed])

    def forget(self, inbox: str, lane: Lane) -> None:
        """Forget what was confirmed in a lane: its queue was lost, and the rows say `accepted`."""
        for known in (self._confirmed, self._published):
            for delivery in [each for each in known.values() if (each.to, each.lane) == (inbox, lane)]:
                del known[_place(delivery)]

    def handed_out(self, deliveries: Iterable[Delivery]) -> None:
        """Learn that the rows of these deliveries have moved on."""
        for delivery in deliveries:
            self._confirmed.pop(_place(delivery), None)
            self._published.pop(_place(delivery), None)

    def wake(self, deliveries: Sequence[Delivery]) -> None:
        """Tell those who wait, at this gateway and at others, that these deliveries are queued."""
        self.transport.wake(deliveries)
        if self.transport.embedded:  # a broker's message wakes by itself
            self.announcer.queued(deliveries)

    async def place(self, deliveries: Sequence[Delivery]) -> list[Placed]:
        """Place deliveries whose rows say that they are to go out, and return what became of each."""
        if self.transport.embedded:
            self.wake(deliveries)
            return ["queued" for _ in deliveries]
        found = [
            None if self._is_confirmed(each) else await self.inboxes.parcel(each.env, each.to) for each in deliveries
        ]
        placed = iter(await self.publish([parcel for parcel in found if parcel is not None]))
        # Without a body it was settled meanwhile, and what was confirmed lies there: there is nothing left to place.
        return ["queued" if parcel is None else next(placed) for parcel in found]

    def _is_confirmed(self, delivery: Delivery) -> bool:
        """Tell whether the carrier has confirmed a delivery since it was let out last."""
        confirmed = self._confirmed.get(_place(delivery))
        return confirmed is not None and confirmed.due_at == delivery.due_at

    async def publish(self, parcels: Sequence[Parcel]) -> list[Placed]:
        """Place parcels with a broker and return what became of each."""
        if not parcels:
            return []
        self._published.update({_place(parcel.delivery): parcel.delivery for parcel in parcels})
        with self.figures.timed("publish"):
            try:
                placed = await self.transport.publish(parcels)
            except BaseException:
                for parcel in parcels:
                    self._has_arrived(parcel.delivery)
                raise
        for parcel, word in zip(parcels, placed, strict=True):
            if self._has_arrived(parcel.delivery) and word == "queued":
                self._confirmed[_place(parcel.delivery)] = parcel.delivery
                self._bell.set()
        return placed

    def _has_arrived(self, delivery: Delivery) -> bool:
        """Take a delivery off what is on its way; False when it was handed out since, or let out anew."""
        if self._published.get(_place(delivery)) is not delivery:
            return False
        del self._published[_place(delivery)]
        return True


def _place(delivery: Delivery) -> Place:
    return delivery.env, delivery.to
