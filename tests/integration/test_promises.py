"""What is accepted for a receiver that waits with empty hands is leased by the same commit; nothing overtakes in its lane, nothing is lost."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.backends.sql.sqlite import SqliteLedger
from lgsp.domain.limits import LIMITS
from lgsp.errors import Refusal
from lgsp.ports.ledger import Accept, Move
from lgsp.testing.bus import Tray, running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import NDXP, ONE_STOP

ROOM = 1 << 20


@pytest.fixture(params=["memory", "sqlite"])
async def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryLedger()
        return
    made = SqliteLedger.open(tmp_path / "bus.sqlite", create=True)
    yield made
    await made.close()


@pytest.fixture
async def bus(world, store):
    clock = ManualClock(world.now)
    limits = replace(LIMITS, requests_open=2, lease=timedelta(seconds=60))
    async with running_bus(world, store, clock=clock, entropy=SeededEntropy(1, clock), limits=limits) as running:
        yield running


async def attached(bus, credit):
    """Return a receiver for whom nothing waits, and its hold on the inbox."""
    tray = Tray()
    held = bus.courier.attach(NDXP, tray)
    held.credit(credit, ROOM)
    await until(lambda: held.inbox.waits == "nothing" or not credit)
    return tray, held


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def events(bus):
    return [json.loads(entry)["ev"] for entry in await bus.ledger.entries(0, 1_000)]


async def state_of(bus, wire):
    held = (await bus.courier.inboxes.held(NDXP, [wire.hash]))[wire.hash]
    return held.state, held.attempts


def lookup(world, number):
    return world.envelope(
        number=number, signer="one-stop", source=ONE_STOP, procedure="1.001193", authid="5e12c0", casefile="H01.31-1"
    )


async def test_acceptance_and_hand_over_are_one_commit(bus, world, monkeypatch):
    tray, _ = await attached(bus, 1)
    await bus.courier.body_keys.today()
    commits = []
    commit = bus.ledger.commit

    async def counted(operations, sign):
        commits.append([type(operation) for operation in operations if isinstance(operation, Accept | Move)])
        return await commit(operations, sign)

    monkeypatch.setattr(bus.ledger, "commit", counted)
    request = world.envelope()
    receipted = await bus.ingress.submit(request, peer="test")
    assert [handed.env for handed in tray.handed] == [request.hash]
    assert tray.handed[0].receipt == receipted.receipt
    assert tray.handed[0].wire == request
    assert [found for found in commits if found] == [[Accept]]  # the gateway may keep a checkpoint beside it
    assert (await events(bus))[-2:] == ["msg.accepted", "msg.delivered"]
    assert json.loads(json.loads(receipted.receipt)["item"])["index"] == await bus.ledger.size() - 2
    assert await state_of(bus, request) == ("leased", 0)


async def test_without_credit_it_waits_and_what_comes_later_does_not_overtake_it(bus, world):
    tray, held = await attached(bus, 1)
    requests = [world.envelope(number=number) for number in range(1, 6)]
    for request in requests[:3]:
        await bus.ingress.submit(request, peer="test")
    held.credit(9, ROOM)
    await asyncio.gather(*(bus.ingress.submit(request, peer="test") for request in requests[3:]))
    await until(lambda: len(tray.handed) == len(requests))
    lanes = {wire.hash: (await bus.courier.inboxes.held(NDXP, [wire.hash]))[wire.hash].lane for wire in requests}
    for lane in set(lanes.values()):
        handed = [each.env for each in tray.handed if lanes[each.env] == lane]
        assert handed == [wire.hash for wire in requests if lanes[wire.hash] == lane]


async def test_credit_that_comes_during_a_commit_lets_nobody_pass_who_is_being_committed(bus, world):
    tray, held = await attached(bus, 0)
    held.inbox.waits = "nothing"
    first = asyncio.create_task(bus.ingress.submit(world.envelope(number=1), peer="test"))
    await until(lambda: held.inbox._coming["request"])
    held.credit(5, ROOM)
    held.inbox.waits = "nothing"
    await asyncio.gather(first, bus.ingress.submit(world.envelope(number=2), peer="test"))
    await until(lambda: len(tray.handed) == 2)
    assert [each.env for each in tray.handed] == [world.envelope(number=n).hash for n in (1, 2)]


async def test_a_stream_that_ends_during_the_commit_leaves_the_delivery_to_the_next(bus, world):
    tray, held = await attached(bus, 1)
    request = world.envelope()
    going = asyncio.create_task(bus.ingress.submit(request, peer="test"))
    await until(lambda: held.inbox._reserved)
    held.close()
    await going
    assert tray.handed == []
    await held.detach(orderly=True)
    other, _ = await attached_to(bus)
    await until(lambda: other.handed)
    assert (other.handed[0].env, other.handed[0].attempt) == (request.hash, 1)


async def attached_to(bus):
    tray = Tray()
    held = bus.courier.attach(NDXP, tray)
    held.credit(1, ROOM)
    return tray, held


async def test_what_was_not_accepted_gives_its_credit_back(bus, world, monkeypatch):
    _, held = await attached(bus, 1)

    async def away(*_):
        raise Refusal("unavailable")

    monkeypatch.setattr(bus.ledger, "commit", away)
    with pytest.raises(Refusal):
        await bus.ingress.submit(world.envelope(), peer="test")
    assert held.attached.deliveries == 1
    assert held.attached.size == ROOM
    assert held.inbox._reserved == 0


async def test_a_lease_that_ends_is_judged_by_its_own_flight_and_by_no_other(bus, world):
    _, held = await attached(bus, 1)
    request = world.envelope()
    await bus.ingress.submit(request, peer="test")
    moves, now = bus.courier.moves, bus.clock.now()
    back = moves.requeue(held.inbox.flights[request.hash].delivery, now=now)
    elsewhere = moves.lease(back.after, uuid7=bus.entropy.uuid7(), until=now, now=now)
    assert await bus.progress.commit([back, elsewhere]) == [True, True]
    await bus.courier.lease_ended(elsewhere.after)
    assert await state_of(bus, request) == ("queued", 0)
    assert not held.inbox.cautious


async def test_a_cautious_inbox_is_promised_one_at_a_time(bus, world):
    tray, held = await attached(bus, 8)
    held.inbox.cautious = True
    await asyncio.gather(*(bus.ingress.submit(world.envelope(number=n), peer="test") for n in range(1, 5)))
    assert len(tray.handed) == 1


async def test_bulk_leaves_half_of_the_places_to_those_who_ask(bus, world):
    """Beyond two that are open, requests of one sender are bulk here: a flood that has a grant."""
    tray, held = await attached(bus, 8)
    held.inbox.asked_at = asyncio.get_running_loop().time()
    for number in range(1, 15):
        await bus.ingress.submit(world.envelope(number=number), peer="flood")
    lanes = [each.delivery.lane for each in held.inbox.flights.values()]
    assert lanes.count("bulk") <= 4
    held.credit(1, ROOM)
    asked = lookup(world, 99)
    await bus.ingress.submit(asked, peer="one-stop")
    await until(lambda: asked.hash in {each.env for each in tray.handed})


async def test_a_receiver_of_bulk_alone_is_given_all_it_has_room_for(bus, world):
    tray, held = await attached(bus, 0)
    for number in range(1, 11):
        await bus.ingress.submit(world.envelope(number=number), peer="flood")
    held.inbox.asked_at = float("-inf")
    held.credit(10, ROOM)
    await until(lambda: len(tray.handed) == 10)
