"""Placing: what was just accepted goes into its inboxes before its receipt is given, or the sender is told why not.

What cannot be placed now stays with the sweep; a sender that repeats the envelope gets its receipt once it is placed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from lgsp.bus.moves import Moves
from lgsp.bus.progress import Progress
from lgsp.bus.promises import Promise, Promises
from lgsp.bus.publisher import Publisher
from lgsp.bus.replies import Replies
from lgsp.bus.room import Room
from lgsp.domain.admission import Accepted, Read
from lgsp.domain.envelope import Manifest
from lgsp.domain.exchange import Delivery
from lgsp.domain.records import Lane
from lgsp.domain.values import fixed
from lgsp.errors import Refusal
from lgsp.ports.clock import Clock
from lgsp.ports.inboxes import Inboxes, Parcel
from lgsp.ports.ledger import Accept
from lgsp.ports.transport import Placed


@fixed
class Arrival:
    """An envelope that was just accepted: its operation, its receipt as JSON text, the inboxes without room, what was promised."""

    operation: Accept
    manifest: Manifest
    receipt: str
    crowded: set[str]
    promises: Sequence[Promise]

    @property
    def inboxes(self) -> frozenset[str]:
        """Where it goes."""
        return frozenset(delivery.to for delivery in self.operation.deliveries)

    @property
    def fitting(self) -> Sequence[Delivery]:
        """The deliveries for which there is room."""
        if not self.crowded:
            return self.operation.deliveries
        return [delivery for delivery in self.operation.deliveries if delivery.to not in self.crowded]

    @property
    def left_out(self) -> Sequence[Delivery]:
        """The deliveries for which there is none."""
        if not self.crowded:
            return ()
        return [delivery for delivery in self.operation.deliveries if delivery.to in self.crowded]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """Puts accepted envelopes into inboxes."""

    inboxes: Inboxes
    publisher: Publisher
    progress: Progress
    replies: Replies
    promises: Promises
    moves: Moves
    room: Room
    clock: Clock

    def is_refused(self, judged: Accepted, crowded: set[str]) -> bool:
        """Tell whether the receiver has no room for what is addressed to itself; `crowded` is what the method of this name gave."""
        closed = any(self.room.is_closed(target.inbox) for target in judged.leave.targets)
        return not judged.leave.is_event and (closed or bool(crowded))

    def lane(self, inbox: str, source: str, wanted: Lane, *, now: datetime) -> Lane:
        """Return the lane in which one delivery more goes."""
        held = self.promises.courier.inbox(inbox).asked_by(source)
        return self.room.lane(inbox, source, wanted, held=held, now=now)

    def crowded(self, judged: Accepted) -> set[str]:
        """Return the inboxes among the targets that have no room for the envelope."""
        wire = judged.read.wire
        size = len(wire.compact) + len(wire.body)
        return {target.inbox for target in judged.leave.targets if not self.room.has(target.inbox, size)}

    def promise(
        self, deliveries: Sequence[Delivery], read: Read, *, now: datetime, crowded: set[str]
    ) -> Sequence[Promise]:
        """Promise what can be handed over as soon as it is committed: each of the deliveries, or none."""
        if crowded or self.replies.is_awaited(read.manifest):
            return ()
        return self.promises.make(deliveries, len(read.wire.compact) + len(read.wire.body), now=now)

    async def place(self, arrivals: Sequence[Arrival]) -> list[Refusal | None]:
        """Place what was accepted by one commit, and return for each what its sender is told instead of the receipt, None for nothing.

        `inbox_full` or `unavailable` is accepted and not placed. An event does not wait for a subscriber without room: what that one does not
        get is expired at once, and told. Where the broker alone is full, the sweep goes on trying.
        """
        waiting: list[Delivery] = []
        parcels: list[Parcel] = []
        for each in arrivals:
            self.room.add(each.fitting)
            self.room.take(promise.delivery for promise in each.promises if promise.is_kept)
            if each.promises:
                self.replies.arrived(each.manifest, [one.delivery for one in each.promises if not one.is_kept])
                continue
            # A call that waits leases its row before anybody is woken; a carrier that comes later finds it leased and is dropped.
            awaited = self.replies.arrived(each.manifest, each.fitting)
            if not self.moves.embedded:
                parcels += [_parcel(each.operation, delivery, each.receipt) for delivery in each.fitting]
            elif not awaited:
                waiting += each.fitting
        if waiting:
            await self.publisher.place(waiting)
        placed = iter(await self.publisher.publish(parcels) if parcels else ())
        refusals = [
            self._unplaced(each.fitting, placed) if parcels and not each.promises else None for each in arrivals
        ]
        return await self._leave_out(arrivals, refusals)

    async def again(self, env: str) -> None:
        """Place what is accepted and not placed of an envelope that comes again, as its receipt says it is; refuse as `place` does."""
        state = "queued" if self.moves.embedded else "accepted"  # queued in the rows, though perhaps nobody was told
        held = [delivery for delivery in await self.inboxes.deliveries(env) if delivery.state == state]
        refusal = self._unplaced(held, iter(await self.publisher.place(held)))
        if refusal is not None:
            raise refusal

    async def _leave_out(self, arrivals: Sequence[Arrival], refusals: Sequence[Refusal | None]) -> list[Refusal | None]:
        """Expire what there is no room for, and return the refusals with those to whom that could not be told."""
        now = self.clock.now()
        left_out = [delivery for each in arrivals for delivery in each.left_out]
        try:
            await self.progress.commit([self.moves.expire(each, now=now, code="inbox_full") for each in left_out])
        except Refusal as away:
            return [
                refusal or (away if each.left_out else None) for each, refusal in zip(arrivals, refusals, strict=True)
            ]
        return list(refusals)

    def _unplaced(self, deliveries: Sequence[Delivery], placed: Iterator[Placed]) -> Refusal | None:
        """Return what the sender of these deliveries is refused with, as `placed` says what became of each."""
        words = [next(placed) for _ in deliveries]
        for delivery, word in zip(deliveries, words, strict=True):
            if word == "inbox_full":
                self.room.close(delivery.to)
        for delivery, word in zip(deliveries, words, strict=True):
            if word == "unavailable" or (word == "inbox_full" and not delivery.subscriptions):
                return Refusal(word)
        return None


def _parcel(operation: Accept, delivery: Delivery, receipt: str) -> Parcel:
    return Parcel(
        delivery=delivery,
        compact=operation.exchange.compact,
        receipt=receipt,
        sealed=operation.sealed,
        day=operation.day,
    )
