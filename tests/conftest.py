from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any

import aio_pika
import asyncpg
import pytest
import structlog

from adapters.made_up.fleet import Vessel, fleet
from lgsp.backends.rabbitmq import RabbitTransport
from lgsp.cli.root import run
from lgsp.ports.inboxes import Inboxes
from lgsp.testing.clock import ManualClock
from lgsp.testing.postgresql import PrivateDatabase, private_database
from lgsp.testing.rabbitmq import PrivateServer, private_server

# Failed assertions of the shared suites are explained as those of the tests themselves.
pytest.register_assert_rewrite("lgsp.testing.contracts")

DROP_ALL = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"

Carrying = Callable[..., AbstractAsyncContextManager[RabbitTransport]]


def outcome(vessel: Vessel) -> str:
    """Tell what must become of a vessel, from how it was made up and from nothing that anybody sent."""
    if vessel.kept_number is None and vessel.answers == "both_lack":
        return "number_missing"
    if vessel.kept_number is None and vessel.answers == "differ":
        return "answers_differ"
    if vessel.fault != "none":
        return vessel.fault
    return "owner_deceased" if vessel.owner.deceased else "linked"


@pytest.fixture(scope="session")
def true_outcomes() -> Callable[[int, int], dict[str, str]]:
    """Return the function from seed and count to the outcome by registration: `linked` or a reason."""
    return lambda seed, count: {vessel.registration: outcome(vessel) for vessel in fleet(seed, count).vessels}


@pytest.fixture(scope="session")
def run_command() -> Callable[..., int]:
    """Return what runs `lgsp` in this process to its end, for its exit code.

    A command sets up logging to the standard error that it sees, which is one test's alone: logging is left as it was.
    """

    def call(*arguments: object) -> int:
        before = structlog.get_config()
        try:
            with pytest.raises(SystemExit) as ended:
                run([str(argument) for argument in arguments])
        finally:
            structlog.configure(**before)
        return int(ended.value.code or 0)

    return call


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateServer]:
    """Run one RabbitMQ server for the tests of this process; where none is installed they fail."""
    with private_server(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


@pytest.fixture(scope="session")
def carrying(rabbitmq: PrivateServer) -> Carrying:
    """Return what runs a transport with queues of its own on the server, and takes them away afterwards."""
    buses = count(1)

    @asynccontextmanager
    async def run(inboxes: Inboxes, **options: Any) -> AsyncIterator[RabbitTransport]:
        given = {"bus": f"urn:lgsp:bus:test-{next(buses)}", "clock": ManualClock(), **options}
        transport = RabbitTransport(rabbitmq.url, inboxes, **given)
        async with transport.running():
            await transport.connected(30)
            try:
                yield transport
            finally:
                await _delete(rabbitmq.url, transport.queues())

    return run


async def _delete(url: str, queues: list[str]) -> None:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        for name in queues:
            await channel.queue_delete(name)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDatabase]:
    """Run one PostgreSQL server for the tests of this process; where none is installed they fail."""
    with private_database(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@pytest.fixture
async def database(postgresql: PrivateDatabase) -> str:
    """Return the address of a database whose schema is empty; the one before it is gone."""
    return await _emptied(postgresql)


@pytest.fixture
def emptied(request: pytest.FixtureRequest) -> Callable[[], Awaitable[str]]:
    """Return what gives such an address when it is called, for tests that need no server unless they do."""
    return lambda: _emptied(request.getfixturevalue("postgresql"))


async def _emptied(server: PrivateDatabase) -> str:
    connection = await asyncpg.connect(server.url(), timeout=30)
    try:
        await connection.execute(DROP_ALL)
    finally:
        await connection.close(timeout=30)
    return server.url()
