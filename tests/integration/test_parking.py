"""What people decide on parked deliveries: listed, told, read, replayed, dropped; in one process, on every store, and with a broker between."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.backends.sql.sqlite import SqliteLedger
from lgsp.bus.parking import Choice
from lgsp.domain.exchange import OPEN
from lgsp.domain.limits import LIMITS
from lgsp.domain.retry import RetryPolicy
from lgsp.errors import Refusal
from lgsp.ports.ledger import Move
from lgsp.testing.bus import Tray, ack_of, running_bus
from lgsp.testing.carrier import MemoryCarrier
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import FISHERIES, NDXP, OFFICER, POLICE, VERIFY, VERIFY_REPLY

BY = {"by": OFFICER, "reason": "the receiver is mended"}


@pytest.fixture(params=["memory", "sqlite", "carried"])
async def store(request, tmp_path):
    if request.param != "sqlite":
        yield MemoryLedger()
        return
    made = SqliteLedger.open(tmp_path / "bus.sqlite", create=True)
    yield made
    await made.close()


@pytest.fixture
def carrier(request, store):
    """What carries deliveries; None where the rows are the queue."""
    return MemoryCarrier(store) if request.node.callspec.params.get("store") == "carried" else None


@pytest.fixture
async def bus(world, store, carrier, clock):
    changes = {} if carrier is None else {"transport": carrier}
    async with running_bus(
        world, store, clock=clock, entropy=SeededEntropy(1, clock), retry=RetryPolicy(attempts=1), **changes
    ) as running:
        yield running


async def until(condition, seconds=5.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


async def entries(bus):
    return [json.loads(entry) for entry in await bus.ledger.entries(0, await bus.ledger.size())]


async def park(bus, wire, code="broken"):
    """Submit an envelope and let its receiver put it back until it is parked."""
    await bus.ingress.submit(wire, peer="test")
    [handed] = await bus.courier.pull(NDXP, limit=1, wait=0)
    await bus.settlement.put_back(NDXP, env=handed.env, lease=handed.lease, code=code, retry_after=None)
    return wire.hash


async def state(bus, env):
    [held] = await bus.parking.inboxes.deliveries(env)
    return held.state, held.attempts, held.code


@asynccontextmanager
async def attached(bus, system):
    tray = Tray()
    stream = bus.courier.attach(system, tray)
    stream.credit(16, 1 << 20)
    yield tray
    await stream.detach(orderly=True)


async def test_what_is_parked_is_listed_with_type_code_and_attempts(bus, world):
    env = await park(bus, world.envelope())
    found = await bus.parking.listing(Choice(), limit=10)
    [item] = found.items
    assert (found.total, found.whole) == (1, True)
    assert (item.delivery.env, item.delivery.to, item.delivery.code, item.delivery.attempts, item.type) == (
        env, NDXP, "broken", 1, VERIFY,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(), 2),
        (Choice(system=NDXP), 2),
        (Choice(system=POLICE), 0),
        (Choice(code="broken"), 1),
        (Choice(type=VERIFY, code="other"), 1),
        (Choice(type=VERIFY_REPLY), 0),
    ],
)
async def test_a_list_holds_what_its_filters_leave(bus, world, choice, expected):
    await park(bus, world.envelope(number=1), code="broken")
    await park(bus, world.envelope(number=2), code="other")
    found = await bus.parking.listing(choice, limit=1)
    assert (found.total, len(found.items)) == (expected, min(expected, 1))


async def test_a_replayed_delivery_goes_out_again_with_its_original_bytes_and_no_attempt_counted(bus, world):
    wire = world.envelope()
    env = await park(bus, wire)
    async with attached(bus, NDXP) as tray:
        assert await bus.parking.replay([(env, NDXP)], **BY) == [None]
        await until(lambda: tray.handed)
        assert (tray.handed[0].wire, tray.handed[0].attempt) == (wire, 1)
        await bus.settlement.acknowledge(NDXP, ack_of(world, "ndxp", NDXP, env)[0])
    assert (await state(bus, env))[0] == "acked"


async def test_the_log_names_who_replayed_and_why(bus, world):
    env = await park(bus, world.envelope())
    await bus.parking.replay([(env, NDXP)], **BY)
    last = (await entries(bus))[-1]
    assert {name: last[name] for name in ("ev", "env", "to", "by", "reason")} == {
        "ev": "msg.replayed", "env": env, "to": NDXP, "by": OFFICER, "reason": "the receiver is mended",
    }  # fmt: skip


async def test_a_dropped_delivery_ends_and_its_sender_learns_it(bus, world):
    env = await park(bus, world.envelope())
    async with attached(bus, FISHERIES) as sender:
        assert await bus.parking.drop([(env, NDXP)], **BY) == [None]
        assert [(told.state, told.code) for told in sender.outcomes] == [("expired", "dropped")]
    last = (await entries(bus))[-1]
    assert (last["ev"], last["code"], last["by"], last["reason"]) == (
        "msg.expired", "dropped", OFFICER, "the receiver is mended",
    )  # fmt: skip
    assert [held.state for held in await bus.progress.outcomes(FISHERIES, limit=5)] == ["expired"]
    assert await bus.parking.inboxes.parcel(env, NDXP) is None


async def test_of_two_who_decide_at_once_one_is_told_that_the_other_was_quicker(bus, world):
    env = await park(bus, world.envelope())
    results = await asyncio.gather(
        *(decide([(env, NDXP)], **BY) for decide in (bus.parking.replay, bus.parking.drop, bus.parking.replay))
    )
    codes = sorted(result.code if result else "" for [result] in results)
    assert codes == ["", "not_parked", "not_parked"]
    assert sum(entry["ev"] in {"msg.replayed", "msg.expired"} for entry in await entries(bus)) == 1


async def test_a_delivery_named_twice_is_replayed_once(bus, world):
    env = await park(bus, world.envelope())
    [first, second] = await bus.parking.replay([(env, NDXP), (env, NDXP)], **BY)
    assert (first, second.code) == (None, "not_parked")


async def refused_before(bus, world, clock):
    yield "not_found", ("sha-256:" + "A" * 43, NDXP)
    queued = world.envelope(number=7)
    await bus.ingress.submit(queued, peer="test")
    yield "not_parked", (queued.hash, NDXP)
    yield "not_found", (queued.hash, POLICE)


async def test_what_cannot_be_decided_on_is_refused_and_changes_nothing(bus, world, clock):
    async for code, place in refused_before(bus, world, clock):
        size = await bus.ledger.size()
        for decide in (bus.parking.replay, bus.parking.drop):
            [refusal] = await decide([place], **BY)
            assert refusal.code == code
        with pytest.raises(Refusal) as refused:
            await bus.parking.read(place, **BY)
        assert refused.value.code == code
        assert await bus.ledger.size() == size


async def test_nothing_is_replayed_once_nobody_may_receive_it(bus, world, clock):
    env = await park(bus, world.envelope())
    clock.advance(301)
    [refusal] = await bus.parking.replay([(env, NDXP)], **BY)
    assert refusal.code == "expired"
    assert (await state(bus, env))[0] == "parked"


async def test_nothing_is_replayed_whose_body_does_not_open(bus, world, monkeypatch):
    first, second = [await park(bus, world.envelope(number=number)) for number in (1, 2)]
    [parcel] = [await bus.parking.inboxes.parcel(first, NDXP)]
    broken = replace(parcel, sealed=parcel.sealed[:-1] + bytes([parcel.sealed[-1] ^ 1]))
    real = type(bus.parking.inboxes).parcel

    async def parcel_of(store, env, to):
        return broken if env == first else await real(store, env, to)

    monkeypatch.setattr(type(bus.parking.inboxes), "parcel", parcel_of)
    [lost, replayed] = await bus.parking.replay([(first, NDXP), (second, NDXP)], **BY)
    await bus.courier.publisher.note_confirmed()
    assert (lost.code, replayed) == ("body_lost", None)
    assert [(await state(bus, env))[0] for env in (first, second)] == ["parked", "queued"]
    assert await bus.parking.drop([(first, NDXP)], **BY) == [None]


@pytest.mark.parametrize("store", ["carried"], indirect=True)
async def test_what_is_replayed_while_the_broker_is_away_goes_out_when_it_is_back(bus, world, carrier, clock):
    env = await park(bus, world.envelope())
    carrier.away = True
    assert await bus.parking.replay([(env, NDXP)], **BY) == [None]
    assert await state(bus, env) == ("accepted", 0, "")
    assert await bus.courier.pull(NDXP, limit=1, wait=0) == []
    carrier.away = False
    clock.advance(LIMITS.republish.total_seconds() + 1)
    await bus.sweep.once()
    [handed] = await bus.courier.pull(NDXP, limit=1, wait=0)
    assert (handed.env, handed.attempt) == (env, 1)


async def test_reading_the_bytes_is_an_entry_before_they_are_given(bus, world):
    wire = world.envelope()
    env = await park(bus, wire)
    assert await bus.parking.read((env, ""), **BY) == wire
    last = (await entries(bus))[-1]
    assert (last["ev"], last["env"], last["to"], last["by"]) == ("admin.parked.read", env, NDXP, OFFICER)
    assert (await state(bus, env))[0] == "parked"


@pytest.mark.parametrize("reason", ["", " ", "two\nlines", "x" * 201, "asked by 099185000017"])
async def test_a_reason_that_the_log_may_not_hold_is_refused(bus, world, reason):
    env = await park(bus, world.envelope())
    size = await bus.ledger.size()
    for act in (bus.parking.replay, bus.parking.drop):
        with pytest.raises(Refusal) as refused:
            await act([(env, NDXP)], by="local", reason=reason)
        assert refused.value.code == "bad_request"
    with pytest.raises(Refusal):
        await bus.parking.read((env, NDXP), by="local", reason=reason)
    assert await bus.ledger.size() == size


async def test_an_envelope_that_is_parked_for_two_is_named_with_its_inbox(bus, world, store):
    env = await park(bus, world.envelope())
    [held] = await bus.parking.inboxes.deliveries(env)

    async def both(_env):
        return [held, replace(held, to=POLICE)]

    object.__setattr__(bus.parking, "inboxes", type("Two", (), {"deliveries": staticmethod(both)})())
    [refusal] = await bus.parking.drop([(env, "")], **BY)
    assert refusal.code == "bad_request"


async def test_the_story_of_an_envelope_is_told_from_request_to_reply_with_its_entries(bus, world):
    request = world.envelope()
    env = await park(bus, request)
    await bus.parking.replay([(env, NDXP)], **BY)
    [handed] = await bus.courier.pull(NDXP, limit=1, wait=0)
    reply = world.reply(request)
    await bus.ingress.submit(reply, peer="test")
    await bus.settlement.acknowledge(NDXP, ack_of(world, "ndxp", NDXP, handed.env)[0])
    await bus.courier.publisher.note_confirmed()
    for asked in (env, reply.hash):
        story = await bus.parking.lineage(asked)
        assert [exchange.env for exchange, _ in story.chain] == [env, reply.hash]
        assert [[held.state for held in held] for _, held in story.chain] == [["acked"], ["queued"]]
        assert [(entry["ev"], entry["env"] == env) for entry in story.entries] == [
            ("msg.accepted", True), ("msg.delivered", True), ("msg.parked", True), ("msg.replayed", True), ("msg.delivered", True),
            ("msg.accepted", False), ("msg.acked", True),
        ]  # fmt: skip
        assert [entry["seq"] for entry in story.entries] == sorted(entry["seq"] for entry in story.entries)
        assert story.whole
        assert not {"sc", "purpose", "kid"} & {name for entry in story.entries for name in entry}


async def test_a_late_ack_of_the_first_hand_over_ends_a_replayed_delivery(bus, world):
    env = await park(bus, world.envelope())
    await bus.parking.replay([(env, NDXP)], **BY)
    await bus.settlement.acknowledge(NDXP, ack_of(world, "ndxp", NDXP, env)[0])
    assert (await state(bus, env))[0] == "acked"
    [refusal] = await bus.parking.replay([(env, NDXP)], **BY)
    assert (refusal.code, refusal.detail) == ("not_parked", "it is acked")


async def test_a_move_that_comes_in_between_loses_nothing(bus, world):
    env = await park(bus, world.envelope())
    [held] = await bus.parking.inboxes.deliveries(env)
    ended = Move(env=env, to=NDXP, expect=OPEN, state="expired", attempts=held.attempts, code="expired")
    both = asyncio.gather(bus.sequencer.submit(ended), bus.parking.replay([(env, NDXP)], **BY))
    _, [refusal] = await both
    assert refusal.code == "not_parked"
    assert (await state(bus, env))[0] == "expired"
