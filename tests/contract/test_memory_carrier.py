"""The broker in memory, which tests of the bus use, keeps the promises of a transport."""

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.testing import contracts
from lgsp.testing.carrier import MemoryCarrier


@pytest.fixture
def ledger():
    return MemoryLedger()


@pytest.fixture
def transport(ledger):
    return MemoryCarrier(ledger)


class TestTransport(contracts.TransportContract): ...
