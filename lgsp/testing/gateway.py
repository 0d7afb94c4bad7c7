"""The gateway of a simulated bus: begins, listens on a port that stays the same, goes away, comes back, ends.

What it works on, and what a test does with it, is `simulator`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final, cast

from lgsp.bus.ingress import Ingress
from lgsp.bus.supervisor import Bus
from lgsp.domain.limits import Limits
from lgsp.domain.retry import RetryPolicy
from lgsp.errors import Defect
from lgsp.http.server import Running, serve
from lgsp.http.settings import HttpLimits
from lgsp.ports.clock import Clock, Entropy
from lgsp.ports.store import Store
from lgsp.testing.bus import running_bus
from lgsp.testing.faults import Gate
from lgsp.testing.world import World

HOST: Final = "127.0.0.1"
EDGE: Final = HttpLimits(retry_after=0.05, drain_seconds=0.5)
"""A client that is sent away comes back soon, and what it holds is not awaited for long: a test waits for both."""


@dataclass(slots=True, kw_only=True)
class Gateway:
    """A bus and its listener, over a store that outlives them."""

    store: Store
    clock: Clock
    entropy: Entropy
    retry: RetryPolicy
    limits: Limits
    gate: Gate
    _world: World | None = None
    _bus: Bus | None = None
    _server: Running | None = None
    _port: int = 0
    _life: asyncio.Task[None] | None = None
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def bus(self) -> Bus:
        """The bus while it runs."""
        if self._bus is None:
            raise Defect("the simulated bus does not run")
        return self._bus

    @property
    def url(self) -> str:
        """Where it listens, or did."""
        return f"http://{HOST}:{self._port}"

    @asynccontextmanager
    async def running(self, world: World) -> AsyncIterator[None]:
        """Run it for the length of a block; a store without a directory gets the world's."""
        self._world = world
        await self._begin()
        try:
            yield
        finally:
            await self._end()

    async def restart(self) -> None:
        """End in order and begin anew on what the store holds."""
        await self._end()
        await self._begin()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Close every connection and take none for the length of a block; the bus itself goes on."""
        await self._unlisten()
        try:
            yield
        finally:
            await self._listen()

    async def _begin(self) -> None:
        self._stop = asyncio.Event()
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A task of its own: what runs in the bus's task group must begin and end in one task, whoever asks for it.
        self._life = asyncio.create_task(self._live(begun))
        await asyncio.wait((begun, self._life), return_when=asyncio.FIRST_COMPLETED)
        if self._life.done():
            await self._life

    async def _live(self, begun: asyncio.Future[None]) -> None:
        if self._world is None:
            raise Defect("a gateway begins with a world")
        async with running_bus(
            self._world, self.store, clock=self.clock, entropy=self.entropy, limits=self.limits, retry=self.retry
        ) as self._bus:
            await self._listen()
            begun.set_result(None)
            try:
                await self._stop.wait()
            finally:
                await self._unlisten()

    async def _end(self) -> None:
        self._stop.set()
        if self._life is not None:
            await self._life

    async def _listen(self) -> None:
        self.gate.ingress = self.bus.ingress
        watched = replace(self.bus, ingress=cast("Ingress", self.gate))
        self._server = await serve(watched, host=HOST, port=self._port, settings=EDGE)
        self._port = self._server.port

    async def _unlisten(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.close()
