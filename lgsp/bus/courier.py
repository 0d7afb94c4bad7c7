"""The courier: takes deliveries from inboxes, leases them, hands them to streams, pulls and waiting calls, settles them by the receiver's signed ack.

The delivery row is the authority (protocol section 5). What is kept here is only what is in flight from this gateway; a gateway that dies
leaves leases, and leases end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self

from lgsp.bus.acks import AckReader
from lgsp.bus.body_keys import BodyKeys
from lgsp.bus.inbox import Attached, Handover, Inbox, Receiver
from lgsp.bus.moves import Moves, Step, begun_at
from lgsp.bus.registry import Registry
from lgsp.bus.sequencer import Sequencer
from lgsp.domain import sealing
from lgsp.domain.envelope import Manifest, Wire
from lgsp.domain.exchange import SETTLED, Delivery, Exchange, ExchangeKey
from lgsp.domain.limits import LIMITS, Limits
from lgsp.domain.sealing import SealBroken
from lgsp.domain.statements import Statement
from lgsp.errors import Refusal
from lgsp.logs import get_logger
from lgsp.ports.clock import Clock, Entropy
from lgsp.ports.inboxes import Inboxes, Parcel
from lgsp.ports.ledger import Done, Ledger, Seen
from lgsp.ports.transport import Transport

TAKEN_AT_ONCE = 128
"""Parcels leased in one transaction."""
AWAY_PAUSE = 1.0
"""Seconds between tries while the ledger is away."""
FINAL_LEASE = timedelta(seconds=30)
"""How long a waiting call has to put its answer back."""

Spawn = Callable[[str, Coroutine[Any, Any, None]], None]


@dataclass(slots=True, kw_only=True)
class Courier:
    """Serves every inbox of this gateway."""

    registry: Registry
    ledger: Ledger
    inboxes: Inboxes
    transport: Transport
    sequencer: Sequencer
    body_keys: BodyKeys
    moves: Moves
    clock: Clock
    entropy: Entropy
    spawn: Spawn
    limits: Limits = LIMITS
    _known: dict[str, Inbox] = field(default_factory=dict)
    _waiters: dict[ExchangeKey, ReplyWaiter] = field(default_factory=dict)
    _acks: AckReader = field(default_factory=AckReader)

    # --- handing out -------------------------------------------------------------------------------------------------------------

    def attach(self, system: str, receiver: Receiver) -> Attachment:
        """Let a stream of `system` receive; nothing comes before it gives credit."""
        inbox = self._inbox(system)
        attached = Attached(receiver=receiver)
        inbox.attached.append(attached)
        if not inbox.pumping:
            inbox.pumping = True
            self.spawn(f"pump {system}", self._pump(inbox))
        return Attachment(courier=self, inbox=inbox, attached=attached)

    async def pull(self, system: str, *, limit: int, wait: float) -> list[Handover]:
        """Lease up to `limit` deliveries for a caller that asks, waiting up to `wait` seconds for the first."""
        inbox = self._inbox(system)
        bell = asyncio.Event()
        inbox.pulls.add(bell)
        unwatch = self.transport.watch(system, bell.set)
        until = asyncio.get_running_loop().time() + wait
        try:
            while not (found := await self._pull_once(inbox, limit)):
                # Only the waiting is bounded: a lease that is cut off between commit and answer would be held by nobody.
                async with asyncio.timeout_at(until):
                    await bell.wait()
                bell.clear()
        except TimeoutError:
            return []
        finally:
            inbox.pulls.discard(bell)
            unwatch()
        return found

    async def _pull_once(self, inbox: Inbox, limit: int) -> list[Handover]:
        room = inbox.room_for_pull(min(limit, TAKEN_AT_ONCE))
        parcels = await self.transport.take(inbox.system, room) if room else []
        found = []
        for leased, handover in await self._open(await self._lease(parcels)):
            inbox.take_off(leased, None)
            found.append(handover)
        return found

    async def _pump(self, inbox: Inbox) -> None:
        """Hand out what is queued while somebody is attached."""
        unwatch = self.transport.watch(inbox.system, inbox.bell.set)
        try:
            while inbox.attached:
                inbox.bell.clear()
                if not await self._pump_once(inbox):
                    await inbox.bell.wait()
        finally:
            inbox.pumping = False
            unwatch()

    async def _pump_once(self, inbox: Inbox) -> bool:
        """Hand out what fits now and tell whether there was anything."""
        room = inbox.room(TAKEN_AT_ONCE)
        try:
            parcels = await self.transport.take(inbox.system, room) if room else []
            await self._hand_out(inbox, parcels)
        except Refusal:
            # The ledger is away: what was taken is released, and a moment later it is tried again.
            await asyncio.sleep(AWAY_PAUSE)
            return True
        return bool(parcels)

    async def _hand_out(self, inbox: Inbox, parcels: Sequence[Parcel]) -> None:
        # What the credit does not cover is not leased: the log would tell of a delivery that never was.
        covered = inbox.covered(map(_size, parcels))
        for parcel in parcels[covered:]:
            await self.transport.release(parcel.delivery.env, parcel.delivery.to)
        left_over = []
        for leased, handover in await self._open(await self._lease(parcels[:covered])):
            holder = inbox.next_holder(handover.size)
            if holder is None:  # it went away meanwhile
                left_over.append(leased)
                continue
            inbox.take_off(leased, holder)
            holder.receiver.hand_over(handover)
        await self._requeue(left_over)

    async def _lease(
        self, parcels: Sequence[Parcel], *, lasting: timedelta | None = None
    ) -> list[tuple[Parcel, Delivery]]:
        """Lease what can still be delivered, in one transaction; what cannot is expired or was settled elsewhere."""
        now = self.clock.now()
        lease = self.entropy.uuid7()
        until = now + (lasting or self.limits.lease)
        steps = [
            self.moves.expire(parcel.delivery, now=now)
            if parcel.delivery.expires <= now
            else self.moves.lease(parcel.delivery, lease=lease, until=until, now=now)
            for parcel in parcels
        ]
        taken = []
        try:
            done = await self.commit(steps)
        except Refusal:
            for parcel in parcels:
                await self.transport.release(parcel.delivery.env, parcel.delivery.to)
            raise
        for parcel, step, is_done in zip(parcels, steps, done, strict=True):
            if is_done and step.after.state == "leased":
                taken.append((parcel, step.after))
            else:
                await self.transport.release(parcel.delivery.env, parcel.delivery.to)
        return taken

    async def _open(self, taken: Sequence[tuple[Parcel, Delivery]]) -> list[tuple[Delivery, Handover]]:
        """Return what is handed over; a body that does not open is parked, for no receiver can do anything about it."""
        found, lost = [], []
        for parcel, leased in taken:
            try:
                found.append((leased, await self._handover(parcel, leased)))
            except SealBroken:
                lost.append(leased)
        now = self.clock.now()
        await self.commit([self.moves.park(each, code="body_lost", now=now, attempts=each.attempts) for each in lost])
        for each in lost:
            await self.transport.release(each.env, each.to)
        return found

    async def _handover(self, parcel: Parcel, leased: Delivery) -> Handover:
        body = await self.body_keys.open(parcel.day, leased.env, parcel.sealed)
        return Handover(
            wire=Wire(compact=parcel.compact, body=body),
            env=leased.env,
            receipt=parcel.receipt,
            lease=leased.lease,
            lease_until=leased.lease_until or self.clock.now(),
            attempt=leased.attempts + 1,
        )

    # --- settling ----------------------------------------------------------------------------------------------------------------

    async def acknowledge(self, system: str, statement: Statement) -> str:
        """Settle a delivery to `system` by its signed ack and return the env hash; the same word twice is taken once.

        Refuses as `ack_invalid` what does not verify or names no delivery of the system.
        """
        item = self._acks.read(self.registry.current, system, statement)
        env: str = item["env"]
        held = await self._delivery(system, env)
        if held is None:
            raise Refusal("ack_invalid", "there is no such delivery")
        alive = False  # an old ack that comes again says nothing of what is in flight now
        if held.state not in SETTLED:
            step = self.moves.settle(held, statement, item, now=self.clock.now())
            [alive] = await self.commit([step])
        await self._landed(system, env, alive=alive)
        return env

    async def put_back(self, system: str, *, env: str, lease: str, code: str, retry_after: float | None) -> None:
        """Take a delivery back that the receiver cannot handle now, to be tried later; refuse as `lease_lost`."""
        held = await self._delivery(system, env)
        if held is None or held.state != "leased" or held.lease != lease:
            raise Refusal("lease_lost")
        asked = None if retry_after is None else timedelta(seconds=retry_after)
        step = self.moves.put_back(held, code=code, now=self.clock.now(), asked=asked)
        [is_done] = await self.commit([step])
        if not is_done:
            raise Refusal("lease_lost")
        await self._landed(system, env, alive=True)

    async def give_back(self, system: str, handovers: Sequence[Handover]) -> None:
        """Queue deliveries again that reached nobody, for their caller hung up before the answer; no attempt counts."""
        held = [(handover, await self._delivery(system, handover.env)) for handover in handovers]
        unread = [
            delivery
            for handover, delivery in held
            if delivery is not None and delivery.state == "leased" and delivery.lease == handover.lease
        ]
        await self._requeue(unread)
        for delivery in unread:
            await self._landed(system, delivery.env, alive=False)

    async def extend(self, system: str, *, env: str, lease: str) -> datetime:
        """Let a lease last from now on as long as a new one, at most 10 minutes in all, and return until when; refuse as `lease_lost`."""
        held = await self._delivery(system, env)
        if held is None or held.state != "leased" or held.lease != lease:
            raise Refusal("lease_lost")
        until = min(self.clock.now() + self.limits.lease, begun_at(lease) + self.limits.lease_max)
        [is_done] = await self.commit([self.moves.extend(held, until=until)])
        if not is_done:
            raise Refusal("lease_lost")
        return until

    async def _delivery(self, system: str, env: str) -> Delivery | None:
        return await self.inboxes.delivery(env, system)

    async def _landed(self, system: str, env: str, *, alive: bool) -> None:
        """Forget a flight that ended; `alive` when the receiver itself ended it."""
        inbox = self._inbox(system)
        inbox.flights.pop(env, None)
        if alive:
            inbox.cautious = False
        await self.transport.release(env, system)
        inbox.ring()

    async def commit(self, steps: Sequence[Step]) -> list[bool]:
        """Commit steps in one transaction, tell the senders of what came to an end, and return which took effect."""
        if not steps:
            return []
        results = await self.sequencer.submit(*(step.move for step in steps))
        done = [isinstance(result, Done) for result in results]
        for step, is_done in zip(steps, done, strict=True):
            if is_done and step.after.state in SETTLED | {"parked"}:
                self._tell(step.after)
                if step.after.state == "parked":
                    get_logger().warning("delivery.parked", env=step.after.env, to=step.after.to, code=step.after.code)
        return done

    # --- going away --------------------------------------------------------------------------------------------------------------

    async def detach(self, inbox: Inbox, attached: Attached, *, orderly: bool) -> None:
        """Take back what a stream held. An attempt counts only for a delivery that was alone in flight (protocol section 5)."""
        if attached not in inbox.attached:
            return
        inbox.attached.remove(attached)
        flights = [flight for flight in inbox.flights.values() if flight.holder is attached]
        held = [flight.delivery for flight in flights]
        counted = not orderly and len(flights) == 1 and flights[0].alone
        if not orderly and flights and not counted:
            self._take_care(inbox)
        if counted:
            await self.commit([self.moves.put_back(held[0], code="disconnected", now=self.clock.now())])
        else:
            await self._requeue(held)
        for delivery in held:
            await self._landed(inbox.system, delivery.env, alive=False)
        inbox.ring()

    def _take_care(self, inbox: Inbox) -> None:
        if not inbox.cautious:
            inbox.cautious = True
            get_logger().warning("delivery.cautious", inbox=inbox.system, outstanding=len(inbox.flights))

    async def _requeue(self, held: Sequence[Delivery]) -> None:
        steps = [self.moves.requeue(delivery) for delivery in held]
        done = await self.commit(steps)
        for delivery in held:
            await self.transport.release(delivery.env, delivery.to)
        self.transport.wake([step.after for step, is_done in zip(steps, done, strict=True) if is_done])

    async def forget(self, delivery: Delivery) -> None:
        """Forget a flight whose delivery came to an end without its receiver."""
        await self._landed(delivery.to, delivery.env, alive=False)

    async def lease_ended(self, held: Delivery) -> None:
        """Decide on a delivery whose lease is over: settled if it was final, tried again otherwise, counted if it was alone."""
        inbox = self._inbox(held.to)
        now = self.clock.now()
        flight = inbox.flights.get(held.env)
        if held.final:
            step = self.moves.settle_final(held, now=now)
        elif flight is not None and flight.alone:
            step = self.moves.put_back(held, code="lease_ended", now=now)
        else:
            if flight is not None:
                self._take_care(inbox)
            step = self.moves.requeue(held)
        [is_done] = await self.commit([step])
        await self._landed(held.to, held.env, alive=False)
        if is_done and step.after.state == "queued":
            self.transport.wake([step.after])

    # --- what senders learn ------------------------------------------------------------------------------------------------------

    def accepted(self, manifest: Manifest, deliveries: Sequence[Delivery]) -> None:
        """Take note of newly queued deliveries: the call that waits for this reply gets it first, all others come through the inbox."""
        waiter = self._waiters.get((manifest.audience, manifest.text("causationid"))) if manifest.is_reply else None
        if waiter is not None and deliveries:
            waiter.arrive(deliveries[0])
        else:
            self.transport.wake(deliveries)

    def expect_reply(self, asker: str, request_id: str) -> ReplyWaiter:
        """Return a waiter for the reply to a request, to be entered before the request is submitted."""
        return ReplyWaiter(courier=self, key=(asker, request_id))

    def listen(self, waiter: ReplyWaiter) -> Callable[[], None]:
        """Let the waiter have its reply; return what ends that. Who waits first gets it: a repeated request takes nothing from it."""
        first = self._waiters.setdefault(waiter.key, waiter)

        def stop() -> None:
            if first is waiter:
                del self._waiters[waiter.key]

        return stop

    async def take_final(self, delivery: Delivery) -> Handover | None:
        """Lease a reply for the call that waits for it, None when it has gone through the inbox; `answered` is called when it is written."""
        parcel = await self.inboxes.parcel(delivery.env, delivery.to)
        if parcel is None:
            return None
        opened = await self._open(await self._lease([parcel], lasting=FINAL_LEASE))
        return opened[0][1] if opened else None

    async def answered(self, system: str, handover: Handover) -> None:
        """Note that a waiting call was given its reply: from now on the end of the lease settles it. Until then it would be queued again."""
        held = await self._delivery(system, handover.env)
        if held is not None and held.state == "leased" and held.lease == handover.lease:
            await self.commit([self.moves.finish(held)])

    async def outcomes(self, system: str, *, limit: int) -> list[Delivery]:
        """Return what became of what `system`, or a principal it stands for, sent and has not yet seen; oldest first."""
        found: list[Delivery] = []
        for source in (system, *self.registry.current.principals_of(system)):
            found += await self.inboxes.outcomes(source, limit)
        return sorted(found, key=lambda delivery: delivery.order)[:limit]

    async def seen(self, system: str, *, env: str, to: str) -> None:
        """Note that the sender has seen an outcome; refuse as `not_found` what it never sent."""
        held = await self.inboxes.delivery(env, to)
        if held is None or held.source not in self._speaks_for(system):
            raise Refusal("not_found")
        await self.sequencer.submit(Seen(env=env, to=to, source=held.source))

    async def history(self, system: str, env: str) -> tuple[Exchange, list[Delivery]]:
        """Return an exchange with all its deliveries to its sender or a receiver; refuse as `not_found` for anyone else."""
        exchange = await self.ledger.exchange_of(env)
        deliveries = await self.inboxes.deliveries(env)
        party = exchange is not None and (
            exchange.source in self._speaks_for(system) or any(delivery.to == system for delivery in deliveries)
        )
        if exchange is None or not party:
            raise Refusal("not_found")
        return exchange, deliveries

    def _speaks_for(self, system: str) -> set[str]:
        return {system, *self.registry.current.principals_of(system)}

    def _tell(self, delivery: Delivery) -> None:
        for system in (delivery.source, *self.registry.current.bridges_of(delivery.source)):
            inbox = self._known.get(system)
            for attached in inbox.attached if inbox else ():
                attached.receiver.outcome(delivery)

    def in_flight(self) -> Iterable[tuple[str, int]]:
        """Return how many deliveries are in flight per system."""
        return ((system, len(inbox.flights)) for system, inbox in self._known.items())

    def _inbox(self, system: str) -> Inbox:
        inbox = self._known.get(system)
        if inbox is None:
            inbox = self._known[system] = Inbox(system=system)
        return inbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One stream's hold on its inbox."""

    courier: Courier
    inbox: Inbox
    attached: Attached

    def credit(self, n: int, size: int) -> None:
        """Allow `n` deliveries and `size` bytes more."""
        self.attached.give(n, size)
        self.inbox.bell.set()

    async def detach(self, *, orderly: bool) -> None:
        """Take the stream off its inbox; what it held goes back."""
        await self.courier.detach(self.inbox, self.attached, orderly=orderly)


@dataclass(slots=True, kw_only=True)
class ReplyWaiter:
    """A call that waits for the reply to its request; a context manager."""

    courier: Courier
    key: ExchangeKey
    _arrived: asyncio.Future[Delivery] | None = None
    _taken: bool = False
    _stop: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        self._arrived = asyncio.get_running_loop().create_future()
        self._stop = self.courier.listen(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._stop is not None:
            self._stop()
        if self._arrived is not None and self._arrived.done() and not self._taken:
            self.courier.transport.wake([replace(self._arrived.result(), state="queued")])

    def arrive(self, delivery: Delivery) -> None:
        """Learn that the reply is queued."""
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(delivery)

    async def wait(self, seconds: float) -> Handover | None:
        """Return the reply when it comes within `seconds`, None otherwise: then it comes through the inbox."""
        if self._arrived is None:
            return None
        try:
            async with asyncio.timeout(seconds):
                delivery = await asyncio.shield(self._arrived)
        except TimeoutError:
            return None
        found = await self.courier.take_final(delivery)
        self._taken = found is not None
        return found


def _size(parcel: Parcel) -> int:
    """Return what the hand-over of a parcel takes from a receiver's credit."""
    return len(parcel.compact) + sealing.opened_size(parcel.sealed)
