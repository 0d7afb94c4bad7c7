"""The transport over RabbitMQ: publishes through the outlet, takes from a reader per inbox, and checks every message against its row.

The row is the authority. A message whose row has moved on is dropped; one that does not agree with its row is reported, then dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

from lgsp.backends.rabbitmq.carrier import Carried
from lgsp.backends.rabbitmq.connection import BrokerAwayError, Link
from lgsp.backends.rabbitmq.outlet import PUBLISH_SECONDS, Outlet
from lgsp.backends.rabbitmq.reader import Reader
from lgsp.backends.rabbitmq.topology import PROBES, Topology, queue_name
from lgsp.backends.watchers import Watchers
from lgsp.domain.exchange import Delivery
from lgsp.domain.lanes import LANES
from lgsp.domain.limits import LIMITS
from lgsp.domain.records import Lane
from lgsp.errors import Refusal
from lgsp.logs import get_logger
from lgsp.ports.clock import Clock
from lgsp.ports.inboxes import Inboxes, Parcel
from lgsp.ports.transport import Placed, left_of

COMES: Final = frozenset({"accepted", "queued"})
"""States of a row whose message is handed out."""

Mismatched = Callable[[str, str], Awaitable[None]]
"""Told of a message that does not agree with its row: the inbox it lay in, and the env hash it went by."""
Lost = Callable[[str, Lane], Awaitable[None]]
"""Told of an inbox and the lane of it whose queue was lost with all that it held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long things may take, in seconds; tests hand in shorter ones."""

    publish: float = PUBLISH_SECONDS
    take: float = 5.0
    """A take from a broker that does not answer ends empty."""
    idle: float = 60.0
    """How long what was fetched may lie here while nobody takes. The broker closes a channel that leaves messages unanswered for 30 minutes."""
    left: float = 2.0
    """The same when nobody watches the inbox any more: its receiver may be at another gateway, and half of what comes would be brought here."""
    look: float = 1.0
    """Between two looks at what lies idle."""
    probes: int = PROBES
    """How often a silent queue is tried, a second each time."""


class RabbitTransport:
    """Inboxes carried by a broker; for one event loop."""

    def __init__(
        self,
        url: str,
        inboxes: Inboxes,
        *,
        bus: str,
        clock: Clock,
        inbox_bytes: int = LIMITS.inbox_bytes,
        pace: Pace = Pace(),
    ) -> None:
        self._inboxes = inboxes
        self._bus = bus
        self._pace = pace
        self._tasks: asyncio.TaskGroup | None = None
        # Two connections: a broker short of disk or memory reads nothing more from one that publishes, its acknowledgements neither, and
        # inboxes that cannot be emptied do not help it.
        self._sending = Link(url=url, use="publishing", on_change=self._renew_outlet)
        self._reading = Link(url=url, use="consuming", on_change=self._renew_readers)
        self._topology = Topology(
            link=self._reading, inbox_bytes=inbox_bytes, spawn=self._spawn, lost=self._on_loss, probes=pace.probes
        )
        self._outlet = Outlet(
            bus=bus, link=self._sending, topology=self._topology, clock=clock, spawn=self._spawn, seconds=pace.publish
        )
        self._readers: dict[str, Reader] = {}
        self._watchers = Watchers()
        self._weeded: set[tuple[str, Lane]] = set()
        self._mismatched: Mismatched = _told_to_nobody
        self._lost: Lost = _told_to_nobody

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Keep the connections until the block ends; the broker need not be there yet."""
        async with asyncio.TaskGroup() as group:
            self._tasks = group
            work = [group.create_task(each) for each in (self._sending.run(), self._reading.run(), self._look_after())]
            try:
                yield self
            finally:
                self._tasks = None
                await asyncio.gather(*(reader.close() for reader in self._readers.values()))
                for task in work:
                    task.cancel()

    def report_to(self, *, mismatched: Mismatched, lost: Lost) -> None:
        """Tell of messages that do not agree with their rows, before they are dropped, and of queues that were lost."""
        self._mismatched = mismatched
        self._lost = lost

    @property
    def embedded(self) -> bool:
        """Whether the queue is the ledger's own rows: it is not."""
        return False

    async def state(self) -> str:
        """Return `ok`, `away` while the broker is not connected, or `without queues` while it is and none of its queues answers."""
        if not (self._sending.is_up and self._reading.is_up):
            return "away"
        return "ok" if await self._topology.serves(self._bus) else "without queues"

    @property
    def trouble(self) -> str:
        """Why the broker could not be connected the last time that it could not, in a word."""
        return self._sending.reason or self._reading.reason

    async def connected(self, seconds: float) -> bool:
        """Return whether the broker is connected, after `seconds` at the latest."""
        return all(await asyncio.gather(self._sending.wait(seconds), self._reading.wait(seconds)))

    async def publish(self, parcels: Sequence[Parcel]) -> list[Placed]:
        """Put parcels into their queues and return what became of each, within the pace's limit."""
        if not self._sending.is_up:
            return ["unavailable"] * len(parcels)
        for parcel in parcels:
            self._reader(parcel.delivery.to)  # by which a lost queue's inbox is known
        placed = await self._outlet.publish(parcels)
        self.wake([parcel.delivery for parcel, word in zip(parcels, placed, strict=True) if word == "queued"])
        full = {
            (each.delivery.to, each.delivery.lane)
            for each, word in zip(parcels, placed, strict=True)
            if word == "inbox_full"
        }
        for inbox, lane in full - self._weeded:
            self._spawn(f"weed {lane} of {inbox}", self._weed(inbox, lane))
        return placed

    async def _weed(self, inbox: str, lane: Lane) -> None:
        """Make a full queue anew if most of it has ended: the broker forgets what expired only in front, not behind what lives longer.

        The rows publish again what is to go out.
        """
        self._weeded.add((inbox, lane))
        try:
            depths = [depth for depth in await self._inboxes.depths() if (depth.inbox, depth.lane) == (inbox, lane)]
            name = queue_name(self._bus, inbox, lane)
            found = await self._topology.count(name)
            if found.ready > 2 * sum(depth.count for depth in depths if depth.state in COMES):
                await self._topology.renew(name)
        except (BrokerAwayError, Refusal):
            return  # the next that does not fit tries it again
        finally:
            self._weeded.discard((inbox, lane))

    async def take(self, inbox: str, limit: int, *, bulk: int | None = None) -> list[Parcel]:
        """Return up to `limit` parcels whose rows say that they are to go out; empty while the broker is away."""
        if limit <= 0:
            return []
        reader = self._reader(inbox)
        reader.used_at = _now()
        try:
            async with asyncio.timeout(self._pace.take):
                await reader.open()
        except (BrokerAwayError, TimeoutError):
            return []
        reader.used_at = _now()  # opening it may have taken longer than it may be idle
        taken: list[Parcel] = []
        try:
            await self._report(inbox, reader)
            while len(taken) < limit and (drawn := reader.draw(limit - len(taken), bulk=left_of(bulk, taken))):
                taken += await self._checked(inbox, reader, drawn)
        except BaseException:
            reader.put_back([parcel.delivery.env for parcel in taken])
            raise
        return taken

    async def _report(self, inbox: str, reader: Reader) -> None:
        suspects = list(reader.suspects)
        for suspect in suspects:
            await self._tell(inbox, suspect.env, suspect.what)
        await reader.clear_suspects(suspects)

    async def _checked(self, inbox: str, reader: Reader, drawn: Sequence[Carried]) -> list[Parcel]:
        """Return the parcels among what was drawn; drop what has moved on or is not what its row says."""
        try:
            rows = await self._inboxes.held(inbox, [carried.env for carried in drawn])
            strange = {carried.env: what for carried in drawn if (what := _mismatch(carried, rows.get(carried.env)))}
            for env, what in strange.items():
                await self._tell(inbox, env, what)
        except BaseException:
            reader.put_back([carried.env for carried in drawn])
            raise
        good = [carried for carried in drawn if carried.env not in strange and rows[carried.env].state in COMES]
        kept = {carried.env for carried in good}
        await reader.drop([carried.env for carried in drawn if carried.env not in kept])
        return [_parcel(carried, rows[carried.env]) for carried in good]

    async def _tell(self, inbox: str, env: str, what: str) -> None:
        get_logger().error("broker.mismatch", inbox=inbox, env=env, reason=what)
        await self._mismatched(inbox, env)

    async def drop(self, inbox: str, envs: Sequence[str]) -> None:
        """Acknowledge the messages of parcels whose rows have moved on."""
        await self._reader(inbox).drop(envs)

    async def put_back(self, inbox: str, envs: Sequence[str]) -> None:
        """Put parcels back in their places, and tell those who watch the inbox."""
        self._reader(inbox).put_back(envs)
        if envs:
            self._watchers.ring(inbox)

    def wake(self, deliveries: Sequence[Delivery]) -> None:
        """Call those who watch the inboxes of these deliveries, each once; to be called on the event loop's thread."""
        self._watchers.wake(deliveries)

    def watch(self, inbox: str, call: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever the inbox may hold something new; `call` must neither block nor raise. Return what ends the watch."""
        end = self._watchers.watch(inbox, call)

        def leave() -> None:
            end()
            self._reader(inbox).used_at = _now()

        return leave

    async def carried(self, inbox: str) -> dict[Lane, int] | None:
        """Return how many messages of each lane are ready in its queue or fetched from it, None while the broker does not answer.

        A queue made anew while a node of a cluster was away may have forgotten who consumes it, and tell nobody: then the reader begins anew.
        """
        reader = self._reader(inbox)
        consumes = reader.is_open and not reader.is_opening
        try:
            async with asyncio.timeout(self._pace.take):
                found = {lane: await self._topology.count(name) for lane, name in reader.queues.items()}
        except (BrokerAwayError, TimeoutError):
            return None
        held = {lane: found[lane].ready + buffered for lane, buffered in reader.buffered.items()}
        if consumes and not all(each.consumers for each in found.values()):
            await reader.close()
        return held

    def queues(self) -> list[str]:
        """Return the names of the queues that were used on this connection."""
        return self._topology.names()

    def _reader(self, inbox: str) -> Reader:
        reader = self._readers.get(inbox)
        if reader is None:
            queues = {lane: queue_name(self._bus, inbox, lane) for lane in LANES}
            reader = self._readers[inbox] = Reader(
                queues=queues, link=self._reading, topology=self._topology, ring=partial(self._watchers.ring, inbox)
            )
        return reader

    def _renew_outlet(self) -> None:
        self._outlet.renew()

    def _renew_readers(self) -> None:
        """Begin anew on another connection: those who watch take again, and that opens their readers."""
        self._topology.forget()
        for inbox in self._watchers.inboxes():
            self._watchers.ring(inbox)

    def _on_loss(self, name: str) -> None:
        for inbox, reader in self._readers.items():
            for lane, queue in reader.queues.items():
                if name == queue:
                    self._spawn(f"tell of a loss in {inbox}", self._tell_loss(inbox, lane))

    async def _tell_loss(self, inbox: str, lane: Lane) -> None:
        try:
            await self._lost(inbox, lane)
        except Refusal:
            return  # the ledger is away: the next comparison of rows and queues finds it

    async def _look_after(self) -> None:
        """Give back what lies here while nobody takes it, and have those try again whose reader could not be opened."""
        while True:
            await asyncio.sleep(self._pace.look)
            for inbox, reader in list(self._readers.items()):
                if reader.is_open and not reader.is_opening and self._lies_idle(inbox, reader):
                    await reader.close()
                elif reader.failed and self._reading.is_up:
                    self._watchers.ring(inbox)

    def _lies_idle(self, inbox: str, reader: Reader) -> bool:
        """Tell whether a reader holds back what others could hand out; where somebody watches and nothing lies there it waits for what comes."""
        unused = _now() - reader.used_at
        if self._watchers.is_watched(inbox):
            return unused > self._pace.idle and any(reader.buffered.values())
        return unused > self._pace.idle or (unused > self._pace.left and not reader.has_taken)

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        if self._tasks is None:
            work.close()  # the end: what it would have tidied up goes with the connection
            return
        self._tasks.create_task(work, name=name)


def _mismatch(carried: Carried, row: Delivery | None) -> str:
    """Return in what a message differs from its row, or nothing."""
    if row is None:
        return "inbox"
    return "" if row.lane == carried.lane else "lane"


def _parcel(carried: Carried, row: Delivery) -> Parcel:
    return Parcel(
        delivery=row, compact=carried.compact, receipt=carried.receipt, sealed=carried.sealed, day=carried.day
    )


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _told_to_nobody(*_: str) -> None:
    """Leave it at the log's line."""
