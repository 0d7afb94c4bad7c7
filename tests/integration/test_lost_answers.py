"""A commit may have been applied though nobody heard so. What it leased for nobody goes out again as soon as the rows can be read."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.bus import strays
from lgsp.bus.strays import Strays
from lgsp.errors import Refusal
from lgsp.ports.ledger import Accept, Move, Note
from lgsp.testing import samples
from lgsp.testing.bus import Tray, running_bus
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import NDXP

ROOM = 1 << 20


class Forgetful(MemoryLedger):
    """A ledger whose answer to the next commit that is `about` such an operation is lost: it is applied, or not, and refused in either case."""

    def __init__(self):
        super().__init__()
        self.about = None
        self.applies = True

    async def commit(self, operations, sign):
        if self.about is None or not any(self.about(each) for each in operations):
            return await super().commit(operations, sign)
        self.about = None
        if self.applies:
            await super().commit(operations, sign)
        raise Refusal("unavailable")


def accepts(operation):
    return isinstance(operation, Accept)


def leases(operation):
    return isinstance(operation, Move) and operation.state == "leased"


def notes(operation):
    return isinstance(operation, Note)


def puts_back(operation):
    return isinstance(operation, Move) and operation.state in {"queued", "waiting"}


@pytest.fixture
def store():
    return Forgetful()


@pytest.fixture
async def bus(world, store, clock, monkeypatch):
    monkeypatch.setattr("lgsp.bus.courier.AWAY_PAUSE", 0.001)
    monkeypatch.setattr("lgsp.bus.sweep.EVERY", 3_600.0)
    async with running_bus(world, store, clock=clock, entropy=SeededEntropy(1, clock)) as running:
        await running.courier.body_keys.today()
        yield running


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def attached(bus):
    """Return a receiver for whom nothing waits, and its hold on the inbox."""
    tray = Tray()
    held = bus.courier.attach(NDXP, tray)
    held.credit(8, ROOM)
    await until(lambda: held.inbox.waits == "nothing" or tray.handed)
    return tray, held


async def row(bus, wire):
    return (await bus.courier.inboxes.held(NDXP, [wire.hash]))[wire.hash]


async def test_what_was_promised_goes_out_again_though_the_answer_to_its_commit_was_lost(bus, world, store):
    tray, held = await attached(bus)
    sent = world.envelope()
    store.about = accepts
    with pytest.raises(Refusal, match="unavailable"):
        await bus.ingress.submit(sent, peer="test")
    assert (await row(bus, sent)).state == "leased"
    assert tray.handed == []
    await bus.sweep.once()
    await until(lambda: tray.handed)
    assert [(handed.env, handed.attempt) for handed in tray.handed] == [(sent.hash, 1)]
    assert held.attached.deliveries == 7
    assert (await bus.ingress.submit(sent, peer="test")).duplicate
    await bus.sweep.once()
    assert len(tray.handed) == 1


async def test_what_was_promised_by_a_call_that_was_given_up_goes_out_again(bus, world):
    tray, held = await attached(bus)
    sent = world.envelope()
    call = asyncio.create_task(bus.ingress.submit(sent, peer="test"))
    await until(lambda: held.inbox._reserved)
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call
    await bus.sequencer.settle()
    await bus.sweep.once()
    await until(lambda: tray.handed)
    assert [handed.env for handed in tray.handed] == [sent.hash]


@pytest.mark.parametrize("how", ["stream", "pull"])
async def test_what_was_leased_goes_out_again_though_the_answer_to_its_commit_was_lost(bus, world, store, how):
    sent = world.envelope()
    await bus.ingress.submit(sent, peer="test")
    store.about = leases
    if how == "pull":
        with pytest.raises(Refusal, match="unavailable"):
            await bus.courier.pull(NDXP, limit=8, wait=1)
        await bus.sweep.once()
        found = await bus.courier.pull(NDXP, limit=8, wait=1)
    else:
        tray = Tray()
        bus.courier.attach(NDXP, tray).credit(8, ROOM)
        await until(bus.courier.strays.wanted)
        await bus.sweep.once()
        await until(lambda: tray.handed)
        found = tray.handed
    assert [(handed.env, handed.attempt) for handed in found] == [(sent.hash, 1)]


@pytest.mark.parametrize("other_waits", [True, False])
@pytest.mark.parametrize("applied", [True, False])
async def test_what_a_stream_left_behind_goes_out_again_though_putting_it_back_got_no_answer(
    bus, world, store, applied, other_waits
):
    _, held = await attached(bus)
    sent = world.envelope()
    await bus.ingress.submit(sent, peer="test")
    tray = (await attached(bus))[0] if other_waits else None
    store.about, store.applies = puts_back, applied
    with pytest.raises(Refusal, match="unavailable"):
        await held.detach(orderly=True)
    await bus.sweep.once()
    assert held.inbox.flights == {} or other_waits
    tray = tray or (await attached(bus))[0]
    await until(lambda: tray.handed)
    assert [(handed.env, handed.attempt) for handed in tray.handed] == [(sent.hash, 1)]


async def test_a_flight_that_was_put_back_without_an_answer_keeps_no_place(bus, world, store):
    _, held = await attached(bus)
    sent = world.envelope()
    await bus.ingress.submit(sent, peer="test")
    store.about = puts_back
    with pytest.raises(Refusal, match="unavailable"):
        await bus.settlement.put_back(
            NDXP, env=sent.hash, lease=(await row(bus, sent)).lease, code="busy", retry_after=None
        )
    assert held.inbox.flights
    await bus.sweep.once()
    assert held.inbox.flights == {}


@pytest.mark.parametrize("applied", [True, False])
async def test_what_a_dead_gateway_held_wakes_its_receivers_though_the_ledger_went_away_between_two_pages(
    bus, world, store, monkeypatch, applied
):
    monkeypatch.setattr("lgsp.bus.takeover.AT_ONCE", 2)
    sent = [world.envelope(number=number) for number in range(1, 5)]
    dead, now = replace(bus.courier.moves, holder="deadbeef"), world.now
    for wire in sent:
        await bus.ingress.submit(wire, peer="test")
        leased = dead.lease(await row(bus, wire), uuid7=bus.entropy.uuid7(), until=now + timedelta(minutes=5), now=now)
        assert await bus.progress.commit([leased]) == [True]
    tray, _ = await attached(bus)
    moves = count()  # those of the first page are two
    store.about, store.applies = (lambda each: puts_back(each) and next(moves) > 1), applied
    bus.sweep.takeover._living = frozenset()  # as after a start on a database, before it was sure who lives
    with pytest.raises(Refusal, match="unavailable"):
        await bus.sweep.once()
    assert [(await row(bus, wire)).state for wire in sent].count("queued") == (4 if applied else 2)
    await bus.sweep.once()
    await until(lambda: len(tray.handed) == len(sent))
    assert {handed.env for handed in tray.handed} == {wire.hash for wire in sent}


@pytest.mark.parametrize("applied", [True, False])
async def test_a_sum_of_refusals_is_written_once_though_no_answer_came(bus, store, applied):
    bus.refusals.count("signature", "192.0.2.1")
    store.about, store.applies = notes, applied
    with pytest.raises(Refusal, match="unavailable"):
        await bus.sweep.flush_refusals()
    bus.refusals.count("signature", "192.0.2.1")
    await bus.sweep.flush_refusals()
    await bus.sweep.flush_refusals()
    entries = [json.loads(each) for each in await bus.ledger.entries(0, await bus.ledger.size())]
    assert [each["n"] for each in entries if each["ev"] == "edge.refused"] == [1, 1]


async def test_a_lease_that_is_in_somebodys_hand_is_left_alone(bus, world, store):
    tray, held = await attached(bus)
    first, second = world.envelope(number=1), world.envelope(number=2)
    await bus.ingress.submit(first, peer="test")
    before = await row(bus, first)
    store.about, store.applies = accepts, False
    with pytest.raises(Refusal, match="unavailable"):
        await bus.ingress.submit(second, peer="test")
    await bus.sweep.once()
    assert await row(bus, first) == before
    assert [handed.env for handed in tray.handed] == [first.hash]
    assert set(held.inbox.flights) == {first.hash}


def leased_row(number):
    [found] = samples.accept(number, state="leased").deliveries
    return replace(found, lease=f"lease-{number}")


def test_what_is_never_found_is_forgotten_and_so_is_what_is_too_much(clock, monkeypatch):
    monkeypatch.setattr(strays, "KEPT", 2)
    found = Strays(clock=clock)
    rows = [leased_row(number) for number in range(3)]
    found.add(rows)
    assert found.wanted() == {NDXP: [row.env for row in rows[1:]]}
    assert found.among(rows) == rows[1:]
    found.settle(NDXP, [rows[1]])
    assert found.wanted() == {NDXP: [rows[2].env]}
    clock.advance(strays.UNSURE.total_seconds())
    found.settle("another", [])
    assert found.wanted()
    found.settle(NDXP, [])
    assert found.wanted() == {}
