"""The SDK against a gateway that listens: what a program can rely on."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import aiohttp
import pytest
import structlog

from lgsp.backends.memory import MemoryLedger
from lgsp.bus.parking import Choice
from lgsp.domain.retry import RetryPolicy
from lgsp.errors import Refusal
from lgsp.http.server import serve
from lgsp.machine import SystemClock
from lgsp.ports.ledger import Move
from lgsp.sdk import Client, OutcomeUnknown, Refused, Reject, Retry, Surroundings, Unreachable, outbox
from lgsp.sdk.composition import encoded
from lgsp.sdk.stream import Pace
from lgsp.testing.clock import ManualClock
from lgsp.testing.systems import running_town
from lgsp.testing.world import BODY, NDXP, POPULATION, VERIFICATION, VERIFY, World, signer_named

QUICK = Surroundings(pace=Pace(first=0.01, longest=0.05))


@pytest.fixture
async def town(tmp_path):
    async with running_town(tmp_path, MemoryLedger()) as running:
        yield running


@pytest.fixture
async def fisheries(town):
    async with Client.open(town.settings("fisheries")) as client:
        yield client


@asynccontextmanager
async def answering(client, answer):
    """Let a client deal with every message by `answer(message)` for the length of the block."""

    async def serve():
        async for message in client.inbox():
            await answer(message)

    task = asyncio.create_task(serve())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def match(message):
    async with message.effect() as effect:
        effect.reply({"result": "match"})


async def until(condition, seconds=10.0):
    """Wait for something that a test cannot be told of."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def logged(events, name):
    return [event for event in events if event["event"] == name]


async def test_a_request_is_answered_by_the_bridge_of_the_national_system(town, fisheries):
    async with Client.open(town.settings("ndxp")) as ndxp, answering(ndxp, match):
        reply = await fisheries.request(VERIFY, **VERIFICATION)
        assert reply.body == {"result": "match"}
        assert reply.source == POPULATION
        assert (await fisheries.outcome(reply.manifest.text("causationid"))).state == "acked"


async def test_what_was_parked_and_is_replayed_is_answered_and_its_sender_learns_both(tmp_path):
    trouble = [Retry(0.0)]

    async def answer(message):
        async with message.effect() as effect:
            if trouble:
                raise trouble.pop()
            effect.reply({"result": "match"})

    async with (
        running_town(tmp_path, MemoryLedger(), retry=RetryPolicy(attempts=1)) as town,
        Client.open(town.settings("fisheries")) as fisheries,
        Client.open(town.settings("ndxp")) as ndxp,
        answering(ndxp, answer),
    ):
        with pytest.raises(Refused) as parked:
            await fisheries.request(VERIFY, **VERIFICATION, key="one")
        assert parked.value.code == "retry"
        assert fisheries.read("SELECT state FROM lgsp_outcomes") == [("parked",)]
        [item] = (await town.bus.parking.listing(Choice(), limit=5)).items
        assert await town.bus.parking.replay([(item.delivery.env, NDXP)], by="local", reason="mended") == [None]
        await until(lambda: fisheries.read("SELECT state FROM lgsp_outcomes") == [("acked",)])
        assert (await fisheries.request(VERIFY, **VERIFICATION, key="one")).body == {"result": "match"}


async def test_an_ack_that_cannot_be_written_down_goes_out_again_over_the_same_stream(town, fisheries, monkeypatch):
    commit, refused = town.bus.ledger.commit, []

    async def full(operations, sign):
        """Fail the first ack, as a disk does that is full for a moment."""
        if not refused and any(isinstance(each, Move) and each.state == "acked" for each in operations):
            refused.append("unavailable")
            raise Refusal("unavailable")
        return await commit(operations, sign)

    monkeypatch.setattr(town.bus.ledger, "commit", full)
    with structlog.testing.capture_logs() as events:
        async with Client.open(town.settings("ndxp")) as ndxp, answering(ndxp, match), asyncio.timeout(10):
            sent = await fisheries.send(VERIFY, **VERIFICATION)
            assert (await fisheries.outcome(sent.id)).state == "acked"
    assert {event["code"] for event in logged(events, "client.refused")} == set(refused) == {"unavailable"}
    assert len(logged(events, "client.connected")) == 1


async def test_a_message_that_is_put_back_while_the_bus_cannot_write_is_put_back_again(town, fisheries, monkeypatch):
    commit, refused, attempts = town.bus.ledger.commit, [], []

    async def full(operations, sign):
        """Fail the first nack, as a disk does that is full for a moment."""
        if not refused and any(isinstance(each, Move) and each.state == "waiting" for each in operations):
            refused.append("unavailable")
            raise Refusal("unavailable")
        return await commit(operations, sign)

    async def not_at_first(message):
        attempts.append(message.attempt)
        async with message.effect() as effect:
            if len(attempts) == 1:
                raise Retry(0.0)
            effect.reply({"result": "match"})

    monkeypatch.setattr(town.bus.ledger, "commit", full)
    async with Client.open(town.settings("ndxp")) as ndxp, answering(ndxp, not_at_first), asyncio.timeout(15):
        assert (await fisheries.request(VERIFY, **VERIFICATION)).body == {"result": "match"}
    assert (refused, attempts) == (["unavailable"], [1, 2])


async def test_a_rerun_under_a_key_sends_nothing_new_and_gives_the_same_reply_after_a_restart(town):
    async with Client.open(town.settings("ndxp")) as ndxp, answering(ndxp, match):
        async with Client.open(town.settings("fisheries")) as client:
            sent = await client.send(VERIFY, key="vessel 1", **VERIFICATION)
            first = await client.request(VERIFY, key="vessel 1", **VERIFICATION)
        size = await town.bus.ledger.size()
        async with Client.open(town.settings("fisheries")) as client:
            again = await client.request(VERIFY, key="vessel 1", **VERIFICATION)
            assert (await client.send(VERIFY, key="vessel 1", **VERIFICATION)).receipt == sent.receipt
    assert (again.env, again.body, again.key) == (first.env, first.body, "vessel 1")
    assert await town.bus.ledger.size() == size


async def test_a_second_ask_under_one_key_while_the_first_waits_gets_the_same_reply(town, fisheries):
    asked = [asyncio.create_task(fisheries.request(VERIFY, key="same", **VERIFICATION)) for _ in range(3)]
    async with Client.open(town.settings("ndxp")) as ndxp, answering(ndxp, match):
        replies = await asyncio.gather(*asked)
    assert len({reply.env for reply in replies}) == 1


async def test_the_bus_says_no_with_its_code_and_the_key_is_free_again(town, fisheries):
    with pytest.raises(Refused) as caught:
        await fisheries.send(VERIFY, key="k", **VERIFICATION | {"purpose": "dpv:Marketing"})
    assert (caught.value.code, caught.value.pointer) == ("purpose_not_granted", "/purpose")
    assert (await fisheries.send(VERIFY, key="k", **VERIFICATION)).state == "receipted"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"body": {"fullName": "A\u0301"}}, "body_nfc"),
        ({"body": {"a": float("nan")}}, "body_json"),
        ({"body": {"a": {1, 2}}}, "body_json"),
        ({"purpose": "not a code"}, "manifest"),
        ({"casefile": "099185000017"}, "manifest"),
    ],
)
async def test_what_the_bus_would_refuse_by_its_form_is_refused_before_it_is_sent(town, fisheries, change, code):
    with pytest.raises(Refused) as caught:
        await fisheries.send(VERIFY, **VERIFICATION | change)
    assert caught.value.code == code
    assert fisheries.read("SELECT count(*) FROM lgsp_outbox") == [(0,)]


async def test_a_rejection_by_the_receiver_reaches_the_asker_signed(town, fisheries):
    async def reject(message):
        async with message.effect() as effect:
            effect.execute("CREATE TABLE not_kept (x)")
            raise Reject("owner_unknown", "/fullName")

    async with Client.open(town.settings("ndxp")) as ndxp, answering(ndxp, reject):
        with pytest.raises(Refused) as caught:
            await fisheries.request(VERIFY, key="k", **VERIFICATION)
        assert (caught.value.code, caught.value.pointer) == ("owner_unknown", "/fullName")
        outcome = await fisheries.outcome(fisheries.read("SELECT id FROM lgsp_outbox")[0][0])
        assert (outcome.state, outcome.code, outcome.to) == ("rejected", "owner_unknown", ndxp.settings.system)
        assert outcome.ack is not None
        assert ndxp.read("SELECT name FROM sqlite_master WHERE name = 'not_kept'") == []


@pytest.mark.parametrize("trouble", [Retry(0.0), OSError("away")])
async def test_what_fails_leaves_nothing_and_comes_again(town, fisheries, trouble):
    attempts = []

    async def fail_first(message):
        attempts.append(message.attempt)
        async with message.effect() as effect:
            effect.execute("INSERT INTO done VALUES (?)", (message.id,))
            effect.reply({"result": "match"})
            if len(attempts) == 1:
                raise trouble

    async def serve(client):
        async for message in client.inbox():
            try:
                await fail_first(message)
            except OSError:
                assert message.is_settled

    async with Client.open(town.settings("ndxp")) as ndxp:
        await ndxp.write(lambda tables: tables.execute("CREATE TABLE done (id TEXT)"))
        task = asyncio.create_task(serve(ndxp))
        reply = await fisheries.request(VERIFY, timeout=20, **VERIFICATION)
        task.cancel()
        assert ndxp.read("SELECT id FROM done") == [(reply.manifest.text("causationid"),)]
    assert attempts == [1, 2]


async def test_a_statement_that_fails_takes_mark_and_reply_with_it(town, fisheries):
    async with Client.open(town.settings("ndxp")) as ndxp:
        await fisheries.send(VERIFY, **VERIFICATION)
        message = await anext(ndxp.inbox())

        async def deal():
            async with message.effect() as effect:
                effect.reply({"result": "match"})
                effect.execute("INSERT INTO missing VALUES (1)")

        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await deal()
        for table in ("lgsp_inbox", "lgsp_outbox"):
            assert ndxp.read(f"SELECT count(*) FROM {table}") == [(0,)]


async def test_a_program_reads_before_it_writes_inside_the_effect(town, fisheries):
    async with Client.open(town.settings("ndxp")) as ndxp:
        await ndxp.write(lambda tables: tables.execute("CREATE TABLE count (n INTEGER)"))
        await ndxp.write(lambda tables: tables.execute("INSERT INTO count VALUES (41)"))
        await fisheries.send(VERIFY, **VERIFICATION)
        message = await anext(ndxp.inbox())

        def count(tables):
            [[n]] = tables.execute("SELECT n FROM count").fetchall()
            tables.execute("UPDATE count SET n = ?", (n + 1,))

        async with message.effect() as effect:
            effect.run(count)
        assert ndxp.read("SELECT n FROM count") == [(42,)]


async def test_a_second_delivery_is_answered_with_the_ack_of_the_first(town, fisheries):
    settings = town.settings("ndxp")
    async with Client.open(settings) as ndxp:
        sent = await fisheries.send(VERIFY, **VERIFICATION)
        message = await anext(ndxp.inbox())
        ndxp._receiver._put = lambda frame: None  # what the first process says never arrives
        async with message.effect() as effect:
            effect.reply({"result": "match"})
        [(statement,)] = ndxp.read("SELECT statement FROM lgsp_inbox")
        ndxp._receiver._unsettled.clear()
    async with Client.open(settings):
        outcome = await fisheries.outcome(sent.id)
    assert outcome.state == "acked"
    assert outcome.ack.text() == statement


async def test_nothing_is_lost_while_the_gateway_is_away(tmp_path):
    store = MemoryLedger()
    async with running_town(tmp_path, store) as town:
        settings, world, port = town.settings("fisheries"), town.world, town.server.port
        async with Client.open(settings, around=QUICK) as client:
            await town.server.close()
            sent = [await client.send(VERIFY, wait=False, key=str(n), **VERIFICATION) for n in range(20)]
            with pytest.raises(Unreachable) as caught:
                await client.send(VERIFY, key="late", timeout=0.05, **VERIFICATION)
            again = await serve(town.bus, host="127.0.0.1", port=port)
            await until(lambda: client.read("SELECT count(*) FROM lgsp_outbox WHERE state = 'receipted'") == [(21,)])
            receipted = [await client.send(VERIFY, key=str(n), **VERIFICATION) for n in range(20)]
            assert [one.id for one in receipted] == [one.id for one in sent]
            assert (await client.send(VERIFY, key="late", **VERIFICATION)).id == caught.value.id
            await again.close()
    assert world.now


async def test_a_client_goes_on_at_the_next_address_when_its_gateway_is_gone(town):
    another = await serve(town.bus, host="127.0.0.1", port=0)
    try:
        async with Client.open(town.settings("fisheries", other_urls=[another.url]), around=QUICK) as client:
            first = await client.send(VERIFY, **VERIFICATION)
            await town.server.close()
            second = await client.send(VERIFY, **VERIFICATION)
            assert (first.state, second.state) == ("receipted", "receipted")
    finally:
        await another.close()


async def test_a_gateway_that_goes_while_its_ping_is_answered_is_gone_like_any_other(town, monkeypatch):
    receive, gone = aiohttp.ClientWebSocketResponse.receive, []

    async def breaking(socket):
        if len(gone) == 1:
            gone.append(2)
            raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")  # what answering it raises
        return await receive(socket)

    monkeypatch.setattr("aiohttp.ClientWebSocketResponse.receive", breaking)
    async with (
        Client.open(town.settings("fisheries"), around=QUICK) as client,
        Client.open(town.settings("ndxp")) as ndxp,
        answering(ndxp, match),
    ):
        with structlog.testing.capture_logs() as events:
            gone.append(1)
            assert (await client.request(VERIFY, **VERIFICATION)).body == {"result": "match"}
            await until(lambda: logged(events, "client.disconnected"))
        assert logged(events, "client.disconnected")[0]["reason"] == "broken"
        assert (await client.request(VERIFY, **VERIFICATION)).body == {"result": "match"}


async def test_a_client_whose_first_gateway_is_not_there_begins_at_the_next(town):
    settings = town.settings("fisheries", url="http://127.0.0.1:9", other_urls=[town.server.url])
    async with Client.open(settings, around=QUICK) as client:
        assert (await client.send(VERIFY, **VERIFICATION)).state == "receipted"


async def test_a_gateway_that_is_away_at_the_start_is_unreachable(town):
    settings = town.settings("fisheries", url="http://127.0.0.1:9")
    with pytest.raises(Unreachable):
        async with Client.open(settings, connect_within=0.2, around=QUICK):
            pass


async def test_a_directory_that_the_pinned_registrar_did_not_sign_is_not_believed(town):
    settings = town.settings("fisheries", registrar=signer_named("another").public.jwk)
    with pytest.raises(Refused) as caught:
        async with Client.open(settings, connect_within=1.0, around=QUICK):
            pass
    assert caught.value.code == "directory_invalid"


async def test_no_reply_in_time_is_an_unknown_outcome_and_a_late_reply_is_kept_for_a_rerun(town, fisheries):
    with pytest.raises(OutcomeUnknown) as caught:
        await fisheries.request(VERIFY, key="slow", timeout=0.1, **VERIFICATION)
    async with Client.open(town.settings("ndxp")) as ndxp, answering(ndxp, match):
        await until(lambda: fisheries.read("SELECT count(*) FROM lgsp_inbox WHERE cause IS NOT NULL") == [(1,)])
        assert (await fisheries.request(VERIFY, key="slow", **VERIFICATION)).body == {"result": "match"}
    assert caught.value.id


async def test_a_failure_that_nobody_waited_for_is_shown_until_it_is_acted_on(town):
    settings = town.settings("fisheries")
    async with Client.open(settings) as client:
        wrong = VERIFICATION | {"purpose": "dpv:Marketing"}
        sent = await client.send(VERIFY, wait=False, key="k", **wrong)
        failure = await anext(client.failures())
        assert (failure.outcome.id, failure.outcome.state, failure.outcome.code) == (
            sent.id, "refused", "purpose_not_granted",
        )  # fmt: skip
    async with Client.open(settings) as client:
        failure = await anext(client.failures())
        async with failure.effect() as work:
            work.execute("CREATE TABLE quarantine (id TEXT)")
            work.execute("INSERT INTO quarantine VALUES (?)", (failure.outcome.id,))
        assert client.read("SELECT id FROM quarantine") == [(sent.id,)]
    async with Client.open(settings) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await anext(client.failures())


async def test_work_and_envelopes_of_a_block_become_durable_together(town, fisheries):
    async def fail():
        async with fisheries.work() as work:
            work.send(VERIFY, **VERIFICATION)
            work.execute("INSERT INTO missing VALUES (1)")

    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await fail()
    async with fisheries.work() as work:
        identifier = work.send(VERIFY, **VERIFICATION)
        work.execute("CREATE TABLE asked (id TEXT)")
    assert fisheries.read("SELECT id FROM lgsp_outbox") == [(identifier,)]


async def test_a_program_that_waits_for_an_outcome_of_nothing_is_told(fisheries):
    with pytest.raises(Refused, match="not_found"):
        await fisheries.outcome("0199a1f2-7b1c-7000-8000-000000000001")


async def test_an_exception_in_the_callers_block_reaches_him_as_it_is(town):
    with pytest.raises(LookupError):
        async with Client.open(town.settings("fisheries")):
            raise LookupError


def off_by(minutes):
    return replace(QUICK, clock=ManualClock(SystemClock().now() + timedelta(minutes=minutes)))


async def test_r07_a_clock_ten_minutes_behind_is_accepted_and_warned_of_by_the_receipt(town):
    async with Client.open(town.settings("fisheries"), around=off_by(-10)) as client:
        client._sender.opened()
        with structlog.testing.capture_logs() as events:
            await client.send(VERIFY, **VERIFICATION)
    [warning] = logged(events, "client.clock")
    assert 595 < warning["seconds"] < 605


async def test_r07_a_clock_ten_minutes_ahead_is_refused_and_warned_of(town):
    async with Client.open(town.settings("fisheries"), around=off_by(10)) as client:
        client._sender.opened()
        with structlog.testing.capture_logs() as events, pytest.raises(Refused) as caught:
            await client.send(VERIFY, **VERIFICATION)
    assert caught.value.code == "clock_ahead"
    assert -605 < logged(events, "client.clock")[0]["seconds"] < -595


async def test_r07_a_clock_that_is_right_is_not_warned_of(town):
    with structlog.testing.capture_logs() as events:
        async with Client.open(town.settings("fisheries")) as client:
            await client.send(VERIFY, **VERIFICATION)
    assert logged(events, "client.clock") == []


async def test_a_message_that_takes_long_keeps_its_lease(town, fisheries, monkeypatch):
    monkeypatch.setattr("lgsp.sdk.client.LEASES_LOOKED_AT", 0.01)
    async with Client.open(town.settings("ndxp")) as ndxp:
        await fisheries.send(VERIFY, **VERIFICATION)
        message = await anext(ndxp.inbox())
        before = (await town.bus.courier.inboxes.held(ndxp.settings.system, [message.env])).get(message.env)
        message.held_since -= 130
        async with asyncio.timeout(10):
            while (
                (await town.bus.courier.inboxes.held(ndxp.settings.system, [message.env])).get(message.env)
            ) == before:
                await asyncio.sleep(0.005)
        after = (await town.bus.courier.inboxes.held(ndxp.settings.system, [message.env])).get(message.env)
        assert (after.lease, after.lease_until > before.lease_until) == (before.lease, True)
        async with message.effect():
            pass


async def test_an_outcome_that_is_stored_is_not_told_again(town, fisheries):
    async with Client.open(town.settings("ndxp")) as ndxp, answering(ndxp, match):
        await fisheries.request(VERIFY, **VERIFICATION)
    async with asyncio.timeout(10):
        while await town.bus.progress.outcomes(fisheries.settings.system, limit=10):
            await asyncio.sleep(0.005)
    assert fisheries.read("SELECT state, noticed FROM lgsp_outcomes") == [("acked", 1)]


async def test_many_messages_are_each_answered_once(town, fisheries):
    async with Client.open(town.settings("ndxp")) as ndxp, answering(ndxp, match):
        replies = await asyncio.gather(*(fisheries.request(VERIFY, key=str(n), **VERIFICATION) for n in range(300)))
        assert len({reply.env for reply in replies}) == 300
        # A reply may be here before the word that its request was acknowledged.
        acked = "SELECT count(*) FROM lgsp_outcomes WHERE state = 'acked'"
        await until(lambda: fisheries.read(acked) == [(300,)])


async def test_a_request_is_remembered_for_as_long_as_its_reply_may_take(tmp_path):
    clock = ManualClock(SystemClock().now())
    world = World.make(now=clock.now(), changes={VERIFY: {"reply_within": 90 * 86_400}})
    async with running_town(tmp_path, MemoryLedger(), world=world, clock=clock) as town:
        settings, around = town.settings("fisheries"), replace(QUICK, clock=clock)
        async with Client.open(settings, around=around) as client:
            sent = await client.send(VERIFY, key="slow", **VERIFICATION)
        clock.advance(60 * 86_400)
        async with Client.open(settings, around=around) as client:
            assert (await client.send(VERIFY, key="slow", **VERIFICATION)).id == sent.id
        clock.advance(70 * 86_400)
        async with Client.open(settings, around=around) as client:
            assert client.read("SELECT count(*) FROM lgsp_outbox") == [(0,)]


async def test_a_client_that_runs_for_months_forgets_what_is_long_over(town):
    clock = ManualClock(SystemClock().now())
    around = replace(QUICK, clock=clock, forget_every=0.01)
    async with Client.open(town.settings("fisheries"), around=around) as client:
        await client.send(VERIFY, **VERIFICATION)
        clock.advance(60 * 86_400)
        await until(lambda: client.read("SELECT count(*) FROM lgsp_outbox") == [(0,)])


async def test_a_second_bad_end_of_an_envelope_is_shown_too(town, fisheries):
    """An operator replays what was parked, and the receiver refuses it."""
    sent = await fisheries.send(VERIFY, **VERIFICATION)

    def became(state):
        found = outbox.Outcome(id=sent.id, key=None, type=VERIFY, env=sent.env, to=NDXP, state=state)
        fisheries._sender._store_outcomes([found])

    failures, shown = fisheries.failures(), []
    for state in ("parked", "rejected"):
        became(state)
        async with asyncio.timeout(5):
            failure = await anext(failures)
        async with failure.effect():
            shown.append(failure.outcome.state)
    assert shown == ["parked", "rejected"]


async def test_a_bad_end_that_comes_while_the_one_before_is_acted_on_is_shown_next(town, fisheries):
    sent = await fisheries.send(VERIFY, **VERIFICATION)

    def became(state):
        found = outbox.Outcome(id=sent.id, key=None, type=VERIFY, env=sent.env, to=NDXP, state=state)
        return fisheries._box.write(lambda writing: outbox.settled(writing, [found]))

    await became("parked")
    failures = fisheries.failures()
    failure = await anext(failures)
    async with failure.effect():
        await became("expired")
    fisheries._sender.failed.set()
    async with asyncio.timeout(5):
        assert (await anext(failures)).outcome.state == "expired"


async def test_a_body_as_large_as_its_service_allows_reaches_its_receiver(tmp_path):
    now = SystemClock().now()
    world = World.make(now=now, changes={VERIFY: {"max_body": 16 * 1024 * 1024}})
    body = encoded(BODY).ljust(16 * 1024 * 1024)
    large, small = world.envelope(body=body, number=1), world.envelope(number=2)
    async with (
        running_town(tmp_path, MemoryLedger(), world=world) as town,
        Client.open(town.settings("ndxp"), around=QUICK) as ndxp,
        asyncio.timeout(60),
    ):
        for wire in (large, small):
            await town.bus.ingress.submit(wire, peer="")
        inbox, found = ndxp.inbox(), set()
        while found != {large.hash, small.hash}:
            message = await anext(inbox)
            async with message.effect():
                found.add(message.env)
        assert ndxp.read("SELECT count(*) FROM lgsp_inbox") == [(2,)]


async def test_those_who_waited_leave_nothing_behind(town, fisheries):
    async with Client.open(town.settings("ndxp")) as ndxp, answering(ndxp, match):
        reply = await fisheries.request(VERIFY, **VERIFICATION)
        sent = reply.manifest.text("causationid")
        for _ in range(3):
            assert (await fisheries.outcome(sent)).state == "acked"
    late = await fisheries.send(VERIFY, **VERIFICATION)
    with pytest.raises(OutcomeUnknown):
        await fisheries.outcome(late.id, timeout=0.01)
    await until(lambda: not fisheries._sender.outcome_waits.anybody)
    assert not fisheries._sender.receipt_waits.anybody


async def test_a_time_limit_around_a_client_holds_while_its_stream_is_slow_to_end(town, monkeypatch):
    begun = asyncio.Event()

    async def stubborn(_client):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.5)  # as long as the other end takes to answer the close

    monkeypatch.setattr(Client, "_run", stubborn)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), Client.open(town.settings("fisheries"), connect_within=None):
            await begun.wait()
