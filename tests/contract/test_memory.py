"""The memory backend keeps the promises of every port."""

from contextlib import asynccontextmanager

import pytest

from lgsp.backends.embedded import EmbeddedTransport
from lgsp.backends.memory import MemoryLedger, MemoryWitness, Neighbourhood
from lgsp.testing import contracts
from lgsp.testing.clock import ManualClock
from lgsp.testing.contracts.anchor import MadeLog
from lgsp.testing.world import LOG, NOW, signer_named


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


@pytest.fixture
def anchor():
    return MemoryWitness(
        name="witness.example.vn/w", signer=signer_named("witness"), logs={LOG: MadeLog().key}, clock=ManualClock(NOW)
    )


class TestLedger(contracts.LedgerContract): ...


class TestLedgerMoves(contracts.LedgerMovesContract): ...


class TestInboxes(contracts.InboxesContract): ...


class TestBodies(contracts.BodiesContract): ...


class TestRetention(contracts.RetentionContract): ...


class TestPersons(contracts.PersonsContract): ...


class TestSearch(contracts.SearchContract): ...


class TestDirectoryStore(contracts.DirectoryStoreContract): ...


class TestTransport(contracts.TransportContract): ...


class TestNeighbours(contracts.NeighboursContract): ...


class TestAnchor(contracts.AnchorContract): ...
