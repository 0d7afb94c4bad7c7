"""A quota counts what was accepted, each once: a repeat is never refused for it, uses nothing, and is in nobody's way."""

import asyncio

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.bus.refusing import EnvelopeRefused
from lgsp.domain import names
from lgsp.testing.bus import running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import FISHERIES, World

GRANT = "g-verify"
QUOTA = 3


@pytest.fixture(params=["system", "agency"])
def world(request):
    """The quota stands in the grant of the system itself, or in that of its agency."""
    grantee = FISHERIES if request.param == "system" else names.agency_of(FISHERIES)
    return World.make(changes={GRANT: {"quota_per_day": QUOTA, "grantee": grantee}})


@pytest.fixture
async def bus(world):
    clock = ManualClock(world.now)
    async with running_bus(world, MemoryLedger(), clock=clock, entropy=SeededEntropy(1, clock)) as running:
        yield running


async def code_of(bus, wire):
    try:
        await bus.ingress.submit(wire, peer="test")
    except EnvelopeRefused as refused:
        return refused.refusal.code
    return ""


async def test_what_was_accepted_gets_its_receipt_again_though_the_quota_is_used_up(bus, world):
    sent = [world.envelope(number=number) for number in range(QUOTA)]
    receipts = [(await bus.ingress.submit(wire, peer="test")).receipt for wire in sent]
    assert await code_of(bus, world.envelope(number=QUOTA)) == "quota_exceeded"
    again = [await bus.ingress.submit(wire, peer="test") for wire in sent]
    assert [each.receipt for each in again] == receipts
    assert all(each.duplicate for each in again)
    assert bus.quotas.used(GRANT) == QUOTA
    await bus.quotas.refresh()
    assert bus.quotas.used(GRANT) == QUOTA


async def test_repeats_leave_the_last_of_a_quota_to_those_who_are_new(bus, world):
    sent = [world.envelope(number=number) for number in range(QUOTA)]
    for wire in sent[:-1]:
        await bus.ingress.submit(wire, peer="test")
    codes = await asyncio.gather(*(code_of(bus, wire) for wire in sent))
    assert codes == ["", "", ""]
    assert bus.quotas.used(GRANT) == QUOTA


async def test_the_last_of_a_quota_sent_several_times_at_once_is_accepted_once_and_refused_to_nobody(bus, world):
    for number in range(1, QUOTA):
        await bus.ingress.submit(world.envelope(number=number), peer="test")
    last = world.envelope(number=QUOTA)
    answers = await asyncio.gather(*(bus.ingress.submit(last, peer="test") for _ in range(4)))
    assert len({each.receipt for each in answers}) == 1
    assert [each.duplicate for each in answers].count(False) == 1
    assert bus.quotas.used(GRANT) == QUOTA
    assert await code_of(bus, world.envelope(number=QUOTA + 1)) == "quota_exceeded"
