"""The connection to the broker, made again with growing pauses whenever it is lost. What lives on it is made anew by its users.

A plain connection rather than a robust one of the library: what was held on a lost channel is void, and nobody but us knows what to do then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.connection import make_url

from lgsp.logs import get_logger

CONNECT_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 5.0
CALL_SECONDS: Final = 5.0
"""How long one call to the broker may take."""
HEARTBEAT_SECONDS: Final = 10
"""Between signs of life: a broker that is silent for about three of them is given up."""
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
STEADY_SECONDS: Final = 5.0
"""A connection that lasted so long was a good one: the pause after it is the first again."""

for _library in ("aio_pika", "aiormq"):
    # They tell of every lost connection with a traceback; our own events tell of it in a line.
    logging.getLogger(_library).addHandler(logging.NullHandler())


class BrokerAwayError(Exception):
    """The broker did not do what it was asked: it is away, too slow, or closed the channel."""


@contextmanager
def broker_calls() -> Iterator[None]:
    """Raise `BrokerAwayError` for whatever goes wrong in the block's calls to the client library.

    When a connection ends, the library throws what it has into whoever waits: its own errors, a bare Exception, a cancellation.
    """
    try:
        yield
    except BrokerAwayError:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerAwayError("cancelled") from error
    except Exception as error:
        raise BrokerAwayError(type(error).__name__) from error


@dataclass(slots=True, kw_only=True)
class Link:
    """One connection of a gateway, for one `use`; `on_change` is called when it is there and when it is gone."""

    url: str = field(repr=False)
    use: str
    on_change: Callable[[], None]
    _connection: AbstractConnection | None = None
    _up: asyncio.Event = field(default_factory=asyncio.Event)
    reason: str = ""
    """Why there was no connection the last time that one was tried, as the library names it."""
    complaint: str = ""
    """Why the last connection ended, as the broker put it."""
    _said: str = ""

    @property
    def is_up(self) -> bool:
        """Whether the broker is connected."""
        return self._connection is not None

    async def wait(self, seconds: float) -> bool:
        """Return whether the broker is connected, after `seconds` at the latest."""
        try:
            async with asyncio.timeout(seconds):
                await self._up.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Keep the connection until cancelled."""
        pause, was_there = FIRST_PAUSE, False
        while True:
            lasted = await self._once()
            if lasted > STEADY_SECONDS or was_there != (lasted > 0):
                pause = FIRST_PAUSE  # a broker that is back, or gone, is another trouble than the one before
            was_there = lasted > 0
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _once(self) -> float:
        """Connect, stay connected as long as that lasts, and return how many seconds it did, 0 without a connection."""
        lost = asyncio.Event()
        connection = await self._connect(lost)
        if connection is None:
            return 0.0
        began = asyncio.get_running_loop().time()
        try:
            await self._serve(connection, lost)
        finally:
            await close(connection)
        return asyncio.get_running_loop().time() - began

    async def channel(self, *, confirms: bool = False) -> AbstractChannel:
        """Open a channel; raise `BrokerAwayError` while there is no connection.

        With `confirms` a message that no queue takes raises: otherwise the library reports it as delivered.
        """
        if self._connection is None:
            raise BrokerAwayError("not connected")
        return await _open(self._connection, confirms=confirms)

    @asynccontextmanager
    async def apart(self) -> AsyncGenerator[AbstractChannel]:
        """Open a channel on a connection of its own, for what might end it; raise `BrokerAwayError` when it cannot be had."""
        connection = await self._new()
        try:
            yield await _open(connection)
        finally:
            await close(connection)

    async def _connect(self, lost: asyncio.Event) -> AbstractConnection | None:
        try:
            connection = await self._new()
        except BrokerAwayError as error:
            self.reason = str(error)
            self._say("broker.away", reason=self.reason)
            return None
        connection.close_callbacks.add(lambda _, error: self._end(lost, error))
        if not connection.connected.is_set():  # lost before anybody could be told
            lost.set()
        return connection

    def _end(self, lost: asyncio.Event, error: BaseException | None) -> None:
        self.complaint = str(error or "")
        lost.set()

    async def _new(self) -> AbstractConnection:
        # Not the library's `connect`: what it leaves behind when it fails is closed by the garbage collector, in whatever thread that runs.
        with broker_calls():
            address = make_url(self.url, heartbeat=HEARTBEAT_SECONDS)
            connection = aio_pika.Connection(address, client_properties={"connection_name": f"lgsp {self.use}"})
        try:
            with broker_calls():
                async with asyncio.timeout(CONNECT_SECONDS):
                    await connection.connect()
        except BrokerAwayError:
            await close(connection)
            raise
        return connection

    async def _serve(self, connection: AbstractConnection, lost: asyncio.Event) -> None:
        self._connection = connection
        self._up.set()
        self._say("broker.connected")
        self.on_change()
        try:
            await lost.wait()
        finally:
            self._connection = None
            self._up.clear()
            self.on_change()
        self._say("broker.away", reason="lost")

    def _say(self, event: str, **fields: str) -> None:
        """Tell of a change once, not of every try."""
        if event != self._said:
            self._said = event
            level = logging.INFO if event == "broker.connected" else logging.WARNING
            get_logger().log(level, event, use=self.use, **fields)


async def _open(connection: AbstractConnection, *, confirms: bool = False) -> AbstractChannel:
    with broker_calls():
        async with asyncio.timeout(CALL_SECONDS):
            return await _opened(connection.channel(publisher_confirms=confirms, on_return_raises=confirms))


async def _opened(channel: Any) -> AbstractChannel:  # noqa: ANN401 - the library's channel is its own awaitable, untyped as such
    opened: AbstractChannel = await channel
    return opened


async def close(closing: AbstractConnection | AbstractChannel) -> None:
    """Close a connection or channel that may be gone already."""
    try:
        with broker_calls():
            async with asyncio.timeout(CLOSE_SECONDS):
                await closing.close()
    except (BrokerAwayError, TimeoutError):
        return  # gone is what was wanted
