"""One inbox's consumers: a channel with a consumer for each lane, and what they have brought, not yet answered for.

What is buffered is bounded by the prefetch, the same for every consumer: whoever reads the queue next gets at least what came back from the
last, and puts it in order. Closing the channel gives everything back in its place; a nack would put it behind all others.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from lgsp.backends.rabbitmq.answering import Unanswered
from lgsp.backends.rabbitmq.carrier import Carried, MismatchError, read_message
from lgsp.backends.rabbitmq.connection import CALL_SECONDS, BrokerAwayError, Link, broker_calls, close
from lgsp.backends.rabbitmq.topology import Topology
from lgsp.domain.lanes import LANES, Turns
from lgsp.domain.records import Lane

PREFETCH: Final = 64
"""Messages of one lane that are brought and not answered for: at the most a quarter of a usual body limit of 64 KiB each, 4 MiB."""
ARRIVAL_SECONDS: Final = 2.0
"""How long the first take waits for what the broker says is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A message that does not agree with itself."""

    message: AbstractIncomingMessage
    env: str
    what: str


@dataclass(slots=True, kw_only=True)
class Reader:
    """What one inbox has brought; `ring` is called when there is something new, or when the channel was lost."""

    queues: Mapping[Lane, str]
    link: Link
    topology: Topology
    ring: Callable[[], None]
    suspects: list[Suspect] = field(default_factory=list)
    used_at: float = 0.0
    """When somebody last took, on the loop's clock."""
    failed: bool = False
    """Whether the channel could not be opened at the last try, though somebody wanted it."""
    _turns: Turns = field(default_factory=Turns)
    _buffers: dict[Lane, list[Carried]] = field(default_factory=lambda: {lane: [] for lane in LANES})
    _taken: dict[str, Carried] = field(default_factory=dict)
    _channel: AbstractChannel | None = None
    _unanswered: Unanswered | None = None
    """Of the open channel."""
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _arrival: asyncio.Event = field(default_factory=asyncio.Event)
    _arrived: int = 0
    """How many messages the channel has brought."""

    @property
    def is_open(self) -> bool:
        """Whether consumers run."""
        return self._channel is not None

    @property
    def is_opening(self) -> bool:
        """Whether somebody waits for the consumers to bring what is there."""
        return self._opening.locked()

    @property
    def has_taken(self) -> bool:
        """Whether something was taken whose row is being leased."""
        return bool(self._taken)

    @property
    def buffered(self) -> dict[Lane, int]:
        """How many messages of each lane wait here to be taken."""
        return {lane: len(buffer) for lane, buffer in self._buffers.items()}

    async def open(self) -> None:
        """Start the consumers unless they run, and wait a moment for what is there; raise `BrokerAwayError` when that cannot be."""
        async with self._opening:
            if self._channel is not None:
                return
            self.failed = True
            await asyncio.gather(*map(self.topology.ensure, self.queues.values()))
            channel = await self.link.channel()
            try:
                await self._consume(channel)
            except BaseException:
                self._lose(channel)
                await close(channel)
                raise
            self.failed = False

    async def _consume(self, channel: AbstractChannel) -> None:
        expected = self._arrived = 0
        with broker_calls():
            # For each consumer by itself: a limit for the whole channel closes the connection on quorum queues.
            await channel.set_qos(prefetch_count=PREFETCH, global_=False, timeout=CALL_SECONDS)
            underlay = await channel.get_underlay_channel()
        self._channel, self._unanswered = channel, Unanswered(channel=underlay)
        channel.close_callbacks.add(lambda *_: self._lose(channel))
        underlay.on_consumer_cancel_callbacks.add(lambda _: self._give_up(channel))
        for lane, name in self.queues.items():
            with broker_calls():
                queue = await channel.declare_queue(name, passive=True, timeout=CALL_SECONDS)
                await queue.consume(partial(self._arrive, channel, lane), timeout=CALL_SECONDS)
            expected += min(queue.declaration_result.message_count or 0, PREFETCH)
        await self._wait_for(expected)

    async def _wait_for(self, expected: int) -> None:
        try:
            async with asyncio.timeout(ARRIVAL_SECONDS):
                while self._arrived < expected and self._channel is not None:
                    self._arrival.clear()
                    await self._arrival.wait()
        except TimeoutError:
            return  # somebody else has taken them meanwhile, or they ended there

    async def _arrive(self, channel: AbstractChannel, lane: Lane, message: AbstractIncomingMessage) -> None:
        if channel is not self._channel or self._unanswered is None:
            return  # of a channel that is given up: the broker has it back
        self._unanswered.bring(_number(message))
        try:
            carried = read_message(message, lane)
        except MismatchError as error:
            self.suspects.append(Suspect(message=message, env=error.env, what=str(error)))
        else:
            if self._holds(carried):
                await self._answer_for([message])
            else:
                insort(self._buffers[lane], carried, key=_order)
        self._arrived += 1
        self._arrival.set()
        self.ring()

    def _holds(self, carried: Carried) -> bool:
        """Tell whether the same delivery is here already: it was published twice, for the first confirmation was lost."""
        return carried.env in self._taken or any(each.env == carried.env for each in self._buffers[carried.lane])

    def draw(self, limit: int, *, bulk: int | None = None) -> list[Carried]:
        """Take up to `limit` of what is buffered, by the lanes' turns; what a lane leaves unused goes to the others, to bulk up to `bulk`."""
        shares = self._turns.shares(limit, bulk=bulk)
        drawn = [carried for lane in LANES for carried in self._pop(lane, shares[lane])]
        for lane in LANES:
            most = limit if lane != "bulk" or bulk is None else bulk - shares[lane]
            drawn += self._pop(lane, min(limit - len(drawn), most))
        self._taken.update((carried.env, carried) for carried in drawn)
        return drawn

    def _pop(self, lane: Lane, count: int) -> list[Carried]:
        buffer = self._buffers[lane]
        popped, buffer[:] = buffer[: max(count, 0)], buffer[max(count, 0) :]
        return popped

    async def drop(self, envs: Iterable[str]) -> None:
        """Answer for what was taken; what is not held, or was on a channel that is lost, is passed over."""
        found = [self._taken.pop(env) for env in envs if env in self._taken]
        await self._answer_for([carried.message for carried in found])

    async def clear_suspects(self, handled: Sequence[Suspect]) -> None:
        """Answer for messages that were reported, unless their channel was lost meanwhile: the broker brings them again."""
        known = [suspect for suspect in handled if suspect in self.suspects]
        self.suspects[:] = [suspect for suspect in self.suspects if suspect not in known]
        await self._answer_for([suspect.message for suspect in known])

    def put_back(self, envs: Iterable[str]) -> None:
        """Let what was taken come again, in its place."""
        for carried in [self._taken.pop(env) for env in envs if env in self._taken]:
            insort(self._buffers[carried.lane], carried, key=_order)

    async def _answer_for(self, messages: Sequence[AbstractIncomingMessage]) -> None:
        unanswered = self._unanswered
        if unanswered is None or not messages:
            return  # with its channel the broker takes them back, and their rows say that they are done with
        try:
            with broker_calls():
                # The library leaves whoever waits for a place among the frames to be written waiting for ever when the connection ends before.
                async with asyncio.timeout(CALL_SECONDS):
                    await unanswered.answer([_number(message) for message in messages])
        except BrokerAwayError:
            return  # as above

    async def close(self) -> None:
        """Stop the consumers; what is here and not answered for goes back to the broker, in its place."""
        channel = self._channel
        if channel is not None:
            self._lose(channel)
            await close(channel)

    def _give_up(self, channel: AbstractChannel) -> None:
        """Leave a channel of which the broker cancelled a consumer, for its queue was deleted: closed, it gives back what the others brought."""
        self._lose(channel)
        self.topology.spawn("close a channel", close(channel))
        for name in self.queues.values():  # which of them it was the broker does not say
            self.topology.miss(name)

    def _lose(self, channel: AbstractChannel) -> None:
        """Forget what the channel brought: it is void, the broker gives it out anew."""
        if channel is not self._channel:
            return
        self._channel = self._unanswered = None
        self._taken.clear()
        self.suspects.clear()
        for buffer in self._buffers.values():
            buffer.clear()
        self._arrival.set()
        self.ring()


def _order(carried: Carried) -> int:
    return carried.order


def _number(message: AbstractIncomingMessage) -> int:
    """Return the number that the channel knows a message by."""
    return int(message.delivery_tag or 0)
