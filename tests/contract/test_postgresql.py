"""One PostgreSQL database keeps the promises of every port."""

from contextlib import asynccontextmanager

import pytest

from lgsp.backends.embedded import EmbeddedTransport
from lgsp.backends.sql import PostgresLedger, PostgresNeighbours
from lgsp.machine import SystemClock
from lgsp.testing import contracts


@pytest.fixture
async def ledger(database):
    opened = await PostgresLedger.open(database, create=True)
    yield opened
    await opened.close()


@pytest.fixture
async def reopen(database):
    opened = []

    async def again():
        for each in opened:
            await each.close()
        opened.append(await PostgresLedger.open(database, create=True))
        return opened[-1]

    yield again
    await opened[-1].close()


@pytest.fixture
def transport(ledger):
    return EmbeddedTransport(ledger)


@pytest.fixture
def join(ledger, database):
    @asynccontextmanager
    async def joined(name):
        neighbours = PostgresNeighbours(
            database, gateway=f"urn:lgsp:bus:91:gw:{name}", clock=SystemClock(), patience=8.0
        )
        async with neighbours.running():
            yield neighbours

    return joined


class TestLedger(contracts.LedgerContract): ...


class TestLedgerMoves(contracts.LedgerMovesContract): ...


class TestInboxes(contracts.InboxesContract): ...


class TestBodies(contracts.BodiesContract): ...


class TestRetention(contracts.RetentionContract): ...


class TestPersons(contracts.PersonsContract): ...


class TestSearch(contracts.SearchContract): ...


class TestDirectoryStore(contracts.DirectoryStoreContract): ...


class TestTransport(contracts.TransportContract): ...


class TestDurability(contracts.DurabilityContract): ...


class TestNeighbours(contracts.NeighboursContract): ...
