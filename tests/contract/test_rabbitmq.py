"""RabbitMQ keeps the promises of the transport."""

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.testing import contracts


@pytest.fixture
def ledger():
    return MemoryLedger()


@pytest.fixture
async def transport(ledger, carrying):
    async with carrying(ledger) as transport:
        yield transport


class TestTransport(contracts.TransportContract): ...
