"""Answers that are wrong, doubled or late, between a real bus and a client: what is believed, what is asked for again, who is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import structlog

from lgsp.backends.memory import MemoryLedger
from lgsp.sdk import Client, Refused, Surroundings
from lgsp.sdk.box import report
from lgsp.sdk.stream import Pace
from lgsp.testing.bus import ack_of
from lgsp.testing.systems import running_town
from lgsp.testing.world import POLICE, VERIFICATION, VERIFY

QUICK = Surroundings(pace=Pace(first=0.01, longest=0.05))
MARKETING = {"purpose": "dpv:Marketing"}


@pytest.fixture
async def town(tmp_path, monkeypatch):
    monkeypatch.setattr("lgsp.sdk.sender.AGAIN_FIRST", 0.01)
    async with running_town(tmp_path, MemoryLedger()) as running:
        yield running


@pytest.fixture
async def fisheries(town):
    async with Client.open(town.settings("fisheries"), around=QUICK) as client:
        yield client


def hearing(op, change):
    """Return the kind of client that hears the first frame of an `op` changed."""

    class Hearing(Client):
        changed = False

        async def hear(self, found):
            heard = []
            for frame in found:
                is_first = frame["op"] == op and not self.changed
                self.changed = self.changed or is_first
                heard.append(change(frame) if is_first else frame)
            await super().hear(heard)

    return Hearing


async def until(condition, seconds=10.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def codes(events):
    return [event["code"] for event in events if event["event"] == "client.refused"]


async def acknowledge(client):
    message = await anext(client.inbox())
    async with message.effect() as effect:
        effect.reply({"result": "match"})


# --- receipts and refusals ---------------------------------------------------------------------------------------------------------


def forged(frame):
    return frame | {"receipt": frame["receipt"] | {"item": "{}"}}


async def test_a_receipt_that_does_not_verify_is_none_and_the_envelope_goes_out_again(town):
    kind = hearing("receipt", forged)
    with structlog.testing.capture_logs() as events:
        async with kind.open(town.settings("fisheries"), around=QUICK) as client:
            sent = await client.send(VERIFY, **VERIFICATION)
    assert (sent.state, client.changed) == ("receipted", True)
    assert codes(events) == ["receipt_invalid"]


async def test_an_answer_to_nothing_changes_nothing(fisheries):
    sent = await fisheries.send(VERIFY, **VERIFICATION)
    rows = fisheries.read("SELECT * FROM lgsp_outbox")
    for ref in ("99", "-1", "1" * 19, "٣", 7):
        await fisheries.hear([{"op": "receipt", "ref": ref, "receipt": sent.receipt.wire()}])
        await fisheries.hear([{"op": "refused", "ref": ref, "problem": {"code": "no_grant", "retryable": False}}])
    assert fisheries.read("SELECT * FROM lgsp_outbox") == rows
    assert (await fisheries.send(VERIFY, **VERIFICATION)).state == "receipted"


async def test_a_clock_that_is_told_of_in_no_form_is_not_compared(fisheries):
    with structlog.testing.capture_logs() as events:
        await fisheries.hear([{"op": "refused", "env": "", "problem": {"code": "clock_ahead", "now": "soon"}}])
    assert [(event["event"], event["code"]) for event in events] == [("client.refused", "clock_ahead")]


async def test_what_a_later_protocol_adds_is_left_alone(fisheries):
    await fisheries.hear([{"op": "weather", "is": "fair"}])
    assert (await fisheries.send(VERIFY, **VERIFICATION)).state == "receipted"


async def test_who_looked_just_before_the_answer_was_stored_gets_it_all_the_same(fisheries):
    sent = await fisheries.send(VERIFY, **VERIFICATION)
    before = replace(sent, state="queued", receipt=None)
    assert await fisheries._receipted(before, 5) == sent
    with pytest.raises(Refused) as caught:
        await fisheries.send(VERIFY, key="k", **VERIFICATION | MARKETING)
    [(identifier,)] = fisheries.read("SELECT id FROM lgsp_outbox WHERE state = 'refused'")
    with pytest.raises(Refused, match="purpose_not_granted"):
        await fisheries._receipted(replace(before, id=identifier), 5)
    assert caught.value.code == "purpose_not_granted"


async def test_the_outcome_of_what_the_bus_refused_is_its_refusal(fisheries):
    sent = await fisheries.send(VERIFY, wait=False, **VERIFICATION | MARKETING)
    for _ in range(2):  # whether it is still to come or stored
        with pytest.raises(Refused) as caught:
            await fisheries.outcome(sent.id)
        assert (caught.value.code, caught.value.pointer) == ("purpose_not_granted", "/purpose")


@pytest.mark.parametrize("change", [{}, MARKETING], ids=["a receipt", "a refusal"])
async def test_an_envelope_whose_answer_could_not_be_stored_goes_out_again(fisheries, monkeypatch, change):
    """The disk is full for a moment, just when the bus has answered."""
    post, posted = fisheries._box.post, []

    def full(operation, *, failed=report, **given):
        posted.append(operation)
        if len(posted) == 2:
            failed(OSError("database or disk is full"))
        else:
            post(operation, failed=failed, **given)

    monkeypatch.setattr(fisheries._box, "post", full)
    with structlog.testing.capture_logs() as events:
        if change:
            with pytest.raises(Refused, match="purpose_not_granted"):
                await fisheries.send(VERIFY, **VERIFICATION | change)
        else:
            assert (await fisheries.send(VERIFY, **VERIFICATION)).state == "receipted"
    assert "task.failed" in {event["event"] for event in events}
    assert fisheries.read("SELECT count(*) FROM lgsp_outbox WHERE state = 'queued'") == [(0,)]


async def test_an_outcome_that_could_not_be_stored_is_told_again_over_the_next_stream(town):
    async with Client.open(town.settings("fisheries"), around=QUICK) as client:
        sent = await client.send(VERIFY, **VERIFICATION)
        post, lost = client._box.post, []

        def full(operation, *, failed=report, **given):
            lost.append(operation)
            failed(OSError("database or disk is full"))

        client._box.post = full
        async with Client.open(town.settings("ndxp"), around=QUICK) as ndxp:
            await acknowledge(ndxp)
            await until(lambda: lost)
        client._box.post = post
    async with Client.open(town.settings("fisheries"), around=QUICK) as client:
        assert (await client.outcome(sent.id)).state == "acked"


# --- outcomes ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [lambda frame: frame | {"state": "rejected"}, lambda frame: {**frame, "ack": None}],
    ids=["against its ack", "without an ack"],
)
async def test_an_outcome_that_its_ack_does_not_bear_out_is_not_believed_and_told_again(town, change):
    kind = hearing("outcome", change)
    with structlog.testing.capture_logs() as events:
        async with kind.open(town.settings("fisheries"), around=QUICK) as client:
            sent = await client.send(VERIFY, **VERIFICATION)
            async with Client.open(town.settings("ndxp"), around=QUICK) as ndxp:
                await acknowledge(ndxp)
                await until(lambda: codes(events))
            assert client.read("SELECT state FROM lgsp_outcomes") == []
        async with Client.open(town.settings("fisheries"), around=QUICK) as client:
            assert (await client.outcome(sent.id)).state == "acked"
    assert codes(events) == ["ack_invalid"]


async def test_an_ack_by_a_stranger_is_not_believed_for_want_of_a_receipt(town, fisheries):
    fisheries._sender._put = lambda frame: None  # what is sent does not arrive
    sent = await fisheries.send(VERIFY, wait=False, **VERIFICATION)
    [ack] = ack_of(town.world, "police", POLICE, sent.env)
    outcome = {"op": "outcome", "env": sent.env, "to": POLICE, "state": "acked", "ack": ack.wire()}
    with structlog.testing.capture_logs() as events:
        await fisheries.hear([outcome])
    assert codes(events) == ["ack_invalid"]
    assert fisheries.read("SELECT * FROM lgsp_outcomes") == []


async def test_an_outcome_of_a_box_that_is_no_more_is_seen_off(town, fisheries):
    """Nobody else will say so, and the bus would tell it over every stream."""
    await fisheries.send(VERIFY, **VERIFICATION)
    async with Client.open(town.settings("ndxp"), around=QUICK) as ndxp:
        await fisheries.write(lambda tables: tables.execute("DELETE FROM lgsp_outbox"))
        fisheries._sender._recent._posted.clear()
        await acknowledge(ndxp)
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        while await town.bus.progress.outcomes(fisheries.settings.system, limit=10):
            await asyncio.sleep(0.005)
    assert fisheries.read("SELECT * FROM lgsp_outcomes") == []


# --- failures, and the end of a client ---------------------------------------------------------------------------------------------


async def test_a_failure_that_is_not_acted_on_is_shown_once_a_run(fisheries):
    failures, shown = fisheries.failures(), []
    for key in ("first", "second"):
        await fisheries.send(VERIFY, wait=False, key=key, **VERIFICATION | MARKETING)
        async with asyncio.timeout(10):
            shown.append((await anext(failures)).outcome.env)
    assert len(set(shown)) == 2


async def test_failures_end_when_none_has_come_for_a_while(fisheries):
    await fisheries.send(VERIFY, wait=False, **VERIFICATION | MARKETING)
    await until(lambda: fisheries.read("SELECT state FROM lgsp_outcomes") == [("refused",)])
    async with asyncio.timeout(20):
        shown = [failure.outcome.code async for failure in fisheries.failures(quiet=0.05)]
    assert shown == ["purpose_not_granted"]


async def listed(items):
    return [item async for item in items]


async def test_the_loops_of_a_program_end_quietly_when_its_client_does(town):
    async with Client.open(town.settings("fisheries"), around=QUICK) as client:
        looping = [asyncio.create_task(listed(each)) for each in (client.inbox(), client.failures())]
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        assert await asyncio.gather(*looping) == [[], []]


class Broken(Exception):
    """What no client goes on after."""


def broken_chance():
    raise Broken


async def test_a_client_that_cannot_go_on_tells_everybody_who_waits(town):
    around = Surroundings(pace=Pace(first=0.01, longest=0.05), chance=broken_chance)
    told = []

    async def run():
        async with Client.open(town.settings("fisheries"), around=around) as client:
            waiting = [asyncio.ensure_future(anext(each)) for each in (client.inbox(), client.failures())]
            await asyncio.sleep(0)
            await town.server.close()
            await asyncio.wait(waiting, timeout=10)
            told.extend(type(each.exception()) for each in waiting)
            with pytest.raises(ExceptionGroup):
                await client.ready(60)

    with pytest.raises(ExceptionGroup) as ended:
        await run()
    assert ended.value.subgroup(Broken) is not None
    assert told == [ExceptionGroup, ExceptionGroup]


async def test_a_client_that_cannot_begin_says_so_at_once(town):
    around = Surroundings(pace=Pace(first=0.01), chance=broken_chance)
    with pytest.raises(ExceptionGroup) as ended:
        async with (
            asyncio.timeout(10),
            Client.open(town.settings("fisheries", url="http://127.0.0.1:9"), connect_within=60, around=around),
        ):
            raise AssertionError("it was open")
    assert ended.value.subgroup(Broken) is not None


async def test_a_program_writes_many_rows_at_once_and_no_transaction_of_its_own(fisheries):
    await fisheries.write(lambda tables: tables.execute("CREATE TABLE own (n INTEGER)"))
    await fisheries.write(lambda tables: tables.executemany("INSERT INTO own VALUES (?)", [(1,), (2,)]))
    assert fisheries.read("SELECT n FROM own") == [(1,), (2,)]
    with pytest.raises(ValueError, match="COMMIT has no place here"):
        await fisheries.write(lambda tables: tables.executemany("COMMIT", [()]))
