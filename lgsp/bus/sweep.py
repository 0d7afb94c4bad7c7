"""The sweep: what time alone brings about.

Expiry, ended leases, retries that are due, carriers that were lost, refusals to be summed, checkpoints to be kept, exchanges to be forgotten,
entries to be catalogued, archived bodies to be dropped, keys that nothing needs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Final

from lgsp.bus.auditor import Auditor
from lgsp.bus.cataloguer import Cataloguer
from lgsp.bus.courier import Courier
from lgsp.bus.custody import Custody
from lgsp.bus.edge_refusals import EdgeRefusals
from lgsp.bus.moves import Moves, Step, took
from lgsp.bus.progress import Progress
from lgsp.bus.publisher import Publisher
from lgsp.bus.quotas import Quotas
from lgsp.bus.retention import Forgetting
from lgsp.bus.rhythm import is_due
from lgsp.bus.room import Room
from lgsp.bus.sequencer import Sequencer
from lgsp.bus.takeover import Takeover
from lgsp.domain.entries import Draft
from lgsp.domain.exchange import Delivery
from lgsp.domain.leases import holder_of
from lgsp.domain.records import Lane
from lgsp.errors import Refusal
from lgsp.logs import get_logger
from lgsp.ports.clock import Clock
from lgsp.ports.inboxes import Inboxes
from lgsp.ports.ledger import Note, Spend
from lgsp.ports.neighbours import Neighbours
from lgsp.ports.transport import Transport

EVERY: Final = 1.0
"""Seconds between sweeps."""
AT_ONCE: Final = 500
GRACE: Final = timedelta(seconds=5)
"""How long after its end a lease is left to the gateway that holds it, while that one lives: it knows whether the attempt counts."""
ROOM_EVERY: Final = timedelta(seconds=5)
"""How old the figures of open bytes may become."""
CARRIERS_EVERY: Final = timedelta(seconds=15)
"""How often the rows that are queued are compared with what the broker carries; two comparisons find a loss."""
SUMS_KNOWN: Final = timedelta(days=1)
"""For how long a summed entry is known to be written: longer than a ledger is away."""

LaneOf = tuple[str, Lane]
"""(Inbox, lane)."""


@dataclass(slots=True, kw_only=True)
class Sweep:
    """Runs once a second; any gateway may run it."""

    inboxes: Inboxes
    transport: Transport
    publisher: Publisher
    progress: Progress
    sequencer: Sequencer
    courier: Courier
    takeover: Takeover
    neighbours: Neighbours
    auditor: Auditor
    room: Room
    quotas: Quotas
    refusals: EdgeRefusals
    moves: Moves
    forgetting: Forgetting
    cataloguer: Cataloguer
    custody: Custody
    clock: Clock
    _unwritten: list[Note] = field(default_factory=list)
    """Summed entries that the ledger has not taken yet, or nobody heard so; what comes meanwhile is summed on where it is counted."""
    _numbers: Iterator[int] = field(default_factory=count)
    """What tells this running gateway's sums apart."""
    _was_alone: bool = True
    _refused: int = 0
    """How many groups the ledger had refused when the flights were looked at for that."""
    _room_read: datetime | None = None
    _carriers_read: datetime | None = None
    _suspects: set[LaneOf] = field(default_factory=set)
    """Lanes that had queued rows and no carrier at the last comparison."""
    _ended: float = field(default_factory=time.monotonic)
    """When the last whole round ended."""

    async def run(self) -> None:
        """Sweep until cancelled; an engine that is away is tried again."""
        while True:
            try:
                await self.once()
                self._ended = time.monotonic()
            except Refusal:
                get_logger().warning("task.failed", task="sweep")
            await asyncio.sleep(EVERY)

    def seconds_ago(self) -> float:
        """Return how long the last whole round is ago."""
        return time.monotonic() - self._ended

    async def once(self) -> None:
        """Do all that is due now."""
        now = self.clock.now()
        steps: list[Step] = []
        await self.publisher.note_confirmed()  # what lies with the broker is not published again
        await self.publisher.place(await self.takeover.once())
        await self._look_at_answers_that_were_lost()
        for held in await self.inboxes.due(now, AT_ONCE):
            if held.state == "leased":
                if self._is_anothers(held, now):
                    continue
                # First, whatever its expiry: a reply that a waiting call was given is settled, and what was handed out in time may be acked.
                await self.courier.lease_ended(held)
            elif held.expires <= now:
                steps.append(self.moves.expire(held, now=now))
            else:  # it waited long enough, or its gateway died before it was placed
                steps.append(self.moves.requeue(held, now=now))
        await self._commit(steps)
        await self._look_at_quotas()
        await self._look_at_room(now)
        await self._look_at_carriers(now)
        if self.refusals.is_due():
            await self.flush_refusals()
        await self.auditor.keep()
        await self.cataloguer.follow()  # first, while the envelopes are at hand
        await self.forgetting.step(now)
        await self.custody.step(now)

    async def _look_at_answers_that_were_lost(self) -> None:
        """See by the rows what became of commits of which nobody heard: leases that nobody uses, flights that have ended, inboxes to be woken."""
        await self.courier.take_in_strays()
        refused = self.sequencer.refused
        if refused != self._refused:
            self.courier.stir()
            await self.courier.look_at_flights()
            self._refused = refused

    async def _look_at_quotas(self) -> None:
        """Read the uses of others, and once more when the last of them has gone: what it accepted at its end counts all day."""
        alone = self.neighbours.alone
        if not (alone and self._was_alone):
            await self.quotas.refresh()
        self._was_alone = alone

    def _is_anothers(self, held: Delivery, now: datetime) -> bool:
        holder, living = holder_of(held.lease), self.neighbours.living()
        lives = living is None or holder in living
        return holder != self.neighbours.holder and lives and now - (held.lease_until or now) < GRACE

    async def _commit(self, steps: list[Step]) -> list[Delivery]:
        """Commit steps, place what goes out again, and return the deliveries that moved."""
        done = await self.progress.commit(steps)
        moved = took(steps, done)
        going = [delivery for delivery in moved if delivery.state != "expired"]
        placed = await self.publisher.place(going)
        if moved:
            get_logger().info(
                "sweep.moved", expired=len(moved) - len(going), requeued=len(going), published=placed.count("queued")
            )
        return moved

    async def _look_at_room(self, now: datetime) -> None:
        if is_due(self._room_read, now, ROOM_EVERY):
            self._room_read = now
            await self.room.refresh()

    async def _look_at_carriers(self, now: datetime) -> None:
        """Publish again what is queued by its rows while the broker holds nothing in that lane: a queue was lost with its messages.

        A message that another gateway has in hand looks the same; a second one does no harm.
        """
        if self.transport.embedded:
            return
        if is_due(self._carriers_read, now, CARRIERS_EVERY):
            self._carriers_read = now
            bare = await self._bare()
            for inbox, lane in sorted(bare & self._suspects):
                await self.republish(inbox, lane)
            self._suspects = bare

    async def _bare(self) -> set[LaneOf]:
        """Return the lanes in which rows are queued and the broker holds nothing."""
        queued = {(depth.inbox, depth.lane) for depth in await self.inboxes.depths() if depth.state == "queued"}
        carried = {inbox: await self.transport.carried(inbox) for inbox in {inbox for inbox, _ in queued}}
        return {(inbox, lane) for inbox, lane in queued if (held := carried[inbox]) is not None and not held[lane]}

    async def republish(self, inbox: str, lane: Lane) -> None:
        """Publish again what is queued in a lane of an inbox by its rows; a second message of a delivery does no harm."""
        now = self.clock.now()
        # What the broker confirms just now may be lost too: let out anew, that confirmation counts for nothing.
        self.publisher.forget(inbox, lane)
        unheard = [
            row for row in await self.inboxes.in_state("accepted", AT_ONCE) if (row.to, row.lane) == (inbox, lane)
        ]
        done = [row.env for row in await self._commit([self.moves.requeue(row, now=now) for row in unheard])]
        while found := await self.inboxes.queued(inbox, lane, AT_ONCE, done):
            get_logger().warning("delivery.carrier_lost", inbox=inbox, lane=lane, count=len(found))
            await self._commit([self.moves.requeue(parcel.delivery, now=now) for parcel in found])
            done += [parcel.delivery.env for parcel in found]
            if len(found) < AT_ONCE:
                break

    async def flush_refusals(self) -> None:
        """Write the summed entries of the minute; while the ledger is away they are kept. One that was written though nobody heard so is known."""
        kept, self._unwritten = self._unwritten, []
        await self._write(kept)
        await self._write([self._once(entry) for entry in self.refusals.drain()])

    async def _write(self, notes: list[Note]) -> None:
        try:
            if notes:
                await self.sequencer.submit(*notes)
        except Refusal:
            self._unwritten += notes
            raise

    def _once(self, entry: Draft) -> Note:
        """Return the operation that appends an entry unless it is there; no authorization is named like that."""
        now, name = self.clock.now(), f"{self.neighbours.holder}:{next(self._numbers)}"
        return Note(entry=entry, once=Spend(jti=name, until=now + SUMS_KNOWN, now=now))
