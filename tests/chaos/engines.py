"""What a bus stands on: nothing, a broker, a broker and a database, each a private server that can be killed, paused, filled up.

Servers are shared by the runs of a test session; each run has links of its own to them, and a database.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from lgsp.privatebroker import PrivateServer
from lgsp.privatedatabase import PrivateDatabase
from tests.bench.database import create
from tests.chaos.disk import Room, may_mount, own_disk
from tests.chaos.proxy import Proxy

SMALL_LOG: Final = "max_wal_size = 128MB\nmin_wal_size = 32MB"
CARRIER: Final = "LGSP_TRANSPORT__"
STORAGE: Final = "LGSP_STORAGE__"


class Server(Protocol):
    """A private server."""

    port: int

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""

    def start(self) -> None:
        """Start it on what it holds."""

    def kill(self) -> None:
        """End it at once."""

    def paused(self) -> AbstractContextManager[None]:
        """Let it stand still."""


@dataclass(slots=True, kw_only=True)
class Victim:
    """A server that faults may strike."""

    name: str
    server: Server
    room: Room | None = None
    survives_full_disk: bool = True
    """Whether it goes on by itself, or ends; RabbitMQ does neither: it runs on without its quorum queues until somebody starts it anew."""

    async def kill(self) -> None:
        """End it without a word of warning."""
        await asyncio.to_thread(self.server.kill)

    async def start(self) -> None:
        """Start it on what it holds."""
        await asyncio.to_thread(self.server.start)

    async def revive(self) -> None:
        """Start it when it has ended by itself, as an operator does after a full disk."""
        if not self.server.is_running:
            await self.start()

    async def make_room(self) -> None:
        """Let there be room on its disk again, as an operator does."""
        await asyncio.to_thread(self.room.make_room)
        if not self.survives_full_disk:
            await self.kill()
            await self.start()

    def paused(self) -> AbstractContextManager[None]:
        """Let it stand still until the block ends."""
        return self.server.paused()


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One engine: one server, or the nodes of a cluster; `url` is the first one's, and holds the password."""

    url: str = field(repr=False)
    victims: Sequence[Victim]
    leader: Callable[[], Victim] | None = None
    """Which of a cluster's nodes leads its queues just now; blocks for a second or two."""

    @property
    def ports(self) -> list[int]:
        """Where its servers listen."""
        return [victim.server.port for victim in self.victims]


@dataclass(slots=True, kw_only=True)
class Ground:
    """What one run stands on."""

    victims: dict[str, Victim] = field(default_factory=dict)
    links: dict[str, Proxy] = field(default_factory=dict)
    linked: dict[str, str] = field(default_factory=dict)
    """Variables of a gateway's environment: it reaches its engines by links."""
    direct: dict[str, str] = field(default_factory=dict)
    """The same without links, for whoever founds and audits."""

    leader: Callable[[], Victim] | None = None
    """Which of the broker's nodes leads, where it has several."""

    @property
    def database(self) -> str:
        """The database's own address, or nothing."""
        return self.direct.get(f"{STORAGE}URL", "")

    @property
    def broker(self) -> str:
        """The broker's own address, or nothing."""
        return self.direct.get(f"{CARRIER}URL", "")


@asynccontextmanager
async def ground(name: str, *, broker: Engine | None, database: Engine | None) -> AsyncIterator[Ground]:
    """Give a run its links and a database of its own until the block ends."""
    found = Ground()
    async with AsyncExitStack() as links:
        if broker is not None:
            await _link(found, links, "broker", broker, CARRIER, kind="rabbitmq", url=broker.url)
            found.leader = broker.leader
        if database is not None:
            url = await create(database.victims[0].server, name)
            await _link(found, links, "database", database, STORAGE, kind="postgresql", url=url)
        yield found


async def _link(
    found: Ground, links: AsyncExitStack, name: str, engine: Engine, prefix: str, *, kind: str, url: str
) -> None:
    proxy = await links.enter_async_context(Proxy(targets=engine.ports).running())
    found.links[name] = proxy
    found.victims |= {victim.name: victim for victim in engine.victims}
    found.direct |= {f"{prefix}KIND": kind, f"{prefix}URL": url}
    found.linked |= {f"{prefix}KIND": kind, f"{prefix}URL": url.replace(f":{engine.ports[0]}/", f":{proxy.port}/")}


@contextmanager
def one_broker(folder: Path) -> Iterator[Engine]:
    """Run a broker until the block ends, on a disk of its own where that is permitted."""
    with _place("broker", folder) as (path, room):
        server = PrivateServer(folder=path)
        try:
            server.start()
            yield Engine(
                url=server.url, victims=[Victim(name="broker", server=server, room=room, survives_full_disk=False)]
            )
        finally:
            server.stop()


@contextmanager
def one_database(folder: Path) -> Iterator[Engine]:
    """Run a database until the block ends, on a disk of its own where that is permitted."""
    with _place("database", folder) as (path, room):
        server = PrivateDatabase(folder=path, extra=SMALL_LOG)
        try:
            server.start()
            yield Engine(url=server.url(), victims=[Victim(name="database", server=server, room=room)])
        finally:
            server.stop()


@contextmanager
def _place(name: str, otherwise: Path) -> Iterator[tuple[Path, Room | None]]:
    if not may_mount():
        yield otherwise, None
        return
    with own_disk(name) as disk:
        yield disk.path / "held", disk
