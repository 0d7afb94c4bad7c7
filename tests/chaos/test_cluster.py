"""What a cluster of three RabbitMQ nodes costs and spares a gateway, fault by fault; `test_chaos` has the storms."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from structlog.testing import capture_logs

from lgsp.backends.memory import MemoryLedger
from lgsp.backends.rabbitmq import Pace, RabbitTransport
from lgsp.testing.clock import ManualClock
from lgsp.testing.contracts.inboxes import numbers
from lgsp.testing.contracts.transport import queue
from lgsp.testing.samples import accept
from lgsp.testing.world import NDXP
from tests.chaos.cluster import three_nodes

PROBES = 10
SILENT = 30.0
"""Seconds: several times as long as a silent queue is tried before it is held for dead."""
BACK = 60.0
"""Seconds within which all is well again."""


@pytest.fixture
def cluster(tmp_path):
    with three_nodes(tmp_path) as engine:
        yield engine


@asynccontextmanager
async def carrying(url, ledger):
    transport = RabbitTransport(
        url, ledger, bus="urn:lgsp:bus:test", clock=ManualClock(), pace=Pace(publish=2, look=0.2, probes=PROBES)
    )
    async with transport.running():
        await transport.connected(30)
        yield transport


async def taken_within(seconds, transport):
    """Take until something comes, or the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not (found := await transport.take(NDXP, 5)):
                await asyncio.sleep(0.2)
            return found
    return []


async def nobody(*_):
    """Nobody is told."""


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_leader_that_stands_still_costs_no_queue(cluster):
    """The other nodes hold it for down after a minute; until then its queues are silent, and whole."""
    ledger, lost = MemoryLedger(), []

    async def lose(inbox, lane):
        lost.append((inbox, lane))

    leader, other = cluster.victims[0], cluster.victims[1]
    async with carrying(leader.server.url, ledger) as first:
        await queue(ledger, first, accept(1))
    async with carrying(other.server.url, ledger) as transport:
        transport.report_to(mismatched=nobody, lost=lose)
        with capture_logs() as told:
            with leader.paused():
                taken = await taken_within(SILENT, transport)
            taken = taken or await taken_within(BACK, transport)
    assert (numbers(taken), lost) == ([1], [])
    assert "broker.queue_dead" not in {each["event"] for each in told}
