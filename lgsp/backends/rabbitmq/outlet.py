"""Publishing: each parcel to its lane's queue, confirmed by the broker or not placed. All calls share one channel and are confirmed together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import DeliveryError, PublishError

from lgsp.backends.rabbitmq.carrier import to_message
from lgsp.backends.rabbitmq.connection import BrokerAwayError, Link, broker_calls, close
from lgsp.backends.rabbitmq.topology import Spawn, Topology, queue_name
from lgsp.ports.clock import Clock
from lgsp.ports.inboxes import Parcel
from lgsp.ports.transport import Placed

PUBLISH_SECONDS: Final = 5.0
"""How long a group of parcels may take: a broker that is short of disk or memory, or a queue without a leader, confirms nothing and says nothing."""


WRITTEN_AT_ONCE: Final = 16
"""Messages of a channel that are written before one is waited for until it is on its way: a broker that reads nothing fills no more of the memory."""


@dataclass(slots=True, kw_only=True)
class Outlet:
    """The publishing side of one gateway."""

    bus: str
    link: Link
    topology: Topology
    clock: Clock
    spawn: Spawn
    seconds: float = PUBLISH_SECONDS
    _channel: AbstractChannel | None = None
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _sent: Iterator[int] = field(default_factory=count)
    _flying: dict[str, asyncio.Event] = field(default_factory=dict)

    async def publish(self, parcels: Sequence[Parcel]) -> list[Placed]:
        """Publish parcels and return what became of each, after `seconds` at the latest."""
        placed: list[Placed] = ["unavailable"] * len(parcels)
        try:
            async with asyncio.timeout(self.seconds):
                await asyncio.gather(*(self._place(parcel, placed, at) for at, parcel in enumerate(parcels)))
        except TimeoutError:
            self.renew()
            for parcel, word in zip(parcels, placed, strict=True):
                if word == "unavailable":
                    self.topology.forget(self._queue_of(parcel))
        return placed

    def renew(self) -> None:
        """Use another channel from now on; what waits on this one has until its own limit."""
        channel, self._channel = self._channel, None
        if channel is not None:
            self.spawn("close a channel", close(channel))

    async def _place(self, parcel: Parcel, placed: list[Placed], at: int) -> None:
        env = parcel.delivery.env
        # No other message of this id is to be on its way: the library tells by the id alone which message the broker returned.
        while (other := self._flying.get(env)) is not None:
            await other.wait()
        done = self._flying[env] = asyncio.Event()
        try:
            placed[at] = await self._publish(parcel)
        except BrokerAwayError:
            placed[at] = "unavailable"
        finally:
            del self._flying[env]
            done.set()

    async def _publish(self, parcel: Parcel) -> Placed:
        try:
            await self._send(parcel)
        except PublishError:
            # No such queue any more: somebody deleted it. It is declared again, once.
            self.topology.miss(self._queue_of(parcel))
            try:
                await self._send(parcel)
            except DeliveryError:
                return "unavailable"
        except DeliveryError:
            return "inbox_full"
        return "queued"

    async def _send(self, parcel: Parcel) -> None:
        """Publish one parcel; raise `DeliveryError` when the broker says no, `BrokerAwayError` when it says nothing."""
        name = self._queue_of(parcel)
        await self.topology.ensure(name)
        channel = await self._open_channel()
        try:
            with broker_calls():
                message = to_message(parcel, now=self.clock.now())
                underlay = await channel.get_underlay_channel()
                await underlay.basic_publish(  # type: ignore[call-arg] # `wait` is missing in the library's types alone
                    message.body,
                    routing_key=name,
                    properties=message.properties,
                    mandatory=True,
                    wait=next(self._sent) % WRITTEN_AT_ONCE == 0,
                )
        except BrokerAwayError as error:
            if isinstance(error.__cause__, DeliveryError):
                raise error.__cause__ from None
            raise

    async def _open_channel(self) -> AbstractChannel:
        async with self._opening:
            if self._channel is None or self._channel.is_closed:
                self._channel = await self.link.channel(confirms=True)
            return self._channel

    def _queue_of(self, parcel: Parcel) -> str:
        return queue_name(self.bus, parcel.delivery.to, parcel.delivery.lane)
