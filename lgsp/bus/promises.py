"""Promises: what is accepted while its receiver waits for it with empty hands is leased by the same commit and handed over right after it.

That spares a commit, a look-up and the opening of the body. It is done only where the ledger's rows are the queue, and only when nothing that
waits would be overtaken in its lane; everything else goes through the inbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from lgsp.bus.courier import Courier
from lgsp.bus.inbox import Handover, Inbox, Reservation
from lgsp.bus.moves import Moves
from lgsp.domain.entries import Draft
from lgsp.domain.envelope import Wire
from lgsp.domain.exchange import Delivery
from lgsp.domain.values import fixed
from lgsp.errors import Refusal
from lgsp.ports.clock import Entropy


@fixed
class Promise:
    """One delivery of an envelope that is about to be committed: promised to a stream, or on its way into the queue."""

    inbox: Inbox
    delivery: Delivery
    kept: Reservation | None
    entry: Draft | None = None

    @property
    def is_kept(self) -> bool:
        """Whether a stream was promised it."""
        return self.kept is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """Promises deliveries to streams of this gateway, and keeps or withdraws what was promised."""

    courier: Courier
    moves: Moves
    entropy: Entropy

    def make(self, deliveries: Sequence[Delivery], size: int, *, now: datetime) -> Sequence[Promise]:
        """Promise deliveries that are about to be committed, `size` bytes each: one promise for each, or none where the ledger is not the queue.

        Whoever makes promises either keeps or withdraws them.
        """
        return [self._promise(delivery, size, now) for delivery in deliveries] if self.moves.embedded else ()

    def _promise(self, delivery: Delivery, size: int, now: datetime) -> Promise:
        inbox = self.courier.inbox(delivery.to)
        kept = inbox.reserve(delivery.source, delivery.lane, size)
        if kept is None:
            inbox.await_coming(delivery.lane)
            return Promise(inbox=inbox, delivery=delivery, kept=None)
        leased, entry = self.moves.leased(
            delivery, uuid7=self.entropy.uuid7(), until=now + self.moves.limits.lease, now=now
        )
        return Promise(inbox=inbox, delivery=leased, kept=kept, entry=entry)

    def withdraw(self, promises: Sequence[Promise], *, unsure: bool) -> None:
        """Give back what was promised for an envelope that is not accepted now; `unsure` when it may have been committed all the same."""
        for promise in promises:
            _end(promise, used=False)
        if unsure:
            self.courier.strays.add(promise.delivery for promise in promises if promise.is_kept)

    async def keep(self, promises: Sequence[Promise], wire: Wire, receipt: str) -> None:
        """Hand over what was promised, its commit being durable; what has lost its stream meanwhile goes into the queue."""
        left = []
        for promise in promises:
            _end(promise, used=True)
            if promise.kept is None:
                self.courier.publisher.wake([promise.delivery])
                continue
            holder = promise.kept.holder
            if holder.closed:
                left.append(promise.delivery)
                continue
            promise.inbox.take_off(promise.delivery, holder)
            self.courier.note_hand_over(promise.delivery, wire)
            holder.receiver.hand_over(_handover(promise.delivery, wire, receipt))
        if left:
            with suppress(Refusal):  # the ledger is away: they are strays now, and the sweep lets them out again
                await self.courier.requeue(left)


def _end(promise: Promise, *, used: bool) -> None:
    if promise.kept is None:
        promise.inbox.come(promise.delivery.lane)
    else:
        promise.inbox.release(promise.kept, used=used)


def _handover(leased: Delivery, wire: Wire, receipt: str) -> Handover:
    assert leased.lease_until is not None
    return Handover(
        wire=wire,
        env=leased.env,
        to=leased.to,
        receipt=receipt,
        lease=leased.lease,
        lease_until=leased.lease_until,
        attempt=leased.attempts + 1,
    )
