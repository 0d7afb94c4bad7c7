"""A network of our own between two programs: a loopback TCP proxy that can be cut, refuse, stall, drop answers, be slow or narrow.

It knows nothing of what passes. With several targets it goes round them, and past those that take no connection, as a balancer before a cluster
does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

from lgsp.privateserver import free_port

HOST: Final = "127.0.0.1"
CHUNK: Final = 64 * 1024
CONNECT_SECONDS: Final = 5.0
SLOW_SECONDS: Final = 0.15
NARROW_BYTES: Final = 64 * 1024
"""Bytes a second and direction of a connection over a narrow network."""

Trouble = Literal["cut", "refuse", "stall", "mute", "slow", "narrow"]
TROUBLES: Final[tuple[Trouble, ...]] = ("cut", "refuse", "stall", "mute", "slow", "narrow")
"""`cut` breaks every connection once; `refuse` takes none for a while; `stall` lets nothing pass, with connections open; `mute` lets requests
through and loses the answers; the last two let all pass, late or little at a time."""


@dataclass(slots=True, kw_only=True)
class Proxy:
    """One link; `targets` are loopback ports."""

    targets: Sequence[int]
    port: int = field(default_factory=free_port)
    trouble: Trouble | None = None
    connections: int = 0
    """How many were taken so far."""
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _flowing: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        """Pass everything on until the block ends."""
        self._flowing.set()
        await self._listen()
        try:
            yield self
        finally:
            self._hang_up()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self.cut()

    async def suffer(self, trouble: Trouble, seconds: float) -> None:
        """Be in trouble for so many seconds, then well again; what was half-open or lost answers is cut at the end."""
        self.trouble = trouble
        try:
            await self._begin(trouble)
            if trouble != "cut":
                await asyncio.sleep(seconds)
        finally:
            self.trouble = None
            self._flowing.set()
            if trouble == "mute":
                self.cut()
            if self._server is None:
                await self._listen()

    async def _begin(self, trouble: Trouble) -> None:
        if trouble == "refuse":
            self._hang_up()
        if trouble in {"cut", "refuse"}:
            self.cut()
        if trouble == "stall":
            self._flowing.clear()

    def cut(self) -> None:
        """Break every connection, without a word to either side."""
        for writer in self._open:
            writer.transport.abort()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._take, HOST, self.port, limit=CHUNK)

    def _hang_up(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        self.connections += 1
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError):
            return  # one of the two ends is gone: the other is told below, by the end of its connection
        except asyncio.CancelledError:
            return  # the end of the block; the server's own callback would report a cancellation as a failure
        finally:
            writer.transport.abort()
            self._open.discard(writer)
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flowing.wait()
        far_reader, far_writer = await self._connect()
        self._open.add(far_writer)
        try:
            there = asyncio.ensure_future(self._pump(reader, far_writer, answers=False))
            back = asyncio.ensure_future(self._pump(far_reader, writer, answers=True))
            try:
                await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in (there, back):
                    pump.cancel()
                await asyncio.gather(there, back, return_exceptions=True)
        finally:
            far_writer.transport.abort()
            self._open.discard(far_writer)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        first = self.connections % len(self.targets)
        for port in (*self.targets[first:], *self.targets[:first]):
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(HOST, port, limit=CHUNK)
        raise ConnectionRefusedError

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        while data := await reader.read(self._most):
            await self._flowing.wait()
            if self.trouble == "mute" and answers:
                continue
            if self.trouble == "slow":
                await asyncio.sleep(SLOW_SECONDS)
            elif self.trouble == "narrow":
                await asyncio.sleep(len(data) / NARROW_BYTES)
            writer.write(data)
            await writer.drain()

    @property
    def _most(self) -> int:
        return CHUNK // 16 if self.trouble == "narrow" else CHUNK
