"""One SQLite file keeps the promises of every port."""

import pytest

from lgsp.backends.embedded import EmbeddedTransport
from lgsp.backends.sql import SqliteLedger
from lgsp.testing import contracts


@pytest.fixture
async def ledger(tmp_path):
    opened = SqliteLedger.open(tmp_path / "bus.sqlite", create=True)
    yield opened
    await opened.close()


@pytest.fixture
async def reopen(tmp_path):
    opened = []

    async def again():
        for each in opened:
            await each.close()
        opened.append(SqliteLedger.open(tmp_path / "bus.sqlite", create=True))
        return opened[-1]

    yield again
    await opened[-1].close()


@pytest.fixture
def transport(ledger):
    return EmbeddedTransport(ledger)


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
