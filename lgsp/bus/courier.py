"""The courier: takes deliveries from inboxes, leases them, hands them to streams and pulls, and takes back what a receiver left behind.

The delivery row is the authority (protocol section 5). What is kept here is only what is in flight from this gateway; a gateway that dies
leaves leases, and leases end. What receivers say is taken by `settlement`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from lgsp.bus.body_keys import BodyKeys, DayErased
from lgsp.bus.figures import Figures
from lgsp.bus.inbox import Attached, Handover, Inbox, Receiver
from lgsp.bus.moves import ERASED, Moves, Step, took
from lgsp.bus.progress import Progress
from lgsp.bus.publisher import Publisher
from lgsp.bus.registry import Registry
from lgsp.bus.room import Room
from lgsp.bus.strays import Strays
from lgsp.domain import envelope, sealing
from lgsp.domain.envelope import Wire
from lgsp.domain.exchange import UNHELD, Delivery
from lgsp.domain.limits import LIMITS, Limits
from lgsp.domain.sealing import SealBroken
from lgsp.errors import Refusal
from lgsp.logs import get_logger
from lgsp.ports.clock import Clock, Entropy
from lgsp.ports.inboxes import Inboxes, Parcel
from lgsp.ports.transport import Transport
from lgsp.tracing import Traces

TAKEN_AT_ONCE: Final = 128
"""Parcels leased in one transaction."""
LOOKED_AT_ONCE: Final = 500
"""Rows of flights read at once."""
SAID: Final = frozenset({"acked", "rejected", "waiting"})
"""States that a receiver itself brings about."""
AWAY_PAUSE: Final = 1.0
"""Seconds between tries while the ledger is away."""

Spawn = Callable[[str, Coroutine[Any, Any, None]], None]
Leased = tuple[Parcel, Delivery]


@dataclass(slots=True, kw_only=True)
class Courier:
    """Serves every inbox of this gateway."""

    registry: Registry
    inboxes: Inboxes
    transport: Transport
    publisher: Publisher
    progress: Progress
    room: Room
    body_keys: BodyKeys
    moves: Moves
    figures: Figures
    clock: Clock
    entropy: Entropy
    spawn: Spawn
    strays: Strays
    limits: Limits = LIMITS
    traces: Traces = field(default_factory=Traces.found)
    _known: dict[str, Inbox] = field(default_factory=dict)
    _resting: bool = False
    """Whether calls are given nothing any more, because the gateway is stopping."""

    # --- handing out -------------------------------------------------------------------------------------------------------------

    def attach(self, system: str, receiver: Receiver) -> Attachment:
        """Let a stream of `system` receive; nothing comes before it gives credit."""
        inbox = self.inbox(system)
        attached = Attached(receiver=receiver)
        inbox.attached.append(attached)
        if not inbox.pumping:
            inbox.pumping = True
            self.spawn(f"pump {system}", self._pump(inbox))
        unlisten = self.progress.listen(system, receiver.outcome)
        return Attachment(courier=self, inbox=inbox, attached=attached, unlisten=unlisten)

    async def pull(self, system: str, *, limit: int, wait: float) -> list[Handover]:
        """Lease up to `limit` deliveries for a caller that asks, waiting up to `wait` seconds for the first."""
        inbox = self.inbox(system)
        bell = asyncio.Event()
        inbox.pulls.add(bell)
        unwatch = self.transport.watch(system, bell.set)
        until = asyncio.get_running_loop().time() + wait
        try:
            while not self._resting:
                if found := await self._pull_once(inbox, limit):
                    return found
                # Only the waiting is bounded: a lease that is cut off between commit and answer would be held by nobody.
                async with asyncio.timeout_at(until):
                    await bell.wait()
                bell.clear()
        except TimeoutError:
            return []
        finally:
            inbox.pulls.discard(bell)
            unwatch()
        return []

    def let_go(self) -> None:
        """Answer calls that wait for deliveries with none, now and from now on; streams go on until they end."""
        self._resting = True
        for inbox in self._known.values():
            inbox.ring()

    async def _pull_once(self, inbox: Inbox, limit: int) -> list[Handover]:
        async with inbox.turn():
            room = inbox.room_for_pull(min(limit, TAKEN_AT_ONCE))
            parcels = await self.transport.take(inbox.system, room) if room else []
            found = []
            for leased, handover in await self._open(await self._lease(inbox.system, parcels)):
                inbox.take_off(leased, None)
                self.note_hand_over(leased, handover.wire)
                found.append(handover)
        return found

    async def hold(self, parcel: Parcel, *, lasting: timedelta) -> Handover | None:
        """Lease one parcel past its inbox, for a call that waits for it; None when it has gone another way."""
        opened = await self._open(await self._lease(parcel.delivery.to, [parcel], lasting=lasting))
        return opened[0][1] if opened else None

    async def _pump(self, inbox: Inbox) -> None:
        """Hand out what is queued while somebody is attached."""
        unwatch = self.transport.watch(inbox.system, inbox.stir)
        try:
            while inbox.attached:
                inbox.bell.clear()
                if not await self._pump_once(inbox):
                    await inbox.bell.wait()
        finally:
            inbox.pumping = False
            inbox.waits = "anything"
            unwatch()

    async def _pump_once(self, inbox: Inbox) -> bool:
        """Hand out what fits now and tell whether there was anything."""
        try:
            async with inbox.turn():
                room, bulk = inbox.room(TAKEN_AT_ONCE), inbox.room_for_bulk()
                if not room or inbox.waits == "nothing" or (inbox.waits == "bulk" and bulk == 0):
                    return False
                # What is queued from here on stirs the inbox again.
                inbox.waits = "nothing"
                parcels = await self.transport.take(inbox.system, room, bulk=bulk)
                inbox.learn([parcel.delivery.lane for parcel in parcels], room=room, bulk=bulk)
                await self._hand_out(inbox, parcels)
        except Refusal:
            # The ledger is away: what was taken is put back, and a moment later it is tried again.
            inbox.waits = "anything"
            await asyncio.sleep(AWAY_PAUSE)
            return True
        return bool(parcels)

    async def _hand_out(self, inbox: Inbox, parcels: Sequence[Parcel]) -> None:
        # What the credit does not cover is not leased: the log would tell of a delivery that never was.
        covered = inbox.covered(map(_size, parcels))
        await self.transport.put_back(inbox.system, _envs(parcels[covered:]))
        left_over = []
        for leased, handover in await self._open(await self._lease(inbox.system, parcels[:covered])):
            holder = inbox.next_holder(handover.size)
            if holder is None:  # it went away meanwhile
                left_over.append(leased)
                continue
            inbox.take_off(leased, holder)
            self.note_hand_over(leased, handover.wire)
            holder.receiver.hand_over(handover)
        await self.requeue(left_over)

    async def _lease(self, inbox: str, parcels: Sequence[Parcel], *, lasting: timedelta | None = None) -> list[Leased]:
        """Lease what can still be delivered, in one transaction; what cannot is expired, withdrawn, or was settled elsewhere."""
        if not parcels:
            return []
        now = self.clock.now()
        uuid7, until = self.entropy.uuid7(), now + (lasting or self.limits.lease)
        steps = [self._lease_step(parcel.delivery, uuid7, until=until, now=now) for parcel in parcels]
        try:
            with self.figures.timed("lease"):
                done = await self.progress.commit(steps)
        except Refusal:
            self.strays.add(step.after for step in steps if step.after.state == "leased")
            await self.transport.put_back(inbox, _envs(parcels))
            raise
        # Whatever became of them, their rows have moved on.
        self.publisher.handed_out(parcel.delivery for parcel in parcels)
        self.room.take(parcel.delivery for parcel in parcels)
        await self.transport.drop(inbox, _envs(parcels))
        return [
            (parcel, step.after)
            for parcel, step, is_done in zip(parcels, steps, done, strict=True)
            if is_done and step.after.state == "leased"
        ]

    def _lease_step(self, held: Delivery, uuid7: str, *, until: datetime, now: datetime) -> Step:
        if held.expires <= now:
            return self.moves.expire(held, now=now)
        if held.subscriptions and not self.registry.current.is_subscribed(held.subscriptions):
            return self.moves.expire(held, now=now, code="withdrawn")
        return self.moves.lease(held, uuid7=uuid7, until=until, now=now)

    async def _open(self, taken: Sequence[Leased]) -> list[tuple[Delivery, Handover]]:
        """Return what is handed over; what was erased has ended, a body that does not open is parked: no receiver can do anything about it."""
        try:
            return await self._opened(taken)
        except Refusal:
            self.strays.add(leased for _, leased in taken)
            raise

    async def _opened(self, taken: Sequence[Leased]) -> list[tuple[Delivery, Handover]]:
        found, lost, now = [], [], self.clock.now()
        for parcel, leased in taken:
            try:
                found.append((leased, await self._handover(parcel, leased)))
            except DayErased:
                lost.append(self.moves.expire(leased, code=ERASED, now=now))
            except SealBroken:
                lost.append(self.moves.park(leased, code="body_lost", now=now, attempts=leased.attempts))
        await self.progress.commit(lost)
        return found

    async def _handover(self, parcel: Parcel, leased: Delivery) -> Handover:
        body = await self.body_keys.open(parcel.day, leased.env, parcel.sealed)
        return Handover(
            wire=Wire(compact=parcel.compact, body=body),
            env=leased.env,
            to=leased.to,
            receipt=parcel.receipt,
            lease=leased.lease,
            lease_until=leased.lease_until or self.clock.now(),
            attempt=leased.attempts + 1,
        )

    def note_hand_over(self, leased: Delivery, wire: Wire) -> None:
        """Count a hand-over, and state it in the trace of the envelope."""
        self.figures.handed_over(leased)
        if self.traces.are_on:
            manifest = envelope.manifest_of(wire.compact)
            parent = manifest.text("traceparent")
            with self.traces.span("deliver", parent=parent, type=manifest.type, lane=leased.lane, env=leased.env):
                pass

    # --- coming back -------------------------------------------------------------------------------------------------------------

    def landed(self, held: Delivery, *, alive: bool) -> None:
        """Forget a flight that ended; `alive` when the receiver itself ended it."""
        inbox = self.inbox(held.to)
        if alive:
            inbox.cautious = False
        inbox.land(held.env, held.lease)

    def settled(self, held: Delivery, *, alive: bool) -> None:
        """Forget the flight of a delivery that is settled, under whatever lease it went out meanwhile: nobody else would end it."""
        flight = self.inbox(held.to).flights.get(held.env)
        self.landed(held if flight is None else flight.delivery, alive=alive)

    async def detach(self, inbox: Inbox, attached: Attached, *, orderly: bool) -> None:
        """Take back what a stream held. An attempt counts only for a delivery that was alone in flight (protocol section 5)."""
        if attached not in inbox.attached:
            return
        attached.close()
        inbox.attached.remove(attached)
        flights = [flight for flight in inbox.flights.values() if flight.holder is attached]
        held = [flight.delivery for flight in flights]
        counted = not orderly and len(flights) == 1 and flights[0].alone
        if not orderly and flights and not counted:
            self._take_care(inbox)
        if counted:
            await self.progress.commit([self.moves.give_time(held[0], code="disconnected", now=self.clock.now())])
            self.landed(held[0], alive=False)
        else:
            await self.requeue(held)
        inbox.ring()

    def _take_care(self, inbox: Inbox) -> None:
        if not inbox.cautious:
            inbox.cautious = True
            get_logger().warning("delivery.cautious", inbox=inbox.system, outstanding=len(inbox.flights))

    async def requeue(self, held: Sequence[Delivery]) -> None:
        """Let deliveries go out again without counting an attempt."""
        now = self.clock.now()
        steps = [self.moves.requeue(delivery, now=now) for delivery in held]
        try:
            done = await self.progress.commit(steps)
        except Refusal:
            self.strays.add(held)
            raise
        for delivery in held:
            self.landed(delivery, alive=False)
        await self.publisher.place(took(steps, done))

    async def take_in_strays(self) -> None:
        """Let out again what stands in the rows as leased by this gateway and is in nobody's hand."""
        for inbox, envs in self.strays.wanted().items():
            found = self.strays.among((await self.inboxes.held(inbox, envs)).values())
            await self.requeue(found)
            self.strays.settle(inbox, found)
            if found:
                get_logger().warning("delivery.strayed", inbox=inbox, count=len(found))

    async def lease_ended(self, held: Delivery) -> None:
        """Decide on a delivery whose lease is over; one that was extended or settled meanwhile is left as it is."""
        inbox = self.inbox(held.to)
        flight = inbox.flight(held.env, held.lease)  # one under another lease says nothing of this one
        alone = flight is not None and flight.alone
        step = self.moves.lapse(held, alone=alone, now=self.clock.now())
        [is_done] = await self.progress.commit([step])
        if not is_done:
            for row in (await self.inboxes.held(held.to, [held.env])).values():
                self.moved(row)
            return
        if flight is not None and not alone and not held.final:
            self._take_care(inbox)
        self.landed(held, alive=False)
        if step.after.state in UNHELD:
            await self.publisher.place([step.after])

    async def set_aside(self, inbox: str, env: str, *, code: str) -> bool:
        """Park a delivery whose carrier cannot be trusted, and tell whether there was one to park."""
        held = (await self.inboxes.held(inbox, [env])).get(env)
        if held is None or held.state not in UNHELD:
            return False
        [is_done] = await self.progress.commit([self.moves.set_aside(held, code=code, now=self.clock.now())])
        return is_done

    def in_hand(self, system: str, env: str) -> Delivery | None:
        """Return a delivery that is in flight from this gateway to a system, as it was leased."""
        flight = self.inbox(system).flights.get(env)
        return None if flight is None else flight.delivery

    def stir(self, systems: Iterable[str] | None = None) -> None:
        """Have those who wait at these inboxes, or at all, look again: something may have been queued by another gateway."""
        for inbox in list(self._known.values()) if systems is None else map(self.inbox, systems):
            inbox.stir()
            inbox.ring()

    async def look_at_flights(self) -> None:
        """Forget the flights of deliveries that were settled or put back at another gateway, or here by a commit whose answer was lost."""
        for system, inbox in list(self._known.items()):
            leases = {env: flight.delivery.lease for env, flight in inbox.flights.items()}
            envs = list(leases)
            for start in range(0, len(envs), LOOKED_AT_ONCE):
                rows = await self.inboxes.held(system, envs[start : start + LOOKED_AT_ONCE])
                for row in rows.values():
                    # What took off while the rows were read is not what they tell of.
                    if inbox.flight(row.env, leases[row.env]) is not None:
                        self.moved(row)

    def moved(self, row: Delivery) -> None:
        """Learn where a delivery stands that another gateway may have moved: its flight here ends with its lease."""
        flight = self.inbox(row.to).flights.get(row.env)
        if flight is not None and flight.delivery.lease != row.lease:
            self.landed(flight.delivery, alive=row.state in SAID)

    def in_flight(self) -> Iterable[tuple[str, int]]:
        """Return how many deliveries are in flight per system."""
        return ((system, len(inbox.flights)) for system, inbox in self._known.items())

    def inbox(self, system: str) -> Inbox:
        """Return what is known here of a system's inbox."""
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
    unlisten: Callable[[], None]

    def credit(self, n: int, size: int) -> None:
        """Allow `n` deliveries and `size` bytes more."""
        self.attached.give(n, size)
        self.inbox.bell.set()

    def close(self) -> None:
        """Let nothing more be handed over: the stream is ending."""
        self.attached.close()

    async def detach(self, *, orderly: bool) -> None:
        """Take the stream off its inbox; what it held goes back."""
        self.unlisten()
        await self.courier.detach(self.inbox, self.attached, orderly=orderly)


def _envs(parcels: Sequence[Parcel]) -> list[str]:
    return [parcel.delivery.env for parcel in parcels]


def _size(parcel: Parcel) -> int:
    """Return what the hand-over of a parcel takes from a receiver's credit."""
    return len(parcel.compact) + sealing.opened_size(parcel.sealed)
