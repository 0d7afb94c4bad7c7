"""What runs beside the demo's gateway: nothing, a private RabbitMQ server, or a private PostgreSQL server and RabbitMQ with it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal, Protocol, get_args

from lgsp.errors import Unusable
from lgsp.privatebroker import PrivateServer
from lgsp.privatedatabase import PrivateDatabase

Engine = Literal["rabbitmq", "postgresql"]
ENGINES: Final[tuple[Engine, ...]] = get_args(Engine)
NOTHING: Final = "embedded"


class Wish(Protocol):
    """What of a plan matters here."""

    @property
    def data(self) -> Path:
        """The demo's folder."""

    @property
    def engines(self) -> frozenset[Engine]:
        """What is to run."""


class Announcer(Protocol):
    """Who tells the audience."""

    def act(self, name: str) -> None:
        """Announce what happens next."""


def engines_of(text: str) -> frozenset[Engine]:
    """Return the engines that are named, separated by commas; refuse as `config_invalid` what is none.

    PostgreSQL brings RabbitMQ with it: the two together are the shape that outgrows one machine.
    """
    named = {word.strip() for word in text.split(",")} - {"", NOTHING}
    unknown = sorted(named - set(ENGINES))
    if unknown:
        raise Unusable("config_invalid", f"--engines: {', '.join(unknown)} is none of {', '.join((NOTHING, *ENGINES))}")
    if "postgresql" in named:
        named.add("rabbitmq")
    return frozenset(engine for engine in ENGINES if engine in named)


@asynccontextmanager
async def database_of(wish: Wish, announcer: Announcer) -> AsyncIterator[PrivateDatabase | None]:
    """Run the database that is wished for until the block ends, None when there is none.

    It has a folder of its own that goes with it: the demo's folder is not there yet, and the server's account could not get into it.
    """
    if "postgresql" not in wish.engines:
        yield None
        return
    announcer.act("database")
    with tempfile.TemporaryDirectory(prefix="lgsp-demo-database-") as folder:
        server = PrivateDatabase(folder=Path(folder))
        async with _running(server):
            yield server


@asynccontextmanager
async def broker_of(wish: Wish, announcer: Announcer) -> AsyncIterator[PrivateServer | None]:
    """Run the broker that is wished for until the block ends, None when there is none."""
    if "rabbitmq" not in wish.engines:
        yield None
        return
    announcer.act("broker")
    server = PrivateServer(folder=wish.data / "broker")
    async with _running(server):
        yield server


class Server(Protocol):
    """A private server of any kind; both calls block until they are done."""

    def start(self) -> None:
        """Start and return when it takes connections."""

    def stop(self) -> None:
        """End in an orderly way; nothing where it does not run."""


@asynccontextmanager
async def _running(server: Server) -> AsyncIterator[None]:
    starting = asyncio.ensure_future(asyncio.to_thread(server.start))
    try:
        # Called off while it starts, it is stopped all the same: the start is waited for first.
        await asyncio.shield(starting)
        yield
    finally:
        await asyncio.wait([starting])
        await asyncio.to_thread(server.stop)
