"""Queues on the broker: their names, what they promise, and whether they answer.

A quorum queue for each inbox and lane, durable, with limits that refuse rather than drop. Nothing is dead-lettered and nothing delayed there:
retries are the rows' affair.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from aio_pika.abc import AbstractChannel, AbstractQueue
from aio_pika.exceptions import ChannelPreconditionFailed

from lgsp.backends.rabbitmq.connection import CALL_SECONDS, BrokerAwayError, Link, broker_calls, close
from lgsp.domain import names
from lgsp.domain.records import Lane
from lgsp.logs import get_logger

MESSAGE_BYTES: Final = 4 * 1024
"""What a message takes at least beside its body, which is all that the broker's own byte limit counts: envelope and receipt."""
DELIVERY_LIMIT: Final = 1_000_000
"""How often one message may come back, practically without end: without a limit the broker puts what comes back behind all others."""
PROBE_SECONDS: Final = 1.0
PROBES: Final = 25
"""How often a queue is tried before it is held for dead: a cluster takes some ten seconds to choose a new leader, more under load."""
PROBES_BETWEEN: Final = 5
"""How many of them lie between two looks whether it is the queue's trouble alone; after the broker's it has all of them again."""
DELETE_SECONDS: Final = 30.0
TRIAL_ARGUMENTS: Final[dict[str, Any]] = {"x-queue-type": "quorum", "x-expires": 60_000}
"""Of a queue that is made only to see whether one can be: should its maker not come to delete it, the broker does, after so many milliseconds."""
TRIAL: Final = "trial"
"""The last part of the name of a queue that no inbox has: it is made when others are silent, to tell their trouble from the broker's."""

Spawn = Callable[[str, Coroutine[Any, Any, None]], None]


def queue_name(bus: str, inbox: str, lane: Lane) -> str:
    """Return the name of a lane's queue; `bus` and `inbox` are URNs."""
    return f"lgsp.{bus.removeprefix('urn:lgsp:bus:')}.{names.short_system(inbox)}.{lane}"


def arguments(inbox_bytes: int) -> dict[str, Any]:
    """Return the arguments of a queue that holds bodies of so many bytes at most."""
    return {
        "x-queue-type": "quorum",
        "x-max-length-bytes": inbox_bytes,
        "x-max-length": max(inbox_bytes // MESSAGE_BYTES, 1),
        "x-overflow": "reject-publish",
        "x-delivery-limit": DELIVERY_LIMIT,
    }


class Found(NamedTuple):
    """What a queue was found with."""

    ready: int
    consumers: int


@dataclass(slots=True, kw_only=True)
class Topology:
    """The queues of one gateway's connection."""

    link: Link
    inbox_bytes: int
    spawn: Spawn
    lost: Callable[[str], None]
    """Told of a queue that was made anew: what it held is gone."""
    probes: int
    """How often a silent queue is tried, a second each time, before it is made anew."""
    _ready: dict[str, asyncio.Future[bool]] = field(default_factory=dict)
    _differing: set[str] = field(default_factory=set)
    """Queues that stand on the broker with other limits than ours."""
    _feared: set[str] = field(default_factory=set)
    """Queues for whose sake the broker ended a connection, and every other queue's use with it: they are tried on one of their own."""
    _is_doubted: bool = False
    """Whether a queue did not answer, and nobody has looked yet whether that is the broker's trouble or this queue's alone."""

    def forget(self, name: str | None = None) -> None:
        """Trust a queue no longer, or none after the connection changed: it is declared and tried again before its next use.

        One that is being tried just now is left to that.
        """
        if name is None:
            self._ready.clear()
            self._differing.clear()
            return
        self._is_doubted = True
        self._try_again(name)

    def _try_again(self, name: str) -> None:
        if name in self._ready and self._ready[name].done():
            del self._ready[name]

    async def serves(self, bus: str) -> bool:
        """Tell whether the broker has queues that answer; it is asked only after one did not, until one does.

        A broker whose disk was full takes connections, has no queues any more and makes none; one silent queue is its inbox's trouble alone.
        """
        if not self._is_doubted:
            return True
        trial = f"lgsp.{bus.removeprefix('urn:lgsp:bus:')}.{TRIAL}"
        self._try_again(trial)
        try:
            await self.ensure(trial)
        except BrokerAwayError:
            return False
        self._is_doubted = False
        return True

    def miss(self, name: str) -> None:
        """Learn that a queue is not there any more, for somebody deleted it: it is declared again, and told of as lost, once."""
        ready = self._ready.get(name)
        if ready is not None and ready.done():
            del self._ready[name]
            self.lost(name)

    async def renew(self, name: str) -> None:
        """Delete a queue with all that it holds, which is told of as lost; raise `BrokerAwayError` when that cannot be."""
        get_logger().info("broker.queue_renewed", queue=name)
        await self._delete(name)
        self.miss(name)

    def names(self) -> list[str]:
        """Return the queues that are known to answer, or are being tried."""
        return list(self._ready)

    async def ensure(self, name: str) -> None:
        """Return when a queue is there and answers; raise `BrokerAwayError` when it cannot be had.

        Whoever gives up waiting leaves the work going on for the next.
        """
        ready = self._ready.get(name)
        if ready is None:
            ready = self._ready[name] = asyncio.get_running_loop().create_future()
            self.spawn(f"prepare {name}", self._prepare(name, ready))
        if not await asyncio.shield(ready):
            raise BrokerAwayError(name)

    async def count(self, name: str) -> Found:
        """Return how many messages are ready in a queue, those with a consumer not counted, and how many consumers it has."""
        await self.ensure(name)
        channel = await self.link.channel()
        try:
            return await self._declare(channel, name)
        finally:
            await close(channel)

    async def _prepare(self, name: str, ready: asyncio.Future[bool]) -> None:
        done = False
        try:
            done = await self._is_prepared(name)
        except BrokerAwayError:
            return
        finally:
            if not done:
                self._is_doubted = True
                if self._ready.get(name) is ready:
                    del self._ready[name]
            if not ready.done():
                ready.set_result(done)

    async def _is_prepared(self, name: str) -> bool:
        if f"'{name}'" in self.link.complaint:
            self._feared.add(name)
            self.link.complaint = ""  # heeded once: then the queue answers for itself
        await self._declare_anew(name)
        for number in range(self.probes):
            if await self._answers(name):
                return True
            if number % PROBES_BETWEEN == 0:
                await self._try_beside(name)
        await self._try_beside(name)
        # A queue declared within seconds of a kill comes back without a leader for good, and one whose disk was full may have no process any
        # more. The rows have all that it held.
        get_logger().warning("broker.queue_dead", queue=name)
        await self._delete(name)
        await self._declare_anew(name)
        self._feared.discard(name)
        self.lost(name)
        return await self._answers(name)

    async def _try_beside(self, name: str) -> None:
        """Make a queue beside a silent one and delete it again; raise `BrokerAwayError` when that cannot be: then no queue is to blame.

        While a node of a cluster stands still, the queues that it leads are silent until the others hold it for down (`net_ticktime`, a minute),
        and none can be made: both wait for its copy of what the broker knows of queues.
        """
        beside = f"{name}.{TRIAL}"
        channel = await self.link.channel()
        try:
            with broker_calls():
                await channel.declare_queue(beside, durable=True, arguments=TRIAL_ARGUMENTS, timeout=CALL_SECONDS)
        finally:
            await close(channel)
        await self._delete(beside)

    async def _declare_anew(self, name: str) -> None:
        channel = await self.link.channel()
        try:
            await self._declare(channel, name)
        finally:
            await close(channel)

    async def _declare(self, channel: AbstractChannel, name: str) -> Found:
        """Declare a queue and return what is found in it; one with other limits is left as it is, and told of."""
        if name in self._differing:
            return await self._declare_passively(name)
        try:
            with broker_calls():
                queue = await channel.declare_queue(
                    name, durable=True, arguments=arguments(self.inbox_bytes), timeout=CALL_SECONDS
                )
        except BrokerAwayError as error:
            if not isinstance(error.__cause__, ChannelPreconditionFailed):
                raise
            self._differing.add(name)
            get_logger().warning("broker.queue_differs", queue=name)
            return await self._declare_passively(name)
        return _found(queue)

    async def _declare_passively(self, name: str) -> Found:
        channel = await self.link.channel()
        try:
            with broker_calls():
                queue = await channel.declare_queue(name, passive=True, timeout=CALL_SECONDS)
            return _found(queue)
        finally:
            await close(channel)

    async def _answers(self, name: str) -> bool:
        """Tell whether a queue has a leader, after `PROBE_SECONDS` at the latest."""
        if name not in self._feared:
            return await _gives(await self.link.channel(), name)
        async with self.link.apart() as channel:
            try:
                answers = await _gives(channel, name)
            except BrokerAwayError:  # this connection too ended for its sake
                await asyncio.sleep(PROBE_SECONDS)
                return False
        if answers:
            self._feared.discard(name)
        return answers

    async def _delete(self, name: str) -> None:
        channel = await self.link.channel()
        try:
            with broker_calls():
                await channel.queue_delete(name, timeout=DELETE_SECONDS)
        finally:
            await close(channel)


async def _gives(channel: AbstractChannel, name: str) -> bool:
    """Tell whether a queue gives its first message, or says that it has none. The closed channel puts it back in front."""
    try:
        with broker_calls():
            queue = await channel.get_queue(name, ensure=False)
            await queue.get(fail=False, timeout=PROBE_SECONDS)
    except BrokerAwayError as error:
        if isinstance(error.__cause__, TimeoutError):
            return False
        raise
    finally:
        await close(channel)
    return True


def _found(queue: AbstractQueue) -> Found:
    told = queue.declaration_result
    return Found(ready=told.message_count or 0, consumers=told.consumer_count or 0)
