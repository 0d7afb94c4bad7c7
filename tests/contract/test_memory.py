"""The memory backend keeps the promises of every port."""

from contextlib import asynccontextmanager

import pytest

from lgsp.backends.embedded import EmbeddedTransport
from lgsp.backends.memory import MemoryLedger, Neighbourhood
from lgsp.testing import contracts


@pytest.fixture
def ledger():
    return MemoryLedger()


@pytest.fixture
def transport(ledger):
    return EmbeddedTransport(ledger)


@pytest.fixture
def join():
    neighbourhood = Neighbourhood()

    @asynccontextmanager
    async def joined(name):
        member = neighbourhood.join()
        yield member
        neighbourhood.leave(member)

    return joined


class TestLedger(contracts.LedgerContract): ...


class TestLedgerMoves(contracts.LedgerMovesContract): ...


class TestInboxes(contracts.InboxesContract): ...


class TestRetention(contracts.RetentionContract): ...


class TestSearch(contracts.SearchContract): ...


class TestDirectoryStore(contracts.DirectoryStoreContract): ...


class TestTransport(contracts.TransportContract): ...


class TestNeighbours(contracts.NeighboursContract): ...
