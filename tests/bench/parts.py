"""The parts of the comparison: how each is started, on which servers, and what its counts must say afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from lgsp.config import MOST_OF_A_SENDER, StorageSection
from lgsp.privatebroker import PrivateServer, private_server
from lgsp.privatedatabase import PrivateDatabase, private_database
from tests.bench.bus import running as bus_running
from tests.bench.bus.province import BUS, OTHER_BUS
from tests.bench.database import create
from tests.bench.floor import running as floor_running
from tests.bench.glue import running as glue_running
from tests.bench.made_up import ASKED, ONE_WAY

AGREE_SECONDS: Final = 20.0
"""How long what is still on its way when a load ends (receipts of replies) may take to arrive."""
Counts = dict[str, dict[str, int]]
UNBOUND: Final = {"LGSP_HTTP__SENDER_RATE": str(MOST_OF_A_SENDER)}
"""A sender may send what the bus takes: the floor has one sender, and no rate either."""
HAS_DATABASE: Final = "kind" in StorageSection.model_fields
"""Whether this bus can keep its ledger in PostgreSQL; until then `broker` (SQLite and RabbitMQ) stands for what lies between."""


class Running(Protocol):
    """A part that runs."""

    async def load(self, **order: Any) -> dict[str, Any]:
        """Have an order carried out and return what the sender saw."""

    async def counts(self) -> Counts:
        """Return what stands in the files of every process."""


@dataclass(slots=True, kw_only=True)
class Servers:
    """Broker and database of one run, started when the first part wants them."""

    folder: Path
    stack: AsyncExitStack
    _broker: PrivateServer | None = None
    _database: PrivateDatabase | None = None

    async def broker(self) -> PrivateServer:
        if self._broker is None:
            server = await asyncio.to_thread(self._start_broker)
            self._broker = server
        return self._broker

    def _start_broker(self) -> PrivateServer:
        return self.stack.enter_context(private_server(self.folder / "broker"))

    async def database(self) -> PrivateDatabase:
        if self._database is None:
            server = await asyncio.to_thread(self._start_database)
            self._database = server
        return self._database

    def _start_database(self) -> PrivateDatabase:
        return self.stack.enter_context(private_database(self.folder / "database"))


Start = Callable[[Servers, Path], AbstractAsyncContextManager[Running]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One column of the comparison."""

    name: str
    title: str
    start: Start
    kinds: tuple[str, ...] = ("one-way",)
    process: str = "gateway"
    """Whose processor time and memory are given as the part's own."""


def _embedded_floor(_servers: Servers, folder: Path) -> AbstractAsyncContextManager[Running]:
    return floor_running.running(folder)


@asynccontextmanager
async def _production_floor(servers: Servers, folder: Path) -> AsyncIterator[Running]:
    broker, database = await asyncio.gather(servers.broker(), servers.database())
    beside = {"broker": [broker.pid], "database": [database.pid]}
    address = await create(database, folder.name)
    async with floor_running.running(folder, database=address, broker=broker.url, beside=beside) as running:
        yield running


def _bus(senders: int) -> Start:
    return lambda _servers, folder: bus_running.running(folder, senders=senders, environment=UNBOUND)


def _broker_bus(senders: int) -> Start:
    @asynccontextmanager
    async def start(servers: Servers, folder: Path) -> AsyncIterator[Running]:
        broker = await servers.broker()
        environment = UNBOUND | {"LGSP_TRANSPORT__URL": broker.url}
        beside = {"broker": [broker.pid]}
        async with bus_running.running(folder, senders=senders, environment=environment, beside=beside) as running:
            yield running

    return start


def _production_bus(senders: int, gateways: int, bus: str) -> Start:
    @asynccontextmanager
    async def start(servers: Servers, folder: Path) -> AsyncIterator[Running]:
        broker, database = await asyncio.gather(servers.broker(), servers.database())
        environment = UNBOUND | {
            "LGSP_TRANSPORT__URL": broker.url,
            "LGSP_STORAGE__KIND": "postgresql",
            "LGSP_STORAGE__URL": await create(database, folder.name),
        }
        beside = {"broker": [broker.pid], "database": [database.pid]}
        async with bus_running.running(
            folder, senders=senders, environment=environment, beside=beside, gateways=gateways, bus=bus
        ) as running:
            yield running

    return start


@asynccontextmanager
async def _glue(servers: Servers, _folder: Path) -> AsyncIterator[Running]:
    broker = await servers.broker()
    async with glue_running.running(broker=broker.url, beside={"broker": [broker.pid]}) as running:
        yield running


def all_parts(senders: int) -> dict[str, tuple[Part, ...]]:
    """Return the groups of parts that are measured in turns: floor and bus of one shape, and what is compared with them."""
    both = ("one-way", "request")
    floor_embedded = Part(name="floor_embedded", title="floor, SQLite", start=_embedded_floor)
    embedded = Part(name="embedded", title="bus, SQLite", start=_bus(senders), kinds=both)
    floor_production = Part(name="floor_production", title="floor, PostgreSQL + RabbitMQ", start=_production_floor)
    broker = Part(name="broker", title="bus, SQLite + RabbitMQ", start=_broker_bus(senders), kinds=both)
    production = Part(
        name="production", title="bus, PostgreSQL + RabbitMQ", start=_production_bus(senders, 1, BUS), kinds=both
    )
    two = Part(name="two_gateways", title="bus, two gateways", start=_production_bus(senders, 2, OTHER_BUS), kinds=both)
    glued = Part(name="glue", title="FastStream + joserfc", start=_glue, kinds=("request",), process="receiver")
    shape = (production, two) if HAS_DATABASE else (broker,)
    return {"embedded": (floor_embedded, embedded), "production": (floor_production, *shape, glued)}


TYPE_OF: Final = {"one-way": ONE_WAY, "request": ASKED}


async def agreed(part: Part, running: Running) -> Counts:
    """Return the counts once every exchange that was begun went all its way on every side; raise when that does not come to be."""
    until = asyncio.get_running_loop().time() + AGREE_SECONDS
    while True:
        counts = await running.counts()
        disagreement = disagreement_of(part, counts)
        if not disagreement:
            return counts
        if asyncio.get_running_loop().time() > until:
            raise RuntimeError(f"{part.name}: {disagreement}: {counts}")
        await asyncio.sleep(0.1)


def disagreement_of(part: Part, counts: Counts) -> str:
    """Return what the counts of one part disagree about, or nothing."""
    sender, receiver, gateway = counts["sender"], counts["receiver"], counts.get("gateway", {})
    ends = [sender[name] for name in ("sent", "receipted", "acked", "answered") if name in sender]
    ends += [gateway[name] for name in ("exchanges", "settled") if name in gateway]
    if set(ends) != {receiver["taken"]} or not receiver["taken"]:
        return "not every exchange went all its way"
    if gateway.get("bodies"):
        return "bodies are left at the gateway"
    replies = {sender.get("taken", 0), receiver.get("sent", 0), receiver.get("receipted", 0)}
    return "not every reply went all its way" if len(replies) > 1 else ""
