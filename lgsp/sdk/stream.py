"""The stream to a gateway: one WebSocket at a time, opened again and again, frames in and out (protocol section 6).

With several addresses each next stream is tried at the next of them: any gateway of a bus takes up where another left off.

What frames mean is its listener's part, and everything that must not be lost is in the box: frames put while no stream is open are dropped,
because the listener sends what is due each time one opens.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn, Protocol

import aiohttp

from lgsp.domain import framing
from lgsp.domain.limits import LIMITS
from lgsp.domain.records import BODY_MOST
from lgsp.logs import get_logger
from lgsp.sdk import frames
from lgsp.sdk.frames import Welcome

PATH: Final = "/v1/stream"
LARGEST_FRAME: Final = LIMITS.frame_bytes + (BODY_MOST + 2) // 3 * 4
"""Bytes of the largest frame that a gateway has reason to send: the largest body that a service may allow, in base64url, with room."""
FRAMES_PER_TURN: Final = 64
"""Frames read before others on the loop get their turn."""

Socket = aiohttp.ClientWebSocketResponse[Literal[False]]
"""A WebSocket whose texts come as bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds of the connection."""

    connect: float = 10.0
    first: float = 0.1
    """The first pause before connecting again; it doubles up to `longest`."""
    longest: float = 10.0
    ping: float = 20.0
    silence: float = 60.0
    """After so long without any frame the stream is given up."""
    steady: float = 5.0
    """A stream that lasted so long was a good one: the next pause is the first again."""


class Listener(Protocol):
    """What the stream tells of."""

    def opened(self, welcome: Welcome) -> None:
        """A stream is open."""

    async def hear(self, found: Sequence[dict[str, Any]]) -> None:
        """Take the frames of a message in their order; raise `BadFrame` to give the stream up."""

    def closed(self) -> None:
        """The stream is gone."""

    def ended(self, url: str, ended: Ended) -> None:
        """A stream to an address could not be had, or came to its end."""


class Ended(Exception):
    """The stream came to its end; `reason` is a word of the protocol or the kind of error, `after` what the gateway asks to wait.

    It is `for_good` where the gateway says that no waiting changes its answer.
    """

    def __init__(self, reason: str, *, after: float = 0.0, for_good: bool = False) -> None:
        self.reason = reason
        self.after = after
        self.for_good = for_good
        super().__init__(reason)


class Stream:
    """One stream after the other."""

    def __init__(
        self,
        *,
        urls: Sequence[str],
        system: str,
        http: aiohttp.ClientSession,
        authorize: Callable[[Welcome], str],
        listener: Listener,
        chance: Callable[[], float],
        pace: Pace,
    ) -> None:
        self.is_open = asyncio.Event()
        self._urls = itertools.cycle(urls)
        self.url = next(self._urls)
        self._system = system
        self._http = http
        self._authorize = authorize
        self._listener = listener
        self._chance = chance
        self._pace = pace
        self._waiting: deque[bytes] = deque()
        self._bell = asyncio.Event()
        self._heard = 0.0

    def put(self, frame: bytes) -> None:
        """Send a frame; it joins those that wait, and is dropped when no stream is open."""
        if self.is_open.is_set():
            self._waiting.append(frame)
            self._bell.set()

    async def run(self) -> None:
        """Keep a stream open until cancelled."""
        pause = self._pace.first
        while True:
            began = self._now()
            ended = await self._once()
            self._listener.ended(self.url, ended)
            lasted = self._now() - began
            pause = self._pace.first if lasted > self._pace.steady else min(pause * 2, self._pace.longest)
            get_logger().warning("client.disconnected", url=self.url, reason=ended.reason)
            self.url = next(self._urls)
            await asyncio.sleep(max(ended.after, pause * (0.5 + self._chance() / 2)))

    async def _once(self) -> Ended:
        try:
            async with asyncio.timeout(self._pace.connect):
                socket = await self._http.ws_connect(
                    self.url + PATH,
                    protocols=framing.SUBPROTOCOLS,
                    max_msg_size=LARGEST_FRAME,
                    decode_text=False,
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Ended(type(error).__name__)
        try:
            await self._serve(socket)
        except Ended as ended:
            return ended
        finally:
            await self._leave(socket)

    async def _leave(self, socket: Socket) -> None:
        was_open = self.is_open.is_set()
        self.is_open.clear()
        self._waiting.clear()
        if was_open:
            self._listener.closed()
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with asyncio.timeout(self._pace.connect):
                await socket.close()

    async def _serve(self, socket: Socket) -> NoReturn:
        first = await self._greet(socket)
        try:
            async with asyncio.TaskGroup() as tasks:
                others = [tasks.create_task(self._write(socket)), tasks.create_task(self._beat())]
                try:
                    await self._read(socket, first)
                finally:
                    for task in others:
                        task.cancel()
        except* Ended as ended:
            this = asyncio.current_task()
            if this is not None and this.cancelling():
                # Python 3.11 drops a cancellation that meets a group which is ending already.
                raise asyncio.CancelledError from None
            raise _first(ended) from None

    async def _greet(self, socket: Socket) -> list[dict[str, Any]]:
        """Say hello and return the first frames after it: until then the gateway may still say no."""
        try:
            async with asyncio.timeout(self._pace.connect):
                welcome = frames.welcome((await self._receive(socket))[0])
                for frame in (frames.hello(self._authorize(welcome)), frames.PING):
                    await socket.send_frame(frame, aiohttp.WSMsgType.TEXT)
                first = await self._receive(socket)
        except (frames.BadFrame, TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Ended(type(error).__name__) from None
        _refuse_closing(first[0])
        self.is_open.set()
        get_logger().info("client.connected", url=self.url, system=self._system)
        self._listener.opened(welcome)
        return first

    async def _read(self, socket: Socket, first: list[dict[str, Any]]) -> NoReturn:
        count, found = 0, first
        while True:
            await self._handle(found)
            count += len(found)
            if count >= FRAMES_PER_TURN:
                count = 0
                await asyncio.sleep(0)
            found = await self._receive(socket)

    async def _handle(self, found: list[dict[str, Any]]) -> None:
        """Take the frames of a message; nothing comes after a goodbye."""
        last = next((place for place, frame in enumerate(found) if frame["op"] == "closing"), None)
        try:
            await self._listener.hear(found[:last])
        except frames.BadFrame as error:
            raise Ended(str(error)) from None
        if last is not None:
            _refuse_closing(found[last])

    async def _receive(self, socket: Socket) -> list[dict[str, Any]]:
        try:
            message = await socket.receive()
        except (aiohttp.ClientError, OSError):  # answering a ping of a gateway that has just gone
            raise Ended("broken") from None
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise Ended("closed" if message.type is not aiohttp.WSMsgType.ERROR else "broken")
        self._heard = self._now()
        try:
            return frames.parse(message.data, grouped=socket.protocol == framing.GROUPED)
        except frames.BadFrame as error:
            raise Ended(str(error)) from None

    async def _write(self, socket: Socket) -> None:
        """Write all that waits in one go; the transport joins it."""
        grouped = socket.protocol == framing.GROUPED
        with contextlib.suppress(aiohttp.ClientError, OSError):  # the reader learns of the end and says why
            while True:
                await self._bell.wait()
                self._bell.clear()
                while self._waiting:
                    group = framing.next_group(self._waiting, grouped=grouped)
                    await socket.send_frame(framing.message_of(group), aiohttp.WSMsgType.TEXT)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._pace.ping)
            if self._now() - self._heard > self._pace.silence:
                raise Ended("silence")
            self.put(frames.PING)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _refuse_closing(frame: dict[str, Any]) -> None:
    """Raise when the gateway says goodbye: with the code of its problem where it gives one."""
    if frame["op"] != "closing":
        return
    given = frame.get("problem")
    problem = given if isinstance(given, dict) else {}
    reason = str(problem.get("code") or frame.get("reason") or "closing")
    after = frames.seconds(frame, "retry_after", most=60.0)
    raise Ended(reason, after=after, for_good=problem.get("retryable") is False)


def _first(group: ExceptionGroup[Ended]) -> Ended:
    found: Ended | ExceptionGroup[Ended] = group
    while isinstance(found, ExceptionGroup):
        found = found.exceptions[0]
    return found
