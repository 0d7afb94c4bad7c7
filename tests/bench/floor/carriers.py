"""How the floor's gateway brings what it accepted to where it hands out: in memory, or through a quorum queue with confirms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import aio_pika
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustConnection

from lgsp.domain import sealing, statements
from lgsp.domain.envelope import Wire
from lgsp.domain.statements import Statement
from tests.bench.floor.ledger import Accept

Parcel = tuple[Statement, Wire]
HandOut = Callable[[Sequence[Parcel]], None]
QUEUE: Final = "floor"
PREFETCH: Final = 512
CONFIRM_SECONDS: Final = 30.0


class Carrier(Protocol):
    async def carry(self, accepted: Sequence[tuple[Accept, Statement]]) -> None:
        """Return when all of it is safe with the carrier."""

    async def close(self) -> None:
        """Let go of it."""


class InMemory:
    """The rows are the queue: nothing is carried."""

    def __init__(self, hand_out: HandOut) -> None:
        self._hand_out = hand_out

    async def carry(self, accepted: Sequence[tuple[Accept, Statement]]) -> None:
        self._hand_out([(receipt, each.wire) for each, receipt in accepted])

    async def close(self) -> None:
        """There is nothing."""


class QuorumQueue:
    """One durable queue; a body travels sealed, its envelope and receipt as headers."""

    def __init__(self, connection: AbstractRobustConnection, key: bytes, hand_out: HandOut) -> None:
        self._connection = connection
        self._key = key
        self._hand_out = hand_out
        self._arrived: list[AbstractIncomingMessage] = []

    @classmethod
    async def open(cls, url: str, key: bytes, hand_out: HandOut) -> QuorumQueue:
        carrier = cls(await aio_pika.connect_robust(url, timeout=CONFIRM_SECONDS), key, hand_out)
        await carrier._open_channels()
        return carrier

    async def _open_channels(self) -> None:
        self._out = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        incoming = await self._connection.channel(publisher_confirms=False)
        await incoming.set_qos(prefetch_count=PREFETCH)
        queue = await incoming.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        await queue.consume(self._arrive)

    async def carry(self, accepted: Sequence[tuple[Accept, Statement]]) -> None:
        async with asyncio.timeout(CONFIRM_SECONDS):
            await asyncio.gather(*(self._publish(each, receipt) for each, receipt in accepted))

    async def _publish(self, accept: Accept, receipt: Statement) -> None:
        message = aio_pika.Message(
            accept.sealed,
            message_id=accept.env,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            headers={"lgsp-env": accept.wire.compact.decode(), "lgsp-rcpt": receipt.text()},
        )
        await self._out.default_exchange.publish(message, QUEUE, mandatory=True)

    async def _arrive(self, message: AbstractIncomingMessage) -> None:
        """Gather what comes in one turn of the loop; the last acknowledges all before it."""
        self._arrived.append(message)
        if len(self._arrived) == 1:
            asyncio.get_running_loop().call_soon(self._turn_over)

    def _turn_over(self) -> None:
        messages, self._arrived = self._arrived, []
        self._hand_out([self._parcel(message) for message in messages])
        self._acking = asyncio.ensure_future(messages[-1].ack(multiple=True))

    def _parcel(self, message: AbstractIncomingMessage) -> Parcel:
        env = str(message.message_id)
        body = sealing.open_sealed(self._key, env, message.body)
        compact = str(message.headers["lgsp-env"]).encode()
        return statements.from_text(str(message.headers["lgsp-rcpt"])), Wire(compact=compact, body=body)

    async def close(self) -> None:
        await self._connection.close()
