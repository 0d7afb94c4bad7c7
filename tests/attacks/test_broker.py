"""Attacks through the broker: whoever can write to its queues cannot have anything handed out that no gateway accepted (row R06)."""

import asyncio
from dataclasses import dataclass

import aio_pika
import pytest
import structlog

from lgsp.app import watch_carriers
from lgsp.backends.memory import MemoryLedger
from lgsp.backends.rabbitmq.topology import queue_name
from lgsp.testing.bus import running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.contracts.transport import waiting
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import NDXP, POLICE, World

pytestmark = pytest.mark.timeout(120)

BUS = "urn:lgsp:bus:attacked"
REQUESTS = queue_name(BUS, NDXP, "request")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A bus with a broker, an accepted request in its queue, and another one that was never accepted."""

    world: World
    bus: object
    transport: object
    channel: object
    env: str
    stranger: object

    async def seized(self):
        """Take the request's message out of its queue, as somebody with the broker's password can."""
        queue = await self.channel.get_queue(REQUESTS)
        message = await queue.get(no_ack=True)
        headers = {name: value for name, value in message.headers.items() if name.startswith("lgsp-")}
        return {
            "body": message.body,
            "message_id": message.message_id,
            "type": message.type,
            "headers": headers,
            "delivery_mode": 2,
        }

    async def put(self, queue=REQUESTS, **properties):
        await self.channel.default_exchange.publish(aio_pika.Message(**properties), queue)

    async def pull(self, inbox=NDXP):
        return await self.bus.courier.pull(inbox, limit=5, wait=0.2)

    async def state(self):
        held = (await self.bus.courier.inboxes.held(NDXP, [self.env]))[self.env]
        return held.state, held.code


@pytest.fixture
async def scene(carrying, rabbitmq):
    world, store = World.make(), MemoryLedger()
    clock = ManualClock(world.now)
    async with (
        carrying(store, bus=BUS, clock=clock) as transport,
        running_bus(world, store, clock=clock, entropy=SeededEntropy(1, clock), transport=transport) as bus,
        await aio_pika.connect(rabbitmq.url) as connection,
    ):
        watch_carriers(transport, bus)
        request, stranger = world.envelope(), world.envelope(number=2)
        await bus.ingress.submit(request, peer="test")
        for inbox in (NDXP, POLICE):
            await transport.carried(inbox)  # all its queues are there
        channel = await connection.channel(on_return_raises=True)
        yield Scene(world=world, bus=bus, transport=transport, channel=channel, env=request.hash, stranger=stranger)


def other_envelope(scene, found):
    return found | {"headers": found["headers"] | {"lgsp-env": scene.stranger.compact.decode()}}


def other_id(scene, found):
    return found | {"message_id": scene.stranger.hash}


def without(name):
    return lambda _, found: found | {"headers": {key: value for key, value in found["headers"].items() if key != name}}


ALTERED = {
    "another envelope under the id": (other_envelope, True),
    "another id on the envelope": (other_id, False),
    "another type": (lambda _, found: found | {"type": "vn.lgsp.population.citizen.erase.v1"}, True),
    "no type": (lambda _, found: found | {"type": None}, True),
    "no envelope": (without("lgsp-env"), True),
    "no receipt": (without("lgsp-rcpt"), True),
    "no body key": (without("lgsp-bk"), True),
    "a receipt that is none": (
        lambda _, found: found | {"headers": found["headers"] | {"lgsp-rcpt": '{"jws":1}'}},
        True,
    ),
    "an envelope that is none": (lambda _, found: found | {"headers": found["headers"] | {"lgsp-env": "..é"}}, True),
    "a number for an envelope": (lambda _, found: found | {"headers": found["headers"] | {"lgsp-env": 7}}, True),
}


@pytest.mark.parametrize(("alter", "parks"), ALTERED.values(), ids=ALTERED.keys())
async def test_r06_a_message_that_differs_from_its_manifest_is_not_handed_out(scene, alter, parks):
    found = await scene.seized()
    await scene.put(**alter(scene, found))
    with structlog.testing.capture_logs() as logs:
        assert await scene.pull() == []
    assert [entry["log_level"] for entry in logs if entry["event"] == "broker.mismatch"] == ["error"]
    assert await scene.state() == (("parked", "carrier_mismatch") if parks else ("queued", ""))
    assert await emptied(scene)


async def emptied(scene, inbox=NDXP):
    async with asyncio.timeout(10):
        while await waiting(scene.transport, inbox):
            await asyncio.sleep(0.02)
    return True


async def test_r06_a_message_in_another_lane_is_not_handed_out(scene):
    await scene.put(queue_name(BUS, NDXP, "bulk"), **await scene.seized())
    assert await scene.pull() == []
    assert await scene.state() == ("parked", "carrier_mismatch")


async def test_r06_a_message_in_another_inbox_is_handed_to_nobody_there_and_to_its_receiver_all_the_same(scene):
    found = await scene.seized()
    await scene.put(**found)
    await scene.put(queue_name(BUS, POLICE, "request"), **found)
    assert await scene.pull(POLICE) == []
    assert [handed.env for handed in await scene.pull()] == [scene.env]


async def test_r06_a_body_that_was_changed_is_parked(scene):
    found = await scene.seized()
    await scene.put(**found | {"body": found["body"][:-1] + bytes([found["body"][-1] ^ 1])})
    assert await scene.pull() == []
    assert await scene.state() == ("parked", "body_lost")


async def test_r06_an_envelope_that_no_gateway_accepted_is_not_handed_out(scene):
    found = await scene.seized()
    stranger = scene.stranger
    headers = found["headers"] | {"lgsp-env": stranger.compact.decode()}
    await scene.put(**found | {"headers": headers, "message_id": stranger.hash})
    assert await scene.pull() == []
    assert await scene.bus.courier.inboxes.deliveries(stranger.hash) == []


async def test_r06_a_message_that_comes_again_after_its_delivery_was_taken_is_forgotten(scene):
    found = await scene.seized()
    await scene.put(**found)
    await scene.put(**found)
    assert [handed.env for handed in await scene.pull()] == [scene.env]
    await scene.put(**found)
    assert await scene.pull() == []
    assert await emptied(scene)
