"""What the bus does with envelopes and deliveries, in one process, on every embedded store."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from lgsp.backends.embedded import EmbeddedTransport
from lgsp.backends.memory import MemoryLedger
from lgsp.backends.sql import PostgresLedger, SqliteLedger
from lgsp.bus.refusing import EnvelopeRefused
from lgsp.domain import checkpoint, merkle, notes, statements
from lgsp.domain.entries import draft
from lgsp.domain.limits import LIMITS
from lgsp.domain.retry import RetryPolicy
from lgsp.errors import Refusal
from lgsp.ports.ledger import Note
from lgsp.testing.bus import Tray, ack_of, publish, running_bus
from lgsp.testing.carrier import MemoryCarrier
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import FISHERIES, LOG, NDXP, POLICE, POPULATION, VERIFY_SCHEMA, World


@pytest.fixture(params=["memory", "sqlite", "postgresql", "memory with a broker"])
async def store(request, tmp_path, emptied):
    if request.param.startswith("memory"):
        yield MemoryLedger()
        return
    made = (
        SqliteLedger.open(tmp_path / "bus.sqlite", create=True)
        if request.param == "sqlite"
        else await PostgresLedger.open(await emptied(), create=True)
    )
    yield made
    await made.close()


@pytest.fixture
def transport(request, store):
    return MemoryCarrier(store) if "broker" in request.node.callspec.params["store"] else EmbeddedTransport(store)


@pytest.fixture
async def bus(world, store, transport, clock):
    limits = replace(LIMITS, lease=timedelta(seconds=60))
    async with running_bus(
        world,
        store,
        clock=clock,
        entropy=SeededEntropy(1, clock),
        transport=transport,
        limits=limits,
        retry=RetryPolicy(attempts=3),
    ) as running:
        yield running


async def until(condition, seconds=5.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


async def events(bus):
    size = await bus.ledger.size()
    return [json.loads(entry) for entry in await bus.ledger.entries(0, size)]


async def states(bus, env):
    await bus.courier.publisher.note_confirmed()
    return [(delivery.state, delivery.attempts) for delivery in await bus.courier.inboxes.deliveries(env)]


async def test_an_accepted_envelope_gets_a_receipt_by_the_gateway_over_its_own_log_entry(bus, world):
    wire = world.envelope()
    receipted = await bus.ingress.submit(wire, peer="test")
    statement = statements.from_text(receipted.receipt)
    signed = statements.verify_signature(statement.jws, world.signers["gateway"].public, typ=statements.RECEIPT)
    item = statements.open_item(statement, signed)
    entry = (await bus.ledger.entries(item["index"], item["index"] + 1))[0]
    assert item["env"] == wire.hash
    assert item["outcome"] == "accepted"
    assert item["leaf"] == "sha-256:" + statements.base64url.encode(merkle.leaf_hash(entry))
    assert json.loads(entry)["rule"] == "g-verify"


async def test_r01_the_same_envelope_again_gets_the_first_receipt_byte_for_byte(bus, world, clock):
    wire = world.envelope()
    first = await bus.ingress.submit(wire, peer="test")
    size = await bus.ledger.size()
    clock.advance(3600)
    again = await bus.ingress.submit(wire, peer="test")
    assert again.receipt == first.receipt
    assert again.duplicate
    assert await bus.ledger.size() == size


async def test_r02_the_same_id_with_another_body_is_a_conflict_and_logged(bus, world):
    await bus.ingress.submit(world.envelope(), peer="test")
    with pytest.raises(EnvelopeRefused) as refused:
        await bus.ingress.submit(world.envelope(purpose="dpv:Marketing"), peer="test")
    assert refused.value.refusal.code == "id_conflict"
    assert (await events(bus))[-1] | {"ev": "msg.rejected", "code": "id_conflict"} == (await events(bus))[-1]


async def test_a_refused_envelope_may_come_again_and_is_judged_anew(bus, world, clock):
    wire = world.envelope(recordedtime="2026-11-22T00:19:00.000Z")
    with pytest.raises(EnvelopeRefused) as refused:
        await bus.ingress.submit(wire, peer="test")
    assert refused.value.refusal.code == "clock_ahead"
    clock.advance(180)
    assert not (await bus.ingress.submit(wire, peer="test")).duplicate


async def test_two_of_the_same_at_once_are_accepted_once_with_one_receipt(bus, world):
    wire = world.envelope()
    found = await asyncio.gather(*(bus.ingress.submit(wire, peer="test") for _ in range(8)))
    assert len({each.receipt for each in found}) == 1
    assert sum(not each.duplicate for each in found) == 1
    assert sum(event["ev"] == "msg.accepted" for event in await events(bus)) == 1


async def test_a_request_is_delivered_answered_and_acknowledged_both_ways(bus, world):
    request = world.envelope()
    asker, bridge = Tray(), Tray()
    at_asker, at_bridge = bus.courier.attach(FISHERIES, asker), bus.courier.attach(NDXP, bridge)
    at_asker.credit(8, 1 << 20)
    at_bridge.credit(8, 1 << 20)
    await bus.ingress.submit(request, peer="test")
    await until(lambda: bridge.handed)
    handed = bridge.handed[0]
    assert handed.wire == request
    assert handed.attempt == 1
    reply = world.reply(request)
    await bus.ingress.submit(reply, peer="test")
    await bus.settlement.acknowledge(NDXP, ack_of(world, "ndxp", NDXP, request.hash)[0])
    await until(lambda: asker.handed)
    assert asker.handed[0].wire == reply
    await bus.settlement.acknowledge(FISHERIES, ack_of(world, "fisheries", FISHERIES, reply.hash)[0])
    assert [delivery.state for delivery in asker.outcomes] == ["acked"]
    assert [delivery.env for delivery in bridge.outcomes] == [reply.hash]
    for wire in (request, reply):
        found = [event["ev"] for event in await events(bus) if event.get("env") == wire.hash]
        assert found == ["msg.accepted", "msg.delivered", "msg.acked"]
    await at_asker.detach(orderly=True)
    await at_bridge.detach(orderly=True)


async def test_nothing_is_delivered_without_credit(bus, world):
    bridge = Tray()
    attached = bus.courier.attach(NDXP, bridge)
    await bus.ingress.submit(world.envelope(), peer="test")
    await bus.sequencer.settle()
    assert bridge.handed == []
    attached.credit(1, 1)
    await until(lambda: bridge.handed)
    await attached.detach(orderly=True)


async def test_a_second_ack_is_settled_once(bus, world):
    request = world.envelope()
    await bus.ingress.submit(request, peer="test")
    await bus.courier.pull(NDXP, limit=1, wait=1)
    statement = ack_of(world, "ndxp", NDXP, request.hash)[0]
    assert await bus.settlement.acknowledge(NDXP, statement) == request.hash
    assert await bus.settlement.acknowledge(NDXP, statement) == request.hash
    assert sum(event["ev"] == "msg.acked" for event in await events(bus)) == 1


@pytest.mark.parametrize(
    "item",
    [
        {"outcome": "accepted", "note": "a word too many"},
        {"outcome": "rejected", "code": "no-such-owner-099000000001"},
        {"outcome": "rejected", "code": "schema", "pointer": "/rows/099000000001"},
        {"outcome": "perhaps"},
        {"outcome": "accepted", "env": 1},
        {"outcome": "accepted", "code": " " * 3_000},
    ],
    ids=["another member", "a number in the code", "a number in the pointer", "another outcome", "no env", "too long"],
)
async def test_an_ack_with_anything_else_in_it_settles_nothing(bus, world, item):
    request = world.envelope()
    await bus.ingress.submit(request, peer="test")
    head = statements.ack_head(system=NDXP, at=world.now)
    encoded = json.dumps({"env": request.hash} | item).encode()
    [statement] = statements.sign_batch([encoded], head, typ=statements.ACK, signer=world.signers["ndxp"])
    with pytest.raises(Refusal, match="ack_invalid"):
        await bus.settlement.acknowledge(NDXP, statement)
    assert await states(bus, request.hash) == [("queued", 0)]


async def test_an_ack_under_a_signature_of_any_size_settles_nothing(bus, world):
    request = world.envelope()
    await bus.ingress.submit(request, peer="test")
    head = statements.ack_head(system=NDXP, at=world.now) | {"more": "x" * 8_000}
    item = statements.ack_item(request.hash, "accepted")
    [statement] = statements.sign_batch([item], head, typ=statements.ACK, signer=world.signers["ndxp"])
    with pytest.raises(Refusal, match="ack_invalid"):
        await bus.settlement.acknowledge(NDXP, statement)


@pytest.mark.parametrize(("signer", "system"), [("fisheries", NDXP), ("ndxp", FISHERIES), ("police", NDXP)])
async def test_an_ack_by_another_system_settles_nothing(bus, world, signer, system):
    request = world.envelope()
    await bus.ingress.submit(request, peer="test")
    with pytest.raises(Refusal, match="ack_invalid"):
        await bus.settlement.acknowledge(NDXP, ack_of(world, signer, system, request.hash)[0])
    assert await states(bus, request.hash) == [("queued", 0)]


async def test_a_put_back_delivery_waits_comes_again_and_is_parked_in_the_end(bus, world, clock):
    request = world.envelope(expirytime="2026-11-22T12:00:00.000Z")
    await bus.ingress.submit(request, peer="test")
    for attempt in (1, 2, 3):
        [handed] = await bus.courier.pull(NDXP, limit=1, wait=1)
        assert handed.attempt == attempt
        await bus.settlement.put_back(NDXP, env=handed.env, lease=handed.lease, code="platform_away", retry_after=None)
        assert await bus.courier.pull(NDXP, limit=1, wait=0) == []
        clock.advance(660)
        await bus.sweep.once()
    assert await states(bus, request.hash) == [("parked", 3)]
    [parked] = await bus.progress.outcomes(FISHERIES, limit=10)
    assert (parked.state, parked.code) == ("parked", "platform_away")


async def test_a_put_back_under_a_lost_lease_is_refused(bus, world):
    await bus.ingress.submit(world.envelope(), peer="test")
    [handed] = await bus.courier.pull(NDXP, limit=1, wait=1)
    with pytest.raises(Refusal, match="lease_lost"):
        await bus.settlement.put_back(NDXP, env=handed.env, lease="another", code="busy", retry_after=1)


async def test_after_an_abnormal_end_several_come_back_uncounted_and_go_out_one_at_a_time(bus, world):
    wires = [world.envelope(number=number) for number in (1, 2, 3)]
    for wire in wires:
        await bus.ingress.submit(wire, peer="test")
    first = Tray()
    crashing = bus.courier.attach(NDXP, first)
    crashing.credit(8, 1 << 20)
    await until(lambda: len(first.handed) == 3)
    await crashing.detach(orderly=False)
    second = Tray()
    careful = bus.courier.attach(NDXP, second)
    careful.credit(8, 1 << 20)
    await until(lambda: second.handed)
    await bus.sequencer.settle()
    assert [handed.attempt for handed in second.handed] == [1]
    await bus.settlement.acknowledge(NDXP, ack_of(world, "ndxp", NDXP, second.handed[0].env)[0])
    await until(lambda: len(second.handed) == 3)
    await careful.detach(orderly=True)


async def test_of_two_pulls_at_once_one_waits_after_an_abnormal_end(bus, world):
    for number in (1, 2):
        await bus.ingress.submit(world.envelope(number=number), peer="test")
    tray = Tray()
    crashing = bus.courier.attach(NDXP, tray)
    crashing.credit(8, 1 << 20)
    await until(lambda: len(tray.handed) == 2)
    await crashing.detach(orderly=False)
    pulls = [asyncio.create_task(bus.courier.pull(NDXP, limit=5, wait=5)) for _ in range(2)]
    done, pending = await asyncio.wait(pulls, return_when=asyncio.FIRST_COMPLETED)
    [first] = [pull.result() for pull in done]
    assert len(first) == 1
    await bus.sequencer.settle()
    assert dict(bus.courier.in_flight())[NDXP] == 1
    await bus.settlement.acknowledge(NDXP, ack_of(world, "ndxp", NDXP, first[0].env)[0])
    [second] = await asyncio.gather(*pending)
    assert [handed.attempt for handed in first + second] == [1, 1]


async def test_a_directory_that_has_not_moved_is_not_read_again(bus, world, monkeypatch):
    async def read():
        raise AssertionError("it was read whole")

    monkeypatch.setattr(bus.registry.store, "head", read)
    assert await bus.registry.reload() is bus.registry.current


async def test_without_credit_nothing_goes_out_one_at_a_time_either(bus, world):
    for number in (1, 2):
        await bus.ingress.submit(world.envelope(number=number), peer="test")
    first = Tray()
    crashing = bus.courier.attach(NDXP, first)
    crashing.credit(8, 1 << 20)
    await until(lambda: len(first.handed) == 2)
    await crashing.detach(orderly=False)
    size = await bus.ledger.size()
    silent = bus.courier.attach(NDXP, Tray())
    for _ in range(20):
        await asyncio.sleep(0)
        await bus.sequencer.settle()
    assert await bus.ledger.size() == size
    await silent.detach(orderly=True)


async def test_what_the_byte_credit_does_not_cover_is_not_leased(bus, world):
    wires = [world.envelope(number=number) for number in (1, 2, 3)]
    tray = Tray()
    attached = bus.courier.attach(NDXP, tray)
    for wire in wires:
        await bus.ingress.submit(wire, peer="test")
    attached.credit(
        100, len(wires[0].compact) + len(wires[0].body) + 1
    )  # the second one goes beyond it, the third one stays
    await until(lambda: len(tray.handed) == 2)
    await bus.sequencer.settle()
    assert sum(event["ev"] == "msg.delivered" for event in await events(bus)) == 2
    attached.credit(0, 1 << 20)
    await until(lambda: len(tray.handed) == 3)
    await attached.detach(orderly=True)


async def test_leases_that_end_together_count_no_attempt(bus, world, clock):
    wires = [world.envelope(number=number) for number in (1, 2)]
    for wire in wires:
        await bus.ingress.submit(wire, peer="test")
    assert len(await bus.courier.pull(NDXP, limit=2, wait=1)) == 2
    clock.advance(61)
    await bus.sweep.once()
    assert [await states(bus, wire.hash) for wire in wires] == [[("queued", 0)], [("queued", 0)]]
    assert len(await bus.courier.pull(NDXP, limit=2, wait=1)) == 1


async def test_streams_that_break_one_after_the_other_count_no_attempt_for_what_flew_together(bus, world):
    wires = [world.envelope(number=number) for number in (1, 2)]
    trays = [Tray(), Tray()]
    streams = [bus.courier.attach(NDXP, tray) for tray in trays]
    for stream, wire in zip(streams, wires, strict=True):
        stream.credit(1, 1 << 20)
        await bus.ingress.submit(wire, peer="test")
    await until(lambda: all(tray.handed for tray in trays))
    for stream in streams:
        await stream.detach(orderly=False)
    assert [await states(bus, wire.hash) for wire in wires] == [[("queued", 0)], [("queued", 0)]]


async def test_an_old_ack_that_comes_again_does_not_end_the_care(bus, world):
    wires = [world.envelope(number=number) for number in (1, 2, 3)]
    for wire in wires:
        await bus.ingress.submit(wire, peer="test")
    tray = Tray()
    crashing = bus.courier.attach(NDXP, tray)
    crashing.credit(3, 1 << 20)
    await until(lambda: len(tray.handed) == 3)
    statement = ack_of(world, "ndxp", NDXP, wires[0].hash)[0]
    await bus.settlement.acknowledge(NDXP, statement)
    await crashing.detach(orderly=False)
    await bus.settlement.acknowledge(NDXP, statement)
    assert len(await bus.courier.pull(NDXP, limit=3, wait=1)) == 1


async def test_an_envelope_that_comes_again_wakes_a_receiver_who_was_not_told_the_first_time(bus, world, monkeypatch):
    request, tray = world.envelope(), Tray()
    attached = bus.courier.attach(NDXP, tray)
    attached.credit(1, 1 << 20)

    async def away(*_):
        raise Refusal("unavailable")

    monkeypatch.setattr(type(bus.ingress.placing), "place", away)
    with pytest.raises(Refusal):
        await bus.ingress.submit(request, peer="test")
    monkeypatch.undo()
    assert (await bus.ingress.submit(request, peer="test")).duplicate
    await until(lambda: tray.handed)


async def test_a_late_ack_that_crosses_the_next_hand_over_leaves_nothing_in_flight(bus, world, monkeypatch):
    request = world.envelope()
    await bus.ingress.submit(request, peer="test")
    first = await bus.courier.pull(NDXP, limit=1, wait=0)
    statement = ack_of(world, "ndxp", NDXP, request.hash)[0]
    commit = bus.progress.commit

    async def crossed(steps):
        """Let the delivery come back and go out again between the reading of its row and the ack's commit."""
        monkeypatch.undo()
        await bus.settlement.give_back(first)
        assert len(await bus.courier.pull(NDXP, limit=1, wait=0)) == 1
        return await commit(steps)

    monkeypatch.setattr(type(bus.progress), "commit", lambda _, steps: crossed(steps))
    await bus.settlement.acknowledge(NDXP, statement)
    assert dict(bus.courier.in_flight())[NDXP] == 0


async def test_a_pull_that_waits_with_care_goes_on_when_the_one_in_flight_is_settled(bus, world):
    wires = [world.envelope(number=number) for number in (1, 2)]
    for wire in wires:
        await bus.ingress.submit(wire, peer="test")
    tray = Tray()
    crashing = bus.courier.attach(NDXP, tray)
    crashing.credit(2, 1 << 20)
    await until(lambda: len(tray.handed) == 2)
    await crashing.detach(orderly=False)
    [first] = await bus.courier.pull(NDXP, limit=2, wait=1)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(bus.courier.pull(NDXP, limit=2, wait=60))
        await asyncio.sleep(0)
        await bus.settlement.acknowledge(NDXP, ack_of(world, "ndxp", NDXP, first.env)[0])
    assert [handed.env for handed in waiting.result()] == [wires[1].hash]


async def test_a_poison_message_parks_itself_and_nobody_else(bus, world, clock):
    poison, *neighbours = [
        world.envelope(number=number, expirytime="2026-11-22T12:00:00.000Z") for number in (1, 2, 3, 4)
    ]
    for wire in (poison, *neighbours):
        await bus.ingress.submit(wire, peer="test")
    settled = set()
    for _ in range(12):
        tray = Tray()
        attached = bus.courier.attach(NDXP, tray)
        attached.credit(8, 1 << 20)
        await bus.sweep.once()
        await bus.sequencer.settle()
        seen = 0
        crashed = False
        while not crashed:
            await asyncio.sleep(0.01)
            if len(tray.handed) == seen:
                break
            for handed in tray.handed[seen:]:
                seen += 1
                if handed.env == poison.hash:
                    crashed = True
                    break
                await bus.settlement.acknowledge(NDXP, ack_of(world, "ndxp", NDXP, handed.env)[0])
                settled.add(handed.env)
        await attached.detach(orderly=not crashed)
        clock.advance(660)
    assert settled == {wire.hash for wire in neighbours}
    assert await states(bus, poison.hash) == [("parked", 3)]


async def test_what_is_too_late_expires_and_its_sender_learns_it(bus, world, clock):
    request = world.envelope()
    await bus.ingress.submit(request, peer="test")
    clock.advance(360)
    await bus.sweep.once()
    assert await states(bus, request.hash) == [("expired", 0)]
    [outcome] = await bus.progress.outcomes(FISHERIES, limit=10)
    assert outcome.state == "expired"
    await bus.progress.seen(FISHERIES, env=request.hash, to=NDXP)
    assert await bus.progress.outcomes(FISHERIES, limit=10) == []


async def test_a_lease_that_ends_gives_the_delivery_back_and_the_log_does_not_say_that_its_receiver_did(
    bus, world, clock
):
    request = world.envelope()
    await bus.ingress.submit(request, peer="test")
    await bus.courier.pull(NDXP, limit=1, wait=1)
    clock.advance(61)
    await bus.sweep.once()
    assert await states(bus, request.hash) == [("waiting", 1)]
    clock.advance(10)
    await bus.sweep.once()
    [again] = await bus.courier.pull(NDXP, limit=1, wait=1)
    await bus.settlement.put_back(NDXP, env=again.env, lease=again.lease, code="busy", retry_after=None)
    entries = map(json.loads, await bus.ledger.entries(0, await bus.ledger.size()))
    told = [(each["ev"], each["code"], each["attempt"]) for each in entries if "attempt" in each and "code" in each]
    assert told == [("msg.waiting", "lease_ended", 1), ("msg.nacked", "busy", 2)]


async def test_a_waiting_call_gets_its_reply_and_keeps_it_when_the_lease_ends(bus, world, clock):
    request = world.envelope()
    with bus.replies.expect(FISHERIES, "0199a1f2-7b1c-7000-8000-000000000001") as waiter:
        await bus.ingress.submit(request, peer="test")
        reply = world.reply(request)
        await bus.ingress.submit(reply, peer="test")
        handed = await waiter.wait(1)
    assert handed is not None
    assert handed.wire == reply
    await bus.replies.answered(handed)
    clock.advance(31)
    await bus.sweep.once()
    assert await states(bus, reply.hash) == [("acked", 0)]


async def test_a_reply_that_a_waiting_call_was_given_is_settled_even_when_it_expires_under_its_lease(bus, world, clock):
    request = world.envelope()
    with bus.replies.expect(FISHERIES, "0199a1f2-7b1c-7000-8000-000000000001") as waiter:
        await bus.ingress.submit(request, peer="test")
        reply = world.reply(request, expirytime="2026-11-22T00:16:41.000Z")
        await bus.ingress.submit(reply, peer="test")
        handed = await waiter.wait(1)
    await bus.replies.answered(handed)
    clock.advance(60)
    await bus.sweep.once()
    assert await states(bus, reply.hash) == [("acked", 0)]


async def test_a_reply_whose_answer_was_never_written_comes_through_the_inbox(bus, world, clock):
    request = world.envelope()
    with bus.replies.expect(FISHERIES, "0199a1f2-7b1c-7000-8000-000000000001") as waiter:
        await bus.ingress.submit(request, peer="test")
        reply = world.reply(request)
        await bus.ingress.submit(reply, peer="test")
        assert await waiter.wait(1) is not None
    clock.advance(31)
    await bus.sweep.once()
    [handed] = await bus.courier.pull(FISHERIES, limit=1, wait=1)
    assert (handed.wire, handed.attempt) == (reply, 1)


async def test_a_reply_that_comes_after_the_wait_is_in_the_inbox(bus, world):
    request = world.envelope()
    with bus.replies.expect(FISHERIES, "0199a1f2-7b1c-7000-8000-000000000001") as waiter:
        await bus.ingress.submit(request, peer="test")
        assert await waiter.wait(0.01) is None
    await bus.ingress.submit(world.reply(request), peer="test")
    assert len(await bus.courier.pull(FISHERIES, limit=5, wait=1)) == 1


@pytest.mark.parametrize(
    ("signer", "changes", "code"),
    [
        ("ndxp", {"causationid": "0199a1f2-7b1c-7000-8000-0000000000ff"}, "reply_unasked"),
        ("police", {"source": "urn:lgsp:agency:H01.21:sys:police"}, "reply_source"),
    ],
)
async def test_r19_a_reply_that_nobody_asked_this_system_for_is_refused(bus, world, signer, changes, code):
    request = world.envelope()
    await bus.ingress.submit(request, peer="test")
    with pytest.raises(EnvelopeRefused) as refused:
        await bus.ingress.submit(world.reply(request, signer=signer, **changes), peer="test")
    assert refused.value.refusal.code == code


async def test_r19_a_second_reply_is_refused_even_when_both_come_at_once(bus, world):
    request = world.envelope()
    await bus.ingress.submit(request, peer="test")
    found = await asyncio.gather(
        *(bus.ingress.submit(world.reply(request, number=number), peer="test") for number in (2, 3)),
        return_exceptions=True,
    )
    codes = [each.refusal.code for each in found if isinstance(each, EnvelopeRefused)]
    assert codes == ["reply_duplicate"]


async def test_unproven_refusals_make_one_entry_a_minute_however_many_they_are(bus, world, clock):
    wire = world.envelope()
    forged = replace(wire, compact=wire.compact[:-6] + b"AAAAAA")
    size = await bus.ledger.size()
    for _ in range(500):
        with pytest.raises(EnvelopeRefused):
            await bus.ingress.submit(forged, peer="127.0.0.1")
    assert await bus.ledger.size() == size
    clock.advance(61)
    await bus.sweep.once()
    assert (await events(bus))[-1]["n"] == 500
    assert await bus.ledger.size() == size + 1


async def test_a_senders_identical_refusals_are_summed_beyond_twenty_a_minute(bus, world, clock):
    size = await bus.ledger.size()
    receipts = []
    for number in range(50):
        with pytest.raises(EnvelopeRefused) as refused:
            await bus.ingress.submit(world.envelope(number=number, body={"result": "no"}), peer="test")
        receipts.append(refused.value.receipt)
    assert sum(receipt is not None for receipt in receipts) == 20
    clock.advance(61)
    await bus.sweep.once()
    assert await bus.ledger.size() == size + 21
    assert (await events(bus))[-1]["n"] == 30


async def test_an_envelope_judged_under_an_old_directory_is_judged_again(bus, world):
    narrowed = World.make(version=2, prev=world.directory.hash, changes={"g-verify": None})
    await asyncio.gather(
        bus.ingress.submit(world.envelope(), peer="test"), publish(bus, narrowed), return_exceptions=True
    )
    policies = [event["policy"] for event in await events(bus) if event["ev"] == "msg.accepted"]
    assert 2 not in policies  # version 2 grants nothing: whatever was judged under 1 stands before it in the log
    with pytest.raises(EnvelopeRefused, match="no_grant"):
        await bus.ingress.submit(world.envelope(number=9), peer="test")


async def test_every_entry_is_proven_under_a_signed_checkpoint(bus, world):
    await bus.ingress.submit(world.envelope(), peer="test")
    size = await bus.ledger.size()
    key = notes.NoteKey(
        name=LOG, kind=notes.LOG_KEY, public=world.signers["log"].handle.public_key().public_bytes_raw()
    )
    for index, entry in enumerate(await bus.ledger.entries(0, size)):
        found = checkpoint.verify_proof(await bus.auditor.proof(index), entry, key)
        assert found.size == size


async def test_a_checkpoint_that_was_given_out_is_kept(bus, world):
    await bus.ingress.submit(world.envelope(), peer="test")
    note = await bus.auditor.checkpoint()
    await bus.auditor.keep()
    assert await bus.ledger.checkpoint() == note


@pytest.mark.parametrize("size", [1_024, 1_025, 2_100])
async def test_a_proof_verifies_wherever_in_a_long_log_its_entry_stands(bus, world, clock, size):
    held = await bus.ledger.size()
    entry = draft("log.closed", at=clock.now(), bus=bus.gateway)
    await bus.sequencer.submit(*(Note(entry=entry) for _ in range(size - held)))
    key = notes.NoteKey(name=LOG, kind=notes.LOG_KEY, public=world.signers["log"].public.x)
    for index in sorted({0, 1, 1_022, 1_023, min(1_024, size - 1), min(2_048, size - 1), size - 1}):
        [found] = await bus.ledger.entries(index, index + 1)
        assert checkpoint.verify_proof(await bus.auditor.proof(index), found, key).size == size


async def test_no_number_of_a_person_is_in_the_log(bus, world):
    await bus.ingress.submit(world.envelope(), peer="test")
    size = await bus.ledger.size()
    whole = b"".join(await bus.ledger.entries(0, size))
    assert b"099185000017" not in whole
    assert json.loads((await bus.ledger.entries(size - 1, size))[0])["sc"]


async def test_a_lease_can_be_extended_up_to_ten_minutes_and_no_longer(bus, world, clock):
    await bus.ingress.submit(world.envelope(expirytime="2026-11-22T12:00:00.000Z"), peer="test")
    [handed] = await bus.courier.pull(NDXP, limit=1, wait=1)
    for _ in range(15):
        clock.advance(50)
        until_when = await bus.settlement.extend(NDXP, env=handed.env, lease=handed.lease)
    assert until_when == world.now + timedelta(minutes=10)
    await bus.sweep.once()
    with pytest.raises(Refusal, match="lease_lost"):
        await bus.settlement.extend(NDXP, env=handed.env, lease=handed.lease)


async def test_a_lease_that_is_extended_while_the_sweep_ends_it_goes_on(bus, world, clock):
    await bus.ingress.submit(world.envelope(expirytime="2026-11-22T12:00:00.000Z"), peer="test")
    [handed] = await bus.courier.pull(NDXP, limit=1, wait=1)
    clock.advance(301)
    [ended] = await bus.courier.inboxes.due(clock.now(), 9)
    until_when = await bus.settlement.extend(NDXP, env=handed.env, lease=handed.lease)
    await bus.courier.lease_ended(ended)
    held = (await bus.courier.inboxes.held(NDXP, [handed.env]))[handed.env]
    assert (held.state, held.lease, held.lease_until) == ("leased", handed.lease, until_when)
    assert bus.courier.in_hand(NDXP, handed.env) is not None
    clock.advance(301)
    await bus.sweep.once()
    held = (await bus.courier.inboxes.held(NDXP, [handed.env]))[handed.env]
    assert (held.state, held.code, held.attempts) == ("waiting", "lease_ended", 1)
    assert bus.courier.in_hand(NDXP, handed.env) is None


async def test_a_repeated_request_takes_no_reply_from_the_call_that_waits_for_it(bus, world):
    request = world.envelope()
    with bus.replies.expect(FISHERIES, "0199a1f2-7b1c-7000-8000-000000000001") as waiter:
        await bus.ingress.submit(request, peer="test")
        with bus.replies.expect(FISHERIES, "0199a1f2-7b1c-7000-8000-000000000001") as second:
            assert (await bus.ingress.submit(request, peer="test")).duplicate
            await bus.ingress.submit(world.reply(request), peer="test")
            assert await second.wait(0.01) is None
        assert await waiter.wait(1) is not None


async def test_who_subscribed_twice_gets_an_event_once(world, store, clock):
    changed = "vn.lgsp.fisheries.vessel.changed.v1"
    topic = f"urn:lgsp:topic:{changed}"
    service = {"kind": "service", "id": changed, "schemas": [VERIFY_SCHEMA], "lane": "event"}
    grant = {
        "kind": "grant", "id": "g-event", "grantee": FISHERIES, "type": changed, "audience": topic, "since": 1, "basis": "Decree",
        "purposes": ["dpv:IdentityVerification"],
    }  # fmt: skip
    twice = [
        {"kind": "subscription", "id": name, "subscriber": POLICE, "type": changed, "since": 1}
        for name in ("s-1", "s-2")
    ]
    told = World.make(added=[service, grant, *twice])
    event = told.envelope(type=changed, audience=topic, legalbasis=None, procedure=None, authid=None)
    async with running_bus(told, store, clock=clock, entropy=SeededEntropy(1, clock)) as bus:
        await bus.ingress.submit(event, peer="test")
        assert [delivery.to for delivery in await bus.courier.inboxes.deliveries(event.hash)] == [POLICE]


async def test_a_draining_bus_takes_nothing_in(bus, world):
    bus.ingress.draining = True
    with pytest.raises(Refusal, match="draining"):
        await bus.ingress.submit(world.envelope(), peer="test")


async def test_only_a_party_sees_what_became_of_an_exchange(bus, world):
    request = world.envelope()
    await bus.ingress.submit(request, peer="test")
    exchange, deliveries = await bus.progress.history(FISHERIES, request.hash)
    assert exchange.receivers == (POPULATION,)
    assert [delivery.to for delivery in deliveries] == [NDXP]
    with pytest.raises(Refusal, match="not_found"):
        await bus.progress.history("urn:lgsp:agency:H01.21:sys:police", request.hash)
