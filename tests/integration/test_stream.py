"""The stream as a client sees it: every frame of the protocol's table both ways, and every way a stream ends."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest
import structlog

from lgsp.backends.memory import MemoryLedger
from lgsp.bus.ingress import Ingress
from lgsp.domain import envelope, framing, statements
from lgsp.domain.limits import LIMITS
from lgsp.domain.retry import RetryPolicy
from lgsp.errors import Refusal, catalogue
from lgsp.http.leavings import PATIENCE
from lgsp.http.settings import HTTP_LIMITS
from lgsp.testing.bus import ack_of, publish
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import FISHERIES, NDXP, World


@asynccontextmanager
async def opened(world, **changes):
    changes.setdefault("clock", ManualClock(world.now))
    async with running_edge(world, MemoryLedger(), entropy=SeededEntropy(1), **changes) as edge:
        yield edge


@pytest.fixture
async def edge(world):
    async with opened(world) as running:
        yield running


async def accepted(edge, world, count):
    """Post requests of fisheries to the population service and return them."""
    wires = [world.envelope(number=number) for number in range(1, count + 1)]
    for wire in wires:
        assert (await edge.post(wire)).status == 202
    return wires


def hash_of(delivered):
    return envelope.from_structured(delivered["envelope"]).hash


async def until(condition):
    """Wait for what nothing tells of: the other end of a connection, a row of the ledger."""
    async with asyncio.timeout(10):
        while not (await found if inspect.isawaitable(found := condition()) else found):
            await asyncio.sleep(0.005)


# --- the way of one exchange ---------------------------------------------------------------------------------------------------


async def test_a_stream_welcomes_with_a_nonce_and_then_tells_the_checkpoint(edge):
    async with edge.stream("fisheries") as stream:
        welcome = stream.welcome
        assert welcome.keys() == {"op", "nonce", "max_inflight", "now"}
        assert welcome["max_inflight"] == LIMITS.max_inflight
        assert envelope.parse_time(welcome["now"]) == edge.world.now
        note = (await stream.receive("checkpoint"))["note"]
        assert note == await edge.bus.auditor.checkpoint()


async def test_an_exchange_goes_both_ways_over_two_streams(edge, world):
    request = world.envelope()
    async with edge.stream("fisheries") as asker, edge.stream("ndxp") as bridge:
        await asker.send("r-1", request)
        receipt = await asker.receive("receipt")
        assert receipt["ref"] == "r-1"
        assert json.loads(receipt["receipt"]["item"])["env"] == request.hash

        await bridge.give(credit=1)
        delivered = await bridge.receive("deliver")
        assert delivered.keys() == {"op", "envelope", "receipt", "lease", "attempt", "now"}
        assert envelope.from_structured(delivered["envelope"]) == request
        assert (delivered["receipt"], delivered["attempt"]) == (receipt["receipt"], 1)

        reply = world.reply(request)
        await bridge.send(7, reply)
        assert (await bridge.receive("receipt"))["ref"] == 7
        [ack] = ack_of(world, "ndxp", NDXP, request.hash)
        await bridge.ack(ack)
        assert await bridge.receive("settled") == {"op": "settled", "env": request.hash}

        outcome = await asker.receive("outcome")
        assert outcome == {
            "op": "outcome", "env": request.hash, "to": NDXP, "state": "acked", "code": "", "ack": ack.wire(),
        }  # fmt: skip
        await asker.give(credit=1)
        assert envelope.from_structured((await asker.receive("deliver"))["envelope"]) == reply


async def test_the_same_envelope_again_gets_the_first_receipt(edge, world):
    async with edge.stream("fisheries") as stream:
        await stream.send(1, world.envelope())
        await stream.send(2, world.envelope())
        first, second = await stream.receive("receipt"), await stream.receive("receipt")
        assert {first["ref"], second["ref"]} == {1, 2}
        assert first["receipt"] == second["receipt"]


async def test_a_refused_send_is_answered_under_its_reference_in_the_streams_language(edge, world):
    async with edge.stream("fisheries", language="vi") as stream:
        await stream.send(5, world.envelope(purpose="dpv:Marketing"))
        refused = await stream.receive("refused")
        problem = refused["problem"]
        assert (refused["ref"], problem["code"], problem["pointer"]) == (5, "purpose_not_granted", "/purpose")
        assert problem["title"] == catalogue()["purpose_not_granted"].title["vi"]
        assert json.loads(problem["receipt"]["item"])["outcome"] == "rejected"
        assert problem["request_id"]


async def test_a_ping_is_answered_with_the_buses_time(edge, world):
    async with edge.stream("fisheries") as stream:
        await stream.put(op="ping")
        assert envelope.parse_time((await stream.receive("pong"))["now"]) == world.now


# --- credit, nack, extend, seen ------------------------------------------------------------------------------------------------


async def test_nothing_is_delivered_without_credit_and_no_more_than_it(edge, world):
    await accepted(edge, world, 3)
    async with edge.stream("ndxp") as stream:
        await stream.receive("checkpoint")
        assert await stream.answers() == []
        await stream.give(credit=2)
        await stream.receive("deliver")
        await stream.receive("deliver")
        assert await stream.answers() == []
        await stream.give(credit=1)
        await stream.receive("deliver")


async def test_credit_counts_bytes_too(edge, world):
    await accepted(edge, world, 2)
    async with edge.stream("ndxp") as stream:
        await stream.give(credit=1, size=10)
        await stream.receive("deliver")
        await stream.give(credit=10, size=0)
        assert [frame for frame in await stream.answers() if frame["op"] == "deliver"] == []
        await stream.give(credit=0, size=100_000)
        await stream.receive("deliver")


async def test_a_nacked_delivery_comes_again_as_the_next_attempt(world):
    async with opened(world, retry=RetryPolicy(attempts=3)) as edge:
        [wire] = await accepted(edge, world, 1)
        async with edge.stream("ndxp") as stream:
            await stream.give(credit=5)
            first = await stream.receive("deliver")
            await stream.put(op="nack", env=wire.hash, lease=first["lease"], code="busy", retry_after=1)
            await until_waiting(edge, wire)
            edge.bus.clock.advance(60)
            await edge.bus.sweep.once()
            again = await stream.receive("deliver")
            assert (hash_of(again), again["attempt"]) == (wire.hash, 2)
            assert again["lease"] != first["lease"]


async def row_of(edge, wire):
    """Return the delivery of an envelope to the bridge."""
    return (await edge.bus.courier.inboxes.held(NDXP, [wire.hash]))[wire.hash]


async def until_waiting(edge, wire):
    async def is_waiting():
        return ((await edge.bus.courier.inboxes.held(NDXP, [wire.hash])).get(wire.hash)).state == "waiting"

    await until(is_waiting)


async def test_a_lease_is_extended_while_its_holder_works(edge, world):
    [wire] = await accepted(edge, world, 1)
    async with edge.stream("ndxp") as stream:
        await stream.give(credit=1)
        delivered = await stream.receive("deliver")
        edge.bus.clock.advance(200)
        await stream.put(op="extend", env=wire.hash, lease=delivered["lease"])

        async def is_extended():
            return (
                (await edge.bus.courier.inboxes.held(NDXP, [wire.hash])).get(wire.hash)
            ).lease_until > world.now + LIMITS.lease

        await until(is_extended)


@pytest.mark.parametrize("op", ["nack", "extend"])
async def test_a_lease_that_is_not_held_is_refused_for_its_delivery(edge, world, op):
    [wire] = await accepted(edge, world, 1)
    async with edge.stream("ndxp") as stream:
        await stream.put(op=op, env=wire.hash, lease="another", code="busy")
        refused = await stream.receive("refused")
        assert (refused["env"], refused["problem"]["code"]) == (wire.hash, "lease_lost")


async def test_an_ack_by_another_system_is_refused_for_its_delivery(edge, world):
    [wire] = await accepted(edge, world, 1)
    [ack] = ack_of(world, "police", NDXP, wire.hash)
    async with edge.stream("ndxp") as stream:
        await stream.ack(ack)
        refused = await stream.receive("refused")
        assert (refused["env"], refused["problem"]["code"]) == (wire.hash, "ack_invalid")


async def settle(edge, world, wires):
    async with edge.stream("ndxp") as stream:
        await stream.give(credit=len(wires))
        for _ in wires:
            await stream.receive("deliver")
        for ack in ack_of(world, "ndxp", NDXP, *(wire.hash for wire in wires)):
            await stream.ack(ack)
        for _ in wires:
            await stream.receive("settled")


async def test_an_outcome_is_told_on_every_new_stream_until_it_is_seen(edge, world):
    wires = await accepted(edge, world, 2)
    await settle(edge, world, wires)
    for _ in range(2):
        async with edge.stream("fisheries") as stream:
            told = {(await stream.receive("outcome"))["env"] for _ in wires}
            assert told == {wire.hash for wire in wires}
    async with edge.stream("fisheries") as stream:
        await stream.put(op="seen", env=wires[0].hash, to=NDXP)
        await until_unseen(edge, 1)
    async with edge.stream("fisheries") as stream:
        assert (await stream.receive("outcome"))["env"] == wires[1].hash
        assert [frame for frame in await stream.answers() if frame["op"] == "outcome"] == []


async def until_unseen(edge, count):
    async def is_so():
        return len(await edge.bus.progress.outcomes(FISHERIES, limit=100)) == count

    await until(is_so)


async def test_outcomes_are_paged_in_as_they_are_seen(world):
    async with opened(world, settings=replace(HTTP_LIMITS, outcome_items=2)) as edge:
        wires = await accepted(edge, world, 9)
        await settle(edge, world, wires)
        async with edge.stream("fisheries") as stream:
            told = []
            for _ in wires:
                outcome = await stream.receive("outcome")
                told.append(outcome["env"])
                await stream.put(op="seen", env=outcome["env"], to=NDXP)
            assert sorted(told) == sorted(wire.hash for wire in wires)
            await until_unseen(edge, 0)


async def test_what_happens_while_much_is_unseen_is_told_later(world):
    async with opened(world, settings=replace(HTTP_LIMITS, outcome_items=1)) as edge:
        wires = await accepted(edge, world, 6)
        async with edge.stream("fisheries") as stream:
            await stream.receive("checkpoint")
            await settle(edge, world, wires)
            first = [await stream.receive("outcome") for _ in range(2)]
            assert [frame for frame in await stream.answers() if frame["op"] == "outcome"] == []
            for outcome in first:
                await stream.put(op="seen", env=outcome["env"], to=NDXP)
            told = {outcome["env"] for outcome in first}
            while len(told) < len(wires):
                outcome = await stream.receive("outcome")
                told.add(outcome["env"])
                await stream.put(op="seen", env=outcome["env"], to=NDXP)


async def park(edge, world):
    """Have a delivery parked, and return it."""
    [wire] = await accepted(edge, world, 1)
    async with edge.stream("ndxp") as stream:
        await stream.give(credit=1)
        delivered = await stream.receive("deliver")
        await stream.put(op="nack", env=wire.hash, lease=delivered["lease"], code="busy")

        async def is_parked():
            return (await row_of(edge, wire)).state == "parked"

        await until(is_parked)
    return wire


@pytest.mark.parametrize("way", ["stream", "call"])
async def test_an_outcome_that_changed_after_it_was_shown_is_still_to_be_seen(world, way):
    async with opened(world, retry=RetryPolicy(attempts=1)) as edge:
        wire = await park(edge, world)
        seen = {"env": wire.hash, "to": NDXP, "state": "parked"}
        async with edge.stream("fisheries") as stream:
            assert (await stream.receive("outcome"))["state"] == "parked"
            [ack] = ack_of(world, "ndxp", NDXP, wire.hash)  # a late one
            assert (await edge.post_acks("ndxp", acks=[ack.wire()])).status == 200
            if way == "stream":
                await stream.put(op="seen", **seen)
                assert (await stream.receive("outcome"))["state"] == "acked"
            else:
                assert (await edge.post_acks("fisheries", seen=[seen])).status == 200
            await stream.answers()
        assert [held.state for held in await edge.bus.progress.outcomes(FISHERIES, limit=5)] == ["acked"]
        async with edge.stream("fisheries") as stream:
            await stream.receive("outcome")
            await stream.put(op="seen", **seen | {"state": "acked"})
            await until_unseen(edge, 0)


async def test_what_a_system_sees_over_one_stream_makes_room_on_its_other_one(world):
    settings = replace(HTTP_LIMITS, outcome_items=1, outcomes_again_seconds=0.05)
    async with opened(world, settings=settings) as edge:
        wires = await accepted(edge, world, 6)
        async with edge.stream("fisheries") as seeing, edge.stream("fisheries") as silent:
            await silent.receive("checkpoint")
            await settle(edge, world, wires)
            for _ in wires:
                outcome = await seeing.receive("outcome")
                await seeing.put(op="seen", env=outcome["env"], to=NDXP, state=outcome["state"])
            await until_unseen(edge, 0)
            late = world.envelope(number=7)
            await edge.post(late)
            await settle(edge, world, [late])
            while (await silent.receive("outcome"))["env"] != late.hash:
                pass


async def test_what_a_system_never_sent_it_cannot_see(edge, world):
    [wire] = await accepted(edge, world, 1)
    async with edge.stream("police") as stream:
        await stream.put(op="seen", env=wire.hash, to=NDXP)
        assert (await stream.receive("refused"))["problem"]["code"] == "not_found"


# --- speed ---------------------------------------------------------------------------------------------------------------------


async def test_acks_and_sends_that_arrive_together_share_transactions(edge, world):
    wires = await accepted(edge, world, 60)
    commits = count_commits(edge)
    async with edge.stream("ndxp") as stream, edge.stream("fisheries") as asker:
        await stream.give(credit=100)
        for _ in wires:
            await stream.receive("deliver")
        commits.clear()
        for ack in ack_of(world, "ndxp", NDXP, *(wire.hash for wire in wires)):
            await stream.ack(ack)
        for _ in wires:
            await stream.receive("settled")
        assert len(commits) <= 20
        commits.clear()
        for number in range(100, 160):
            await asker.send(number, world.envelope(number=number))
        assert {(await asker.receive("receipt"))["ref"] for _ in range(60)} == set(range(100, 160))
        assert len(commits) <= 20


def count_commits(edge):
    """Have the ledger note each transaction, and return the notes."""
    found = []
    ledger = edge.bus.sequencer.ledger

    class Counting:
        async def commit(self, operations, sign):
            found.append(len(operations))
            await asyncio.sleep(0)
            return await ledger.commit(operations, sign)

    edge.bus.sequencer.ledger = Counting()
    return found


async def test_answers_come_in_any_order(edge, world, monkeypatch):
    first = world.envelope(number=1)
    held = asyncio.Event()
    submit_all = Ingress.submit_all

    async def slow_first(self, wires, *, tell, **named):
        for place, wire in sorted(enumerate(wires), key=lambda pair: pair[1] == first):
            if wire == first:
                await held.wait()
            await submit_all(self, [wire], tell=lambda _, answer, place=place: tell(place, answer), **named)

    monkeypatch.setattr(Ingress, "submit_all", slow_first)
    async with edge.stream("fisheries") as stream:
        await stream.send(1, first)
        await stream.send(2, world.envelope(number=2))
        assert (await stream.receive("receipt"))["ref"] == 2
        held.set()
        assert (await stream.receive("receipt"))["ref"] == 1


# --- who may open one ----------------------------------------------------------------------------------------------------------


async def say_hello(edge, signer, **changes):
    async with edge.silent_stream() as stream:
        nonce = changes.pop("nonce", stream.welcome["nonce"])
        path = changes.pop("path", "/v1/stream")
        auth = edge.authorization(signer, "GET", path, jti=nonce).removeprefix("LGSP ")
        await stream.put(op="hello", auth=changes.pop("auth", auth))
        return await stream.closing()


@pytest.mark.parametrize(
    ("signer", "changes", "code"),
    [
        ("ndxp", {"nonce": "0199a1f2-9000-7000-8000-000000000001"}, "auth_replayed"),
        ("ndxp", {"path": "/v1/inbox"}, "auth_invalid"),
        ("ndxp", {"auth": "x.y.z"}, "auth_invalid"),
        ("ndxp", {"auth": 7}, "auth_missing"),
        ("auditor", {}, "forbidden"),
        ("gateway", {}, "auth_invalid"),
    ],
)
async def test_a_hello_that_proves_nothing_closes_the_stream(edge, signer, changes, code):
    closing = await say_hello(edge, signer, **changes)
    assert (closing["reason"], closing["problem"]["code"]) == (code, code)
    assert edge.bus.refusals.total[code] == 1


async def test_a_stream_that_does_not_say_hello_in_time_is_closed(world):
    async with opened(world, settings=replace(HTTP_LIMITS, hello_seconds=0.05)) as edge, edge.silent_stream() as stream:
        assert (await stream.closing())["reason"] == "auth_missing"


@pytest.mark.parametrize(
    "text", ['{"op":"ping"}', "no json", '{"op":"hello"}', '{"op":"hello","op":"hello","auth":"x"}']
)
async def test_a_stream_begins_with_hello_and_nothing_else(edge, text):
    async with edge.silent_stream() as stream:
        await stream.ws.send_str(text)
        assert (await stream.closing())["reason"] in {"auth_missing", "bad_request"}


FIRST_FRAMES = {
    "too large": b"\x81\xfe\x20\x01",
    "larger than can be": b"\x81\xff" + (2**20).to_bytes(8, "big"),
    "a part of a large one": b"\x01\x85abcd",
    "a ping, after which anything could come": b"\x89\x80abcd",
}


@pytest.mark.parametrize("start", FIRST_FRAMES.values(), ids=FIRST_FRAMES.keys())
async def test_a_stream_that_begins_with_more_than_a_hello_is_closed_at_once(edge, start):
    async with edge.silent_stream() as stream:
        stream.ws._response.connection.transport.write(start)
        closed = await asyncio.wait_for(stream.ws.receive(), 1)
        assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1009)
    await until(lambda: edge.bus.refusals.total["auth_missing"] == 1)


async def test_a_hello_may_come_byte_by_byte_and_large_frames_after_it(edge, world):
    async with edge.silent_stream() as stream:
        auth = edge.authorization("fisheries", "GET", "/v1/stream", jti=stream.welcome["nonce"])
        hello = json.dumps({"op": "hello", "auth": auth.removeprefix("LGSP ")}).encode()
        frame = b"\x81\xfe" + len(hello).to_bytes(2, "big") + bytes(4) + hello
        for at in range(len(frame)):
            stream.ws._response.connection.transport.write(frame[at : at + 1])
            if at < 12:
                await asyncio.sleep(0)
        await stream.receive("checkpoint")
        await stream.put(op="send", ref="x" * 30_000, envelope={})
        assert (await stream.receive("refused"))["problem"]["code"] == "bad_request"


def held_back(monkeypatch):
    """Return what lets go of all that is submitted, and what was submitted so far."""
    held, submitted = asyncio.Event(), []
    submit_all = Ingress.submit_all

    async def slow(self, wires, **named):
        submitted.extend(wires)
        await held.wait()
        await submit_all(self, wires, **named)

    monkeypatch.setattr(Ingress, "submit_all", slow)
    return held, submitted


async def test_a_sender_is_slowed_down_by_the_bytes_that_are_not_answered_yet(world, monkeypatch):
    held, submitted = held_back(monkeypatch)
    frame = len(json.dumps({"op": "send", "ref": 1, "envelope": world.envelope().structured()}))
    async with (
        opened(world, limits=replace(LIMITS, inflight_bytes=3 * frame)) as edge,
        edge.stream("fisheries") as stream,
    ):
        for number in range(20):
            await stream.send(number, world.envelope(number=number))
        await until(lambda: len(submitted) >= 3)
        await edge.call("GET", "/healthz")
        assert len(submitted) <= 4, "beyond the bound, and one frame more, nothing is read"
        held.set()
        assert {(await stream.receive("receipt"))["ref"] for _ in range(20)} == set(range(20))


async def test_what_a_send_holds_counts_however_small_the_frames_beside_it_are(world, monkeypatch):
    held, submitted = held_back(monkeypatch)
    size = sum(map(len, world.envelope().structured().values()))
    async with (
        opened(world, limits=replace(LIMITS, inflight_bytes=3 * size)) as edge,
        edge.stream("fisheries", protocols=framing.SUBPROTOCOLS) as stream,
    ):
        for number in range(20):
            send = {"op": "send", "ref": number, "envelope": world.envelope(number=number).structured()}
            await stream.ws.send_str(json.dumps([send, *[{"op": "ping"}] * 63]))
        await until(lambda: len(submitted) >= 3)
        await edge.call("GET", "/healthz")
        assert len(submitted) <= 4, "beyond the bound, and one message more, nothing is read"
        held.set()
        receipts = set()
        while len(receipts) < 20:
            receipts |= {frame["ref"] for frame in await told_in_groups(stream) if frame["op"] == "receipt"}


async def test_after_a_frame_that_is_none_nothing_more_of_its_message_is_done(edge, world):
    send = {"op": "send", "ref": 1, "envelope": world.envelope().structured()}
    async with edge.stream("fisheries", protocols=framing.SUBPROTOCOLS) as stream:
        await stream.receive("checkpoint")
        await stream.ws.send_str(json.dumps([{"op": "dance"}, {"op": "dance"}, send]))
        [closing] = await told_in_groups(stream)
        assert closing["reason"] == "bad_frame"
    assert edge.bus.refusals.total["bad_request"] == 1
    assert await edge.bus.ledger.exchange_of(world.envelope().hash) is None


async def test_a_stream_speaks_the_agreed_subprotocol(edge):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await edge.client.ws_connect(f"{edge.running.url}/v1/stream", protocols=["other"])
    assert refused.value.status == 400


async def test_one_system_has_a_bounded_number_of_streams(world):
    async with opened(world, settings=replace(HTTP_LIMITS, streams_of_one=1)) as edge:
        async with edge.stream("ndxp") as kept:
            await kept.receive("checkpoint")
            async with edge.stream("ndxp") as extra:
                assert (await extra.closing())["reason"] == "rate_limited"
            async with edge.stream("police") as other:
                await other.receive("checkpoint")
        await until(lambda: len(edge.running.streams) == 0)
        async with edge.stream("ndxp") as again:
            await again.receive("checkpoint")


async def test_streams_without_hello_are_bounded(world):
    async with opened(world, settings=replace(HTTP_LIMITS, streams_unknown=1)) as edge, edge.silent_stream():
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await edge.client.ws_connect(f"{edge.running.url}/v1/stream", protocols=["lgsp.v1"])
        assert refused.value.status == 429


# --- frames that are none ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "nonsense",
        '{"op":"hello","auth":"x"}',
        '{"op":"dance"}',
        '{"op":5}',
        '{"ref":1}',
        '{"op":"ping","op":"ping"}',
        '{"op":"ping","x":NaN}',
        '{"op":"ping","x":' + "[" * 40 + "]" * 40 + "}",
    ],
)
async def test_what_is_no_frame_ends_the_stream_and_is_counted(edge, text):
    async with edge.stream("ndxp") as stream:
        await stream.ws.send_str(text)
        closing = await stream.closing()
        assert (closing["reason"], closing["problem"]["code"]) == ("bad_frame", "bad_request")
        assert stream.ws.close_code == 1008
    assert edge.bus.refusals.total["bad_request"] == 1


async def told_in_groups(stream):
    """Return the frames of the next message of a stream that agreed to groups."""
    message = await asyncio.wait_for(stream.ws.receive(), 10)
    return framing.frames_of(message.data.encode(), depth=8, grouped=True)


async def test_frames_go_in_groups_both_ways_where_both_ends_know_them(edge, world):
    wires = [world.envelope(number=number) for number in range(1, 21)]
    async with edge.stream("fisheries", protocols=framing.SUBPROTOCOLS) as stream:
        assert stream.ws.protocol == framing.GROUPED
        await stream.receive("checkpoint")
        sends = [{"op": "send", "ref": ref, "envelope": wire.structured()} for ref, wire in enumerate(wires)]
        await stream.ws.send_str(json.dumps([*sends, {"op": "ping"}]))
        messages = []
        while sum(map(len, messages)) < len(sends) + 1:
            messages.append(await told_in_groups(stream))
    answers = [frame for message in messages for frame in message]
    assert [frame["ref"] for frame in answers if frame["op"] == "receipt"] == list(range(20))
    assert [frame["op"] for frame in answers].count("pong") == 1
    assert len(messages) < len(answers) / 2


@pytest.mark.parametrize("offered", [("lgsp.v1",), ("lgsp.v1", "lgsp.v1.groups"), ("soap", "lgsp.v1")])
async def test_who_asks_for_single_frames_gets_each_in_a_message_of_its_own(edge, world, offered):
    async with edge.stream("fisheries", protocols=offered) as stream:
        assert stream.ws.protocol == framing.SINGLE
        for ref in range(10):
            await stream.send(ref, world.envelope(number=ref + 1))
        assert [(await stream.receive("receipt"))["ref"] for _ in range(10)] == list(range(10))
        await stream.ws.send_str('[{"op":"ping"}]')
        assert (await stream.closing())["reason"] == "bad_frame"


@pytest.mark.parametrize("group", ["[]", "[1]", '[{"op":"ping"},{"op":5}]', json.dumps([{"op": "ping"}] * 65)])
async def test_a_group_that_is_none_ends_the_stream_and_nothing_of_it_is_done(edge, group):
    async with edge.stream("ndxp", protocols=framing.SUBPROTOCOLS) as stream:
        await stream.receive("checkpoint")
        await stream.ws.send_str(group)
        [closing] = await told_in_groups(stream)
        assert (closing["op"], closing["reason"]) == ("closing", "bad_frame")
    assert edge.bus.refusals.total["bad_request"] == 1


async def test_a_binary_message_ends_the_stream(edge):
    async with edge.stream("ndxp") as stream:
        await stream.ws.send_bytes(b'{"op":"ping"}')
        assert (await stream.closing())["reason"] == "bad_frame"


async def test_a_message_beyond_the_limit_ends_the_stream(edge):
    async with edge.stream("ndxp") as stream:
        await stream.receive("checkpoint")
        await stream.ws.send_str(json.dumps({"op": "ping", "x": "x" * LIMITS.frame_bytes}))
        with pytest.raises(ConnectionError):
            await stream.next_frame()
    await until(lambda: len(edge.running.streams) == 0)


STRUCTURED = {"protected": "a", "payload": "b", "signature": "c", "data": ""}


@pytest.mark.parametrize(
    ("frame", "about", "code"),
    [
        ({"op": "send", "ref": 1}, {"ref": 1}, "structured"),
        ({"op": "send", "ref": 1, "envelope": {**STRUCTURED, "header": {}}}, {"ref": 1}, "structured"),
        ({"op": "send", "ref": "x", "envelope": {**STRUCTURED, "data": {}}}, {"ref": "x"}, "structured"),
        ({"op": "send", "ref": "x", "envelope": {**STRUCTURED, "payload": "é"}}, {"ref": "x"}, "structured"),
        ({"op": "send", "ref": 2, "envelope": STRUCTURED}, {"ref": 2}, "base64"),
        ({"op": "send", "envelope": STRUCTURED}, {"ref": None}, "bad_request"),
        ({"op": "send", "ref": "x" * 65, "envelope": STRUCTURED}, {"ref": None}, "bad_request"),
        ({"op": "send", "ref": True, "envelope": STRUCTURED}, {"ref": None}, "bad_request"),
        ({"op": "credit", "n": -1, "bytes": 0}, {"env": ""}, "bad_request"),
        ({"op": "credit", "n": 1}, {"env": ""}, "bad_request"),
        ({"op": "ack", "ack": {}}, {"env": ""}, "ack_invalid"),
        ({"op": "nack", "env": "x"}, {"env": ""}, "bad_request"),
        ({"op": "extend", "env": "sha-256:" + "A" * 43, "lease": 1}, {"env": "sha-256:" + "A" * 43}, "bad_request"),
        ({"op": "seen", "env": "sha-256:" + "A" * 43, "to": "x"}, {"env": "sha-256:" + "A" * 43}, "bad_request"),
        (
            {"op": "seen", "env": "sha-256:" + "A" * 43, "to": NDXP, "state": []},
            {"env": "sha-256:" + "A" * 43},
            "bad_request",
        ),
    ],
)
async def test_a_frame_with_a_member_not_of_its_form_is_refused_and_the_stream_goes_on(edge, frame, about, code):
    async with edge.stream("ndxp") as stream:
        await stream.put(**frame)
        refused = await stream.receive("refused")
        assert refused.pop("problem")["code"] == code
        assert refused == {"op": "refused", **about}
        await stream.put(op="ping")
        await stream.receive("pong")


async def test_a_fault_of_ours_refuses_one_frame_and_keeps_the_stream(edge, world, monkeypatch):
    async def broken(*_args, **_named):
        raise RuntimeError("a fault")

    async with edge.stream("fisheries") as stream:
        monkeypatch.setattr(Ingress, "_submit_once", broken)
        with structlog.testing.capture_logs() as lines:
            await stream.send(1, world.envelope())
            refused = await stream.receive("refused")
        assert [line["event"] for line in lines].count("request.failed") == 1
        assert (refused["ref"], refused["problem"]["code"]) == (1, "internal")
        assert "a fault" not in json.dumps(refused["problem"].get("detail", ""))
        monkeypatch.undo()
        await stream.send(2, world.envelope())
        assert (await stream.receive("receipt"))["ref"] == 2


# --- how a stream ends ---------------------------------------------------------------------------------------------------------


async def test_more_unanswered_sends_than_agreed_end_the_stream(world, monkeypatch):
    held = asyncio.Event()

    async def slow(_self, wires, *, tell, **_named):
        await held.wait()
        for place in range(len(wires)):
            tell(place, Refusal("unavailable"))

    async with opened(world, limits=replace(LIMITS, max_inflight=2)) as edge:
        monkeypatch.setattr(Ingress, "submit_all", slow)
        async with edge.stream("fisheries") as stream:
            assert stream.welcome["max_inflight"] == 2
            for number in (1, 2, 3):
                await stream.send(number, world.envelope(number=number))
            assert (await stream.closing())["reason"] == "too_many_inflight"
            held.set()


@pytest.mark.parametrize(
    "changes",
    [
        {NDXP: {"status": "suspended"}},
        "key",
    ],
)
async def test_a_suspended_system_or_a_revoked_key_loses_its_stream_within_a_second(edge, world, changes):
    if changes == "key":
        changes = {world.signers["ndxp"].kid: {"until": 2}}
    after = World.make(version=2, prev=world.directory.hash, changes=changes)
    async with edge.stream("ndxp") as stream, edge.stream("fisheries") as other:
        await stream.receive("checkpoint")
        await other.receive("checkpoint")
        started = time.monotonic()
        await publish(edge.bus, after)
        assert (await stream.closing())["reason"] == "suspended"
        assert time.monotonic() - started < 1
        assert stream.ws.close_code == 1008
        await other.put(op="ping")
        await other.receive("pong")
    closing = await say_hello(edge, "ndxp")
    assert closing["reason"] in {"sender_suspended", "auth_invalid"}


async def test_a_suspension_does_not_wait_for_what_is_unanswered(edge, world, monkeypatch):
    held = asyncio.Event()
    submit_all = Ingress.submit_all

    async def slow(self, wires, **named):
        await held.wait()
        await submit_all(self, wires, **named)

    monkeypatch.setattr(Ingress, "submit_all", slow)
    after = World.make(version=2, prev=world.directory.hash, changes={FISHERIES: {"status": "suspended"}})
    async with edge.stream("fisheries") as stream:
        await stream.send(1, world.envelope())
        await stream.put(op="ping")
        await stream.receive("pong")
        await publish(edge.bus, after)
        assert (await stream.closing())["reason"] == "suspended"
    held.set()


async def test_a_drain_answers_what_is_under_way_and_says_when_to_come_back(edge, world, monkeypatch):
    held = asyncio.Event()
    submit_all = Ingress.submit_all

    async def slow(self, wires, **named):
        await held.wait()
        await submit_all(self, wires, **named)

    monkeypatch.setattr(Ingress, "submit_all", slow)
    async with edge.stream("fisheries") as stream:
        await stream.send(1, world.envelope())
        await stream.put(op="ping")
        await stream.receive("pong")
        draining = asyncio.create_task(edge.running.drain())
        await until(lambda: edge.running.streams._draining)
        held.set()
        assert (await stream.receive("receipt"))["ref"] == 1
        closing = await stream.closing()
        assert (closing["reason"], closing["retry_after"]) == ("drain", HTTP_LIMITS.retry_after)
        assert stream.ws.close_code == 1001
        await draining


def connection_of(stream):
    return stream.ws._response.connection.transport


async def flood(edge, stream):
    """Ask for more than is read until the gateway has had enough; every such frame is answered with a longer one."""
    connection_of(stream).pause_reading()
    [session] = edge.running.streams._open
    text = json.dumps({"op": "nack"})
    while not session._ended.done():
        for _ in range(20):
            await stream.ws.send_str(text)
        await asyncio.sleep(0)


async def test_a_reader_that_does_not_read_is_told_so_when_it_reads_again(world):
    async with opened(world, limits=replace(LIMITS, unsent_bytes=200_000)) as edge:
        async with edge.stream("ndxp") as stream:
            await stream.receive("checkpoint")
            await flood(edge, stream)
            connection_of(stream).resume_reading()
            closing = await stream.closing()
            assert (closing["reason"], closing["retry_after"]) == ("slow_reader", HTTP_LIMITS.retry_after)
        await until(lambda: len(edge.running.streams) == 0)


async def test_a_reader_that_never_reads_again_is_cut(world):
    settings = replace(HTTP_LIMITS, drain_seconds=0.1, closing_seconds=0.1)
    async with (
        opened(world, limits=replace(LIMITS, unsent_bytes=200_000), settings=settings) as edge,
        edge.stream("ndxp") as stream,
    ):
        await stream.receive("checkpoint")
        await flood(edge, stream)
        await until(lambda: len(edge.running.streams) == 0)
        connection_of(stream).abort()


async def test_an_orderly_end_returns_what_was_held_at_once_and_uncounted(edge, world):
    wires = await accepted(edge, world, 3)
    async with edge.stream("ndxp") as stream:
        await stream.give(credit=3)
        for _ in wires:
            await stream.receive("deliver")
    async with edge.stream("ndxp") as again:
        await again.give(credit=3)
        frames = [await again.receive("deliver") for _ in wires]
        assert {hash_of(frame) for frame in frames} == {wire.hash for wire in wires}
        assert {frame["attempt"] for frame in frames} == {1}


async def test_a_message_that_is_left_politely_time_after_time_is_parked_and_its_neighbour_is_not(world):
    """A program that fails on one message and then closes its stream in order."""
    async with opened(world, retry=RetryPolicy(attempts=2)) as edge:
        poison, neighbour = await accepted(edge, world, 2)

        async def states():
            return [(await row_of(edge, wire)).state for wire in (poison, neighbour)]

        for _ in range(PATIENCE + 4):
            async with edge.stream("ndxp") as stream:
                await stream.give(credit=2)
                await edge.bus.sweep.once()
                if await states() != ["parked", "acked"]:
                    delivered = hash_of(await stream.receive("deliver"))
                    if delivered == neighbour.hash:
                        [ack] = ack_of(world, "ndxp", NDXP, neighbour.hash)
                        await stream.ack(ack)
                        await stream.receive("settled")
            await until(lambda: len(edge.running.streams) == 0)
            edge.bus.clock.advance(3)
        assert await states() == ["parked", "acked"]
        assert (await row_of(edge, poison)).attempts == 2


async def test_a_stream_that_settles_what_it_was_not_given_says_nothing_odd_of_what_it_leaves(edge, world):
    [wire] = await accepted(edge, world, 1)
    [ack] = ack_of(world, "ndxp", NDXP, wire.hash)
    with structlog.testing.capture_logs() as events:
        async with edge.stream("ndxp") as stream:
            for _ in range(2):
                await stream.ack(ack)
                await stream.receive("settled")
        await until(lambda: len(edge.running.streams) == 0)
    [closed] = [event for event in events if event["event"] == "stream.closed"]
    assert closed["outstanding"] == 0


async def test_after_a_broken_connection_deliveries_come_one_at_a_time(edge, world):
    wires = await accepted(edge, world, 3)
    async with edge.stream("ndxp") as stream:
        await stream.give(credit=3)
        for _ in wires:
            await stream.receive("deliver")
        connection_of(stream).abort()
        await until(lambda: len(edge.running.streams) == 0)
    async with edge.stream("ndxp") as again:
        await again.give(credit=3)
        first = await again.receive("deliver")
        assert first["attempt"] == 1
        assert [frame for frame in await again.answers() if frame["op"] == "deliver"] == []
        [ack] = ack_of(world, "ndxp", NDXP, hash_of(first))
        await again.ack(ack)
        others = {hash_of(await again.receive("deliver")) for _ in range(2)}
        assert others | {hash_of(first)} == {wire.hash for wire in wires}


async def test_a_silent_connection_is_given_up(world):
    async with opened(world, settings=replace(HTTP_LIMITS, heartbeat_seconds=0.1)) as edge:
        ws = await edge.client.ws_connect(f"{edge.running.url}/v1/stream", protocols=["lgsp.v1"], autoping=False)
        nonce = json.loads((await ws.receive()).data)["nonce"]
        auth = edge.authorization("ndxp", "GET", "/v1/stream", jti=nonce).removeprefix("LGSP ")
        await ws.send_str(json.dumps({"op": "hello", "auth": auth}))
        await until(lambda: len(edge.running.streams) == 1)
        await until(lambda: len(edge.running.streams) == 0)
        await ws.close()


async def test_several_streams_of_one_system_share_its_inbox(edge, world):
    wires = await accepted(edge, world, 4)
    async with edge.stream("ndxp") as one, edge.stream("ndxp") as two:
        await one.give(credit=2)
        await two.give(credit=2)
        found = [hash_of(await stream.receive("deliver")) for stream in (one, one, two, two)]
        assert sorted(found) == sorted(wire.hash for wire in wires)


async def test_frames_of_every_length_arrive_whole(edge, world):
    async with edge.stream("fisheries") as stream:
        for length in (0, 1, 23, 24, 25, 63, 64):
            await stream.send("é" * length, world.envelope())
            assert (await stream.receive("receipt"))["ref"] == "é" * length


async def test_figures_count_streams_and_envelopes(edge, world):
    async with edge.stream("fisheries") as stream:
        await stream.send(1, world.envelope())
        await stream.receive("receipt")
        text = (await edge.call("GET", "/metrics")).body.decode()
        assert "lgsp_streams_open 1.0" in text
        assert 'lgsp_envelopes_total{outcome="accepted"} 1.0' in text
        assert 'lgsp_stage_seconds_count{stage="submit"} 1.0' in text
    await until(lambda: len(edge.running.streams) == 0)
    assert "lgsp_streams_open 0.0" in (await edge.call("GET", "/metrics")).body.decode()


async def test_a_receipt_in_a_frame_is_the_statement_that_was_stored(edge, world):
    wire = world.envelope()
    async with edge.stream("fisheries") as stream:
        await stream.send(1, wire)
        found = statements.from_wire((await stream.receive("receipt"))["receipt"])
    exchange = await edge.bus.ledger.exchange_of(wire.hash)
    assert found.text() == exchange.receipt
