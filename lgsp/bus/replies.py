"""Replies for calls that wait: the first to wait for an answer gets it at once, all others find it in the asker's inbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Self

from lgsp.bus.announcer import Announcer
from lgsp.bus.courier import Courier
from lgsp.bus.elsewhere import Elsewhere
from lgsp.bus.inbox import Handover
from lgsp.bus.moves import Moves
from lgsp.bus.progress import Progress
from lgsp.domain.envelope import Manifest
from lgsp.domain.exchange import UNHELD, Delivery, ExchangeKey
from lgsp.ports.inboxes import Inboxes
from lgsp.ports.ledger import Ledger

FINAL_LEASE: Final = timedelta(seconds=30)
"""How long a waiting call has to put its answer back."""
FIRST_HAND: Final = 1.0
"""Seconds for which a reply is left to the gateway where a call waits for it, before those are woken who have streams or ask for deliveries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replies:
    """The calls of this gateway that wait, and what is known of those elsewhere."""

    courier: Courier
    ledger: Ledger
    inboxes: Inboxes
    progress: Progress
    announcer: Announcer
    moves: Moves
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    _waiters: dict[ExchangeKey, ReplyWaiter] = field(default_factory=dict)

    def expect(self, asker: str, request_id: str) -> ReplyWaiter:
        """Return a waiter for the reply to a request, to be entered before the request is submitted."""
        return ReplyWaiter(replies=self, key=(asker, request_id))

    def arrived(self, manifest: Manifest, deliveries: Sequence[Delivery]) -> bool:
        """Give a reply that is queued to the call that waits for it, here or elsewhere, and tell whether there is one."""
        if not manifest.is_reply or not deliveries:
            return False
        key = _request_of(manifest)
        waiter = self._waiters.get(key)
        if waiter is not None:
            waiter.arrive(deliveries[0])
            return True
        is_elsewhere = self.elsewhere.has(key)
        self.elsewhere.answered(key)
        self.announcer.answered(key)
        if is_elsewhere:  # it goes through the inbox after all if that call has ended meanwhile
            asyncio.get_running_loop().call_later(FIRST_HAND, self.leave, deliveries[0])
        return is_elsewhere

    async def look(self, keys: Collection[ExchangeKey] | None = None) -> None:
        """Look whether the requests of these keys, or of all calls that wait, were answered at another gateway."""
        awaited = [key for key in (self._waiters if keys is None else keys) if key in self._waiters]
        for key, exchange in (await self.ledger.exchanges(awaited)).items() if awaited else ():
            deliveries = await self.inboxes.deliveries(exchange.reply) if exchange.reply else []
            waiter = self._waiters.get(key)
            if waiter is not None and deliveries and deliveries[0].state in UNHELD:
                waiter.arrive(deliveries[0])

    def is_awaited(self, manifest: Manifest) -> bool:
        """Tell whether a call waits for this reply, here or elsewhere."""
        if not manifest.is_reply:
            return False
        key = _request_of(manifest)
        return key in self._waiters or self.elsewhere.has(key)

    def listen(self, waiter: ReplyWaiter) -> Callable[[], None]:
        """Let the waiter have its reply; return what ends that. Who waits first gets it: a repeated request takes nothing from it."""
        first = self._waiters.setdefault(waiter.key, waiter)
        if self.moves.embedded:  # a broker's message goes its way at once
            self.announcer.awaited(waiter.key)

        def stop() -> None:
            if first is waiter:
                del self._waiters[waiter.key]

        return stop

    def let_go(self) -> None:
        """Let every waiting call answer with its receipt alone: the reply comes through the inbox."""
        for waiter in self._waiters.values():
            waiter.dismiss()

    async def take(self, delivery: Delivery) -> Handover | None:
        """Lease a reply for the call that waits for it, None when it has gone through the inbox; `answered` is called when it is written."""
        parcel = await self.inboxes.parcel(delivery.env, delivery.to)
        return None if parcel is None else await self.courier.hold(parcel, lasting=FINAL_LEASE)

    def leave(self, delivery: Delivery) -> None:
        """Leave a reply that nobody waits for any more to the inbox it is queued in."""
        self.courier.publisher.wake([delivery])

    async def answered(self, handover: Handover) -> None:
        """Note that a waiting call was given its reply: from now on the end of the lease settles it. Until then it would go out again."""
        held = (await self.inboxes.held(handover.to, [handover.env])).get(handover.env)
        if held is not None and held.state == "leased" and held.lease == handover.lease:
            await self.progress.commit([self.moves.finish(held)])


def _request_of(reply: Manifest) -> ExchangeKey:
    return reply.audience, reply.text("causationid")


@dataclass(slots=True, kw_only=True)
class ReplyWaiter:
    """A call that waits for the reply to its request; a context manager."""

    replies: Replies
    key: ExchangeKey
    _arrived: asyncio.Future[Delivery | None] | None = None
    _taken: bool = False
    _stop: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        self._arrived = asyncio.get_running_loop().create_future()
        self._stop = self.replies.listen(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._stop is not None:
            self._stop()
        arrived = self._arrived.result() if self._arrived is not None and self._arrived.done() else None
        if arrived is not None and not self._taken:
            self.replies.leave(arrived)

    def arrive(self, delivery: Delivery) -> None:
        """Learn that the reply is queued."""
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(delivery)

    def dismiss(self) -> None:
        """Learn that nothing is waited for any more."""
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def wait(self, seconds: float) -> Handover | None:
        """Return the reply when it comes within `seconds`, None otherwise: then it comes through the inbox."""
        if self._arrived is None:
            return None
        try:
            async with asyncio.timeout(seconds):
                delivery = await asyncio.shield(self._arrived)
        except TimeoutError:
            return None
        if delivery is None:
            return None
        found = await self.replies.take(delivery)
        self._taken = found is not None
        return found
