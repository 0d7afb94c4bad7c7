"""No sender crowds out the others in an inbox: what one asks beyond its share waits behind their look-ups."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.bus.room import CROWDING
from lgsp.domain.limits import LIMITS
from lgsp.testing.bus import ack_of, running_bus
from lgsp.testing.carrier import MemoryCarrier
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import NDXP, ONE_STOP

SHARE = 4


@pytest.fixture(params=["embedded", "broker"])
async def bus(request, world):
    store, clock = MemoryLedger(), ManualClock(world.now)
    limits = replace(LIMITS, requests_open=SHARE, lease=timedelta(minutes=5))
    transport = MemoryCarrier(store) if request.param == "broker" else None
    async with running_bus(
        world, store, clock=clock, entropy=SeededEntropy(1, clock), transport=transport, limits=limits
    ) as running:
        yield running


def lookup(world, number):
    """Return a look-up for an applicant at the one-stop shop."""
    return world.envelope(
        number=number, signer="one-stop", source=ONE_STOP, procedure="1.001193", authid="5e12c0", casefile="H01.31-1"
    )


async def flood(bus, world, count):
    for number in range(1, count + 1):
        await bus.ingress.submit(world.envelope(number=number), peer="flood")


async def lanes_of(bus, wires):
    return [(await bus.courier.inboxes.held(NDXP, [wire.hash]))[wire.hash].lane for wire in wires]


async def test_what_one_sender_asks_beyond_its_share_waits_behind_anothers_look_up(bus, world):
    await flood(bus, world, 40)
    asked = lookup(world, 99)
    await bus.ingress.submit(asked, peer="one-stop")
    handed = [(await bus.courier.pull(NDXP, limit=1, wait=0))[0].env for _ in range(SHARE + 2)]
    assert asked.hash in handed, "it comes after the flood's own share, not after all of it"


async def test_a_share_is_free_again_when_its_requests_are_answered_not_when_they_are_in_hand(bus, world):
    await flood(bus, world, SHARE)
    handed = await bus.courier.pull(NDXP, limit=SHARE, wait=0)
    assert len(handed) == SHARE
    in_hand = world.envelope(number=50)
    await bus.ingress.submit(in_hand, peer="test")
    assert await lanes_of(bus, [in_hand]) == ["bulk"]
    for statement in ack_of(world, "ndxp", NDXP, *(each.env for each in handed)):
        await bus.settlement.acknowledge(NDXP, statement)
    soon, later = world.envelope(number=51), world.envelope(number=52)
    await bus.ingress.submit(soon, peer="test")
    bus.clock.advance(CROWDING.total_seconds())
    await bus.ingress.submit(later, peer="test")
    assert await lanes_of(bus, [soon, later]) == ["bulk", "request"], "who asked too much is a program for a moment"


async def test_nothing_of_a_flood_is_lost_and_each_lane_keeps_its_order(bus, world):
    await flood(bus, world, 30)
    sent = [world.envelope(number=number) for number in range(1, 31)]
    lanes = await lanes_of(bus, sent)
    assert lanes == ["request"] * SHARE + ["bulk"] * (30 - SHARE)
    handed = []
    while found := await bus.courier.pull(NDXP, limit=3, wait=0):
        handed += [handover.env for handover in found]
        for handover in found:
            await bus.settlement.acknowledge(NDXP, ack_of(world, "ndxp", NDXP, handover.env)[0])
    assert handed == [wire.hash for wire in sent]


async def test_the_rows_correct_what_was_counted(bus, world):
    await flood(bus, world, SHARE)
    room = bus.room
    room.add(await bus.courier.inboxes.deliveries(world.envelope(number=1).hash))
    await room.refresh()
    assert {(depth.lane, depth.count) for depth in room.depths} == {("request", SHARE)}
    await bus.courier.pull(NDXP, limit=1, wait=0)
    assert room.lane(NDXP, world.attributes()["source"], "request", held=0, now=bus.clock.now()) == "request"


async def test_crowds_are_forgotten_when_their_moment_is_over_and_beyond_a_number(bus, monkeypatch):
    monkeypatch.setattr("lgsp.bus.room.CROWDS_KEPT", 2)
    room, now = bus.room, bus.clock.now()
    for source in "abc":
        assert room.lane(NDXP, source, "request", held=LIMITS.requests_open, now=now) == "bulk"
    lanes = [room.lane(NDXP, source, "request", held=0, now=now) for source in "abc"]
    assert lanes == ["request", "bulk", "bulk"]
    later = now + 2 * CROWDING
    assert room.lane(NDXP, "d", "request", held=LIMITS.requests_open, now=later) == "bulk"
    assert len(room._crowding) == 1
