"""The memory backend keeps the promises of every port."""

import pytest

from lgsp.backends.embedded import EmbeddedTransport
from lgsp.backends.memory import MemoryLedger
from lgsp.testing import contracts


@pytest.fixture
def ledger():
    return MemoryLedger()


@pytest.fixture
def transport(ledger):
    return EmbeddedTransport(ledger)


class TestLedger(contracts.LedgerContract): ...


class TestLedgerMoves(contracts.LedgerMovesContract): ...


class TestInboxes(contracts.InboxesContract): ...


class TestRetention(contracts.RetentionContract): ...


class TestDirectoryStore(contracts.DirectoryStoreContract): ...


class TestTransport(contracts.TransportContract): ...
