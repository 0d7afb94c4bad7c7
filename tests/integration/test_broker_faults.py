"""What the bus does when its broker is away, full, or has lost everything: the rows are the authority."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.bus import sweep
from lgsp.bus.refusing import EnvelopeRefused
from lgsp.domain.limits import LIMITS
from lgsp.errors import Refusal
from lgsp.testing.bus import Tray, ack_of, running_bus
from lgsp.testing.carrier import MemoryCarrier
from lgsp.testing.contracts.transport import waiting
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import NDXP


@pytest.fixture
def store():
    return MemoryLedger()


@pytest.fixture
def carrier(store):
    return MemoryCarrier(store)


@pytest.fixture
def share():
    """Return how many requests of one sender may wait in the request lane."""
    return LIMITS.requests_open


@pytest.fixture
async def bus(world, store, carrier, clock, share):
    async with running_bus(
        world,
        store,
        clock=clock,
        entropy=SeededEntropy(1, clock),
        transport=carrier,
        limits=limits(requests_open=share),
    ) as running:
        yield running


def limits(**changed):
    return replace(LIMITS, lease=timedelta(seconds=60), **changed)


async def state(bus, env, to=NDXP):
    await bus.courier.publisher.note_confirmed()
    return (await bus.courier.inboxes.held(to, [env]))[env].state


async def refusal_of(bus, wire):
    with pytest.raises((Refusal, EnvelopeRefused)) as found:
        await bus.ingress.submit(wire, peer="test")
    return getattr(found.value, "refusal", found.value).code


async def until(condition, seconds=5.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


async def test_an_envelope_is_queued_when_its_receipt_is_given(bus, world):
    request = world.envelope()
    await bus.ingress.submit(request, peer="test")
    assert await state(bus, request.hash) == "queued"


async def test_a_confirmation_is_noted_a_moment_later_and_not_at_all_when_it_is_handed_out_by_then(bus, world):
    first, second = world.envelope(number=1), world.envelope(number=2)
    await bus.ingress.submit(first, peer="test")
    before = bus.figures.moves["queued"]
    [handed] = await bus.courier.pull(NDXP, limit=1, wait=0)
    await bus.ingress.submit(second, peer="test")
    async with asyncio.timeout(5):
        while (await bus.courier.inboxes.held(NDXP, [second.hash]))[second.hash].state != "queued":
            await asyncio.sleep(0.002)
    assert handed.env == first.hash
    assert bus.figures.moves["queued"] == before + 1


async def test_while_the_broker_is_away_nothing_is_receipted_and_nothing_is_lost(bus, world, carrier, clock):
    request = world.envelope()
    carrier.away = True
    assert await refusal_of(bus, request) == "unavailable"
    assert await refusal_of(bus, request) == "unavailable"
    assert await state(bus, request.hash) == "accepted"
    carrier.away = False
    clock.advance(LIMITS.republish.total_seconds() + 1)
    await bus.sweep.once()
    assert await state(bus, request.hash) == "queued"
    again = await bus.ingress.submit(request, peer="test")
    assert again.duplicate


async def test_a_sender_that_repeats_has_its_envelope_queued_first(bus, world, carrier):
    request = world.envelope()
    carrier.away = True
    assert await refusal_of(bus, request) == "unavailable"
    carrier.away = False
    assert (await bus.ingress.submit(request, peer="test")).duplicate
    assert await state(bus, request.hash) == "queued"
    assert [handover.env for handover in await bus.courier.pull(NDXP, limit=5, wait=0)] == [request.hash]


async def test_the_sweep_leaves_what_is_still_being_published_alone(bus, world, carrier):
    carrier.away = True
    request = world.envelope()
    assert await refusal_of(bus, request) == "unavailable"
    carrier.away = False
    await bus.sweep.once()
    assert await state(bus, request.hash) == "accepted"


async def test_a_full_inbox_refuses_before_anything_more_is_accepted(bus, world, carrier):
    carrier.full.add(NDXP)
    first = world.envelope(number=1)
    assert await refusal_of(bus, first) == "inbox_full"
    assert await state(bus, first.hash) == "accepted"
    size = await bus.ledger.size()
    second = world.envelope(number=2)
    assert await refusal_of(bus, second) == "inbox_full"
    assert await bus.ledger.exchange_of(second.hash) is None
    assert await bus.ledger.size() == size + 1, "the refusal is an entry"
    carrier.full.clear()
    await bus.sweep.room.refresh()
    assert (await bus.ingress.submit(first, peer="test")).duplicate
    assert not (await bus.ingress.submit(second, peer="test")).duplicate


async def test_what_the_broker_lost_is_published_again(bus, world, carrier, clock):
    sent = [world.envelope(number=number) for number in (1, 2, 3)]
    for wire in sent:
        await bus.ingress.submit(wire, peer="test")
    carrier.lose()
    assert await bus.courier.pull(NDXP, limit=5, wait=0) == []
    for _ in range(3):
        clock.advance(sweep.CARRIERS_EVERY.total_seconds() + 1)
        await bus.sweep.once()
    assert carrier.published == 6
    found = await bus.courier.pull(NDXP, limit=5, wait=0)
    assert [handover.env for handover in found] == [wire.hash for wire in sent]


async def test_however_much_the_broker_lost_all_of_it_is_published_again(bus, world, carrier, monkeypatch):
    monkeypatch.setattr(sweep, "AT_ONCE", 2)
    sent = [world.envelope(number=number) for number in range(1, 6)]
    for wire in sent:
        await bus.ingress.submit(wire, peer="test")
    await bus.courier.publisher.note_confirmed()
    carrier.lose()
    await bus.sweep.republish(NDXP, "request")
    found = await bus.courier.pull(NDXP, limit=9, wait=0)
    assert [handover.env for handover in found] == [wire.hash for wire in sent]


@pytest.mark.parametrize("share", [2])
async def test_a_lane_that_was_lost_is_found_though_another_carries_something(bus, world, carrier, clock):
    sent = [world.envelope(number=number) for number in range(1, 4)]
    for wire in sent:
        await bus.ingress.submit(wire, peer="test")
    assert await carrier.carried(NDXP) == {"request": 2, "event": 0, "bulk": 1}, "what is beyond the share is bulk"
    carrier.lose_lane(NDXP, "request")
    for _ in range(3):
        clock.advance(sweep.CARRIERS_EVERY.total_seconds() + 1)
        await bus.sweep.once()
    assert carrier.published == 5, "the lane that was not lost is left alone"
    found = await bus.courier.pull(NDXP, limit=5, wait=0)
    assert [handover.env for handover in found] == [wire.hash for wire in sent]


async def send_and_hear_late(bus, carrier, wire, monkeypatch):
    """Send an envelope whose message is on the broker while its confirmation is not heard; return the sending, and what lets it be heard."""
    place, heard = carrier.publish, asyncio.Event()

    async def publish_and_hear_late(parcels):
        placed = await place(parcels)
        await heard.wait()
        return placed

    monkeypatch.setattr(carrier, "publish", publish_and_hear_late)
    sending = asyncio.create_task(bus.ingress.submit(wire, peer="test"))
    await until(lambda: carrier.published)
    monkeypatch.undo()
    return sending, heard


async def test_what_was_just_confirmed_when_its_queue_was_lost_is_published_again(
    bus, world, carrier, clock, monkeypatch
):
    request = world.envelope()
    sending, heard = await send_and_hear_late(bus, carrier, request, monkeypatch)
    carrier.lose()
    clock.advance(1)
    await bus.sweep.republish(NDXP, "request")
    heard.set()
    await sending
    assert await state(bus, request.hash) == "queued"
    assert await waiting(carrier) == 1


async def test_a_confirmation_that_comes_late_changes_nothing_of_what_went_out_and_came_back(
    bus, world, carrier, clock, monkeypatch
):
    request = world.envelope()
    sending, heard = await send_and_hear_late(bus, carrier, request, monkeypatch)
    [handed] = await bus.courier.pull(NDXP, limit=1, wait=1)
    await bus.settlement.put_back(NDXP, env=handed.env, lease=handed.lease, code="busy", retry_after=1)
    carrier.away = True
    clock.advance(10)
    await bus.sweep.once()
    before = (await bus.courier.inboxes.held(NDXP, [request.hash]))[request.hash]
    assert (before.state, before.attempts) == ("accepted", 1)
    heard.set()
    await sending
    assert (await bus.courier.inboxes.held(NDXP, [request.hash]))[request.hash] == before


async def test_what_the_broker_holds_is_not_published_again(bus, world, carrier, clock):
    await bus.ingress.submit(world.envelope(), peer="test")
    for _ in range(4):
        clock.advance(sweep.CARRIERS_EVERY.total_seconds() + 1)
        await bus.sweep.once()
    assert carrier.published == 1


async def test_a_stream_that_breaks_has_its_deliveries_carried_again(bus, world, carrier):
    first, second = world.envelope(number=1), world.envelope(number=2)
    tray = Tray()
    attached = bus.courier.attach(NDXP, tray)
    attached.credit(8, 1 << 20)
    for wire in (first, second):
        await bus.ingress.submit(wire, peer="test")
    await until(lambda: len(tray.handed) == 2)
    await attached.detach(orderly=False)
    assert carrier.published == 4
    assert [await state(bus, wire.hash) for wire in (first, second)] == ["queued", "queued"]


async def test_a_stream_that_breaks_while_the_broker_is_away_loses_nothing(bus, world, carrier, clock):
    request, tray = world.envelope(), Tray()
    attached = bus.courier.attach(NDXP, tray)
    attached.credit(8, 1 << 20)
    await bus.ingress.submit(request, peer="test")
    await until(lambda: tray.handed)
    carrier.away = True
    await attached.detach(orderly=True)
    assert await state(bus, request.hash) == "accepted"
    carrier.away = False
    clock.advance(LIMITS.republish.total_seconds() + 1)
    await bus.sweep.once()
    [handed] = await bus.courier.pull(NDXP, limit=5, wait=0)
    await bus.settlement.acknowledge(NDXP, ack_of(world, "ndxp", NDXP, handed.env)[0])
    assert await state(bus, request.hash) == "acked"


async def test_a_second_message_of_a_settled_delivery_is_forgotten(bus, world, carrier):
    request = world.envelope()
    await bus.ingress.submit(request, peer="test")
    parcel = await bus.courier.inboxes.parcel(request.hash, NDXP)
    [handed] = await bus.courier.pull(NDXP, limit=5, wait=0)
    await bus.settlement.acknowledge(NDXP, ack_of(world, "ndxp", NDXP, handed.env)[0])
    await carrier.publish([parcel])
    assert await bus.courier.pull(NDXP, limit=5, wait=0) == []
    assert await waiting(carrier) == 0


async def test_a_delivery_whose_carrier_lies_is_parked(bus, world):
    request = world.envelope()
    await bus.ingress.submit(request, peer="test")
    assert await bus.courier.set_aside(NDXP, request.hash, code="carrier_mismatch")
    assert not await bus.courier.set_aside(NDXP, request.hash, code="carrier_mismatch")
    assert not await bus.courier.set_aside(NDXP, "sha-256:none", code="carrier_mismatch")
    assert await state(bus, request.hash) == "parked"
    assert await bus.courier.pull(NDXP, limit=5, wait=0) == []


async def test_open_bytes_bound_an_inbox(world, store, carrier, clock):
    small = limits(inbox_bytes=3_000)
    async with running_bus(
        world, store, clock=clock, entropy=SeededEntropy(1, clock), transport=carrier, limits=small
    ) as bus:
        codes = []
        for number in range(1, 6):
            try:
                await bus.ingress.submit(world.envelope(number=number), peer="test")
                codes.append("accepted")
            except EnvelopeRefused as refused:
                codes.append(refused.refusal.code)
        assert codes[0] == "accepted"
        assert codes[-1] == "inbox_full"
        for handed in await bus.courier.pull(NDXP, limit=10, wait=0):
            await bus.settlement.acknowledge(NDXP, ack_of(world, "ndxp", NDXP, handed.env)[0])
        await bus.sweep.room.refresh()
        assert not (await bus.ingress.submit(world.envelope(number=9), peer="test")).duplicate
