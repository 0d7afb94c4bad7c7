"""The publisher: puts committed deliveries into their inboxes and notes which of them the carrier has confirmed.

What it cannot place stays `accepted`, and the sweep tries again; on the embedded transport there is nothing to place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lgsp.bus.announcer import Announcer
from lgsp.bus.moves import Moves
from lgsp.bus.progress import Progress
from lgsp.domain.exchange import Delivery
from lgsp.ports.inboxes import Inboxes, Parcel
from lgsp.ports.transport import Placed, Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Places deliveries."""

    inboxes: Inboxes
    transport: Transport
    progress: Progress
    announcer: Announcer
    moves: Moves

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
        found = [await self.inboxes.parcel(delivery.env, delivery.to) for delivery in deliveries]
        placed = iter(await self.publish([parcel for parcel in found if parcel is not None]))
        # Without a body it was settled meanwhile: there is nothing left to place.
        return ["queued" if parcel is None else next(placed) for parcel in found]

    async def publish(self, parcels: Sequence[Parcel]) -> list[Placed]:
        """Place parcels with a broker and return what became of each; one that is taken before it is noted as queued is queued all the same."""
        if not parcels:
            return []
        placed = await self.transport.publish(parcels)
        queued = [parcel.delivery for parcel, word in zip(parcels, placed, strict=True) if word == "queued"]
        await self.progress.commit([self.moves.queue(delivery) for delivery in queued])
        return placed
