"""A gateway whose deliveries RabbitMQ carries: receipts only for what the broker confirmed, nothing lost when it dies, and word of its state."""

import asyncio

import pytest

from lgsp.app import run_on_broker
from lgsp.backends.memory import MemoryLedger
from lgsp.errors import Refusal
from lgsp.testing.bus import ack_of, parts_of, publish
from lgsp.testing.contracts.transport import waiting
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import NDXP

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def bus(world, clock, rabbitmq):
    parts = parts_of(world, MemoryLedger(), clock=clock, entropy=SeededEntropy(1, clock))
    async with run_on_broker(parts, rabbitmq.url) as running:
        await drained(running)  # others use the same names, and may have ended with something on its way
        await publish(running, world)
        yield running
        await drained(running)


async def drained(bus):
    """Leave nothing in the queues for the next test, which has the same names."""
    transport = bus.courier.transport
    async with asyncio.timeout(30):
        while await waiting(transport) != 0:
            found = await transport.take(NDXP, 64)
            await transport.drop(NDXP, [parcel.delivery.env for parcel in found])


async def pulled(bus, count):
    """Pull until so many have come."""
    found = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found += await bus.courier.pull(NDXP, limit=10, wait=1)
    return found


async def state(bus, env):
    await bus.courier.publisher.note_confirmed()
    return (await bus.courier.inboxes.held(NDXP, [env]))[env].state


async def broker_state(bus):
    return (await bus.health.ready())[1]["broker"]


async def until_broker(bus, wanted):
    async with asyncio.timeout(60):
        while await broker_state(bus) != wanted:
            await asyncio.sleep(0.05)


async def test_an_envelope_goes_through_the_broker_to_its_ack(bus, world):
    request = world.envelope()
    await bus.ingress.submit(request, peer="test")
    assert await state(bus, request.hash) == "queued"
    assert await waiting(bus.courier.transport) == 1
    [handed] = await pulled(bus, 1)
    assert (handed.env, handed.wire.body) == (request.hash, request.body)
    assert await state(bus, request.hash) == "leased"
    assert await waiting(bus.courier.transport) == 0
    await bus.settlement.acknowledge(NDXP, ack_of(world, "ndxp", NDXP, handed.env)[0])
    assert await state(bus, request.hash) == "acked"


async def test_a_gateway_without_its_broker_is_not_ready_gives_no_receipt_and_catches_up(bus, world, clock, rabbitmq):
    parts = ("ledger", "directory", "intake", "broker", "sweep", "inboxes")
    assert await bus.health.ready() == (True, dict.fromkeys(parts, "ok"))
    first, second = world.envelope(), world.envelope(number=2)
    await bus.ingress.submit(first, peer="test")
    rabbitmq.kill()
    await until_broker(bus, "away")
    assert (await bus.health.ready())[0] is False
    with pytest.raises(Refusal) as refused:
        await bus.ingress.submit(second, peer="test")
    assert refused.value.code == "unavailable"
    assert await state(bus, second.hash) == "accepted"
    rabbitmq.start()
    await until_broker(bus, "ok")
    clock.advance(6)
    assert {handed.env for handed in await pulled(bus, 2)} == {first.hash, second.hash}


async def test_a_delivery_that_comes_back_is_carried_again(bus, world):
    request = world.envelope()
    await bus.ingress.submit(request, peer="test")
    [handed] = await pulled(bus, 1)
    await bus.settlement.give_back([handed])
    [again] = await pulled(bus, 1)
    assert (again.env, again.attempt) == (handed.env, 1)
