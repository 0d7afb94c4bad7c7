"""A gateway whose ledger is a PostgreSQL database: it says when the database is away, and goes on by itself when it is back."""

import asyncio

import pytest

from lgsp.backends.sql import PostgresLedger
from lgsp.errors import Refusal
from lgsp.testing.bus import running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.postgresql import private_database
from lgsp.testing.world import NDXP, World

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def server(tmp_path):
    with private_database(tmp_path / "server") as running:
        yield running


async def test_a_gateway_without_its_database_is_not_ready_and_goes_on_when_it_is_back(server):
    world = World.make()
    clock = ManualClock(world.now)
    store = await PostgresLedger.open(server.url(), create=True)
    async with running_bus(world, store, clock=clock, entropy=SeededEntropy(1, clock)) as bus:
        await bus.ingress.submit(world.envelope(), peer="test")
        late = world.envelope(number=2)
        server.kill()
        async with asyncio.timeout(5):  # what was seen within the last second is still told
            while (await bus.health.ready())[1]["ledger"] != "away":
                await asyncio.sleep(0.05)
        with pytest.raises(Refusal, match="unavailable"):
            await bus.ingress.submit(late, peer="test")
        server.start()
        async with asyncio.timeout(30):
            while not (await bus.health.ready())[0]:
                await asyncio.sleep(0.05)
        await bus.ingress.submit(late, peer="test")
        found = []
        async with asyncio.timeout(30):
            while len(found) < 2:
                found += await bus.courier.pull(NDXP, limit=10, wait=1)
    await store.close()
