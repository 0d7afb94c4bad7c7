"""What runs beside the demo's gateway: nothing, or a private RabbitMQ server in the demo's own folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal, Protocol, get_args

from lgsp.errors import Unusable
from lgsp.privatebroker import PrivateServer

Engine = Literal["rabbitmq"]
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
    """Return the engines that are named, separated by commas; refuse as `config_invalid` what is none."""
    named = {word.strip() for word in text.split(",")} - {"", NOTHING}
    unknown = sorted(named - set(ENGINES))
    if unknown:
        raise Unusable("config_invalid", f"--engines: {', '.join(unknown)} is none of {', '.join((NOTHING, *ENGINES))}")
    return frozenset(engine for engine in ENGINES if engine in named)


@asynccontextmanager
async def broker_of(wish: Wish, announcer: Announcer) -> AsyncIterator[PrivateServer | None]:
    """Run the broker that is wished for until the block ends, None when there is none."""
    if "rabbitmq" not in wish.engines:
        yield None
        return
    announcer.act("broker")
    server = PrivateServer(folder=wish.data / "broker")
    starting = asyncio.ensure_future(asyncio.to_thread(server.start))
    try:
        # Called off while it starts, it is stopped all the same: the start is waited for first.
        await asyncio.shield(starting)
        yield server
    finally:
        await asyncio.wait([starting])
        await asyncio.to_thread(server.stop)
