"""A bus that was restored from a backup has forgotten what it receipted last: the systems notice, and what has no end goes out again."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
import structlog

from lgsp.backends.memory import MemoryLedger
from lgsp.machine import SystemClock
from lgsp.sdk import Client, Surroundings, outbox
from lgsp.sdk.stream import Pace
from lgsp.testing.clock import ManualClock
from lgsp.testing.systems import running_town
from lgsp.testing.world import VERIFICATION, VERIFY, World

QUICK = Surroundings(pace=Pace(first=0.01, longest=0.05))


@pytest.fixture(scope="module")
def world():
    return World.make(now=SystemClock().now())


@pytest.fixture
def bus(world, tmp_path):
    """Return what runs the bus of one world on a ledger: an empty one is all that a backup from before the first exchange has."""
    return lambda ledger: running_town(tmp_path, ledger, world=world)


@asynccontextmanager
async def answering(client, effects):
    """Let a client answer every request for the length of the block, and list which took effect."""

    async def serve():
        async for message in client.inbox():
            async with message.effect() as effect:
                effects.append(message.id)
                effect.reply({"result": "match"})

    task = asyncio.create_task(serve())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def opened(town, name):
    return Client.open(town.settings(name), around=QUICK)


async def until(condition, seconds=10.0):
    """Wait for something that a test cannot be told of."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def test_what_has_a_receipt_and_no_end_goes_out_again_and_its_first_receipt_is_kept(bus):
    effects = []
    async with bus(MemoryLedger()) as town, opened(town, "fisheries") as fisheries:
        sent = await fisheries.send(VERIFY, key="one", **VERIFICATION)
    async with bus(MemoryLedger()) as town, opened(town, "fisheries") as fisheries:
        async with opened(town, "ndxp") as ndxp, answering(ndxp, effects):
            reply = await fisheries.request(VERIFY, key="one", **VERIFICATION)
            assert reply.manifest.text("causationid") == sent.id
        assert effects == [sent.id]
        receipts = [each.receipt for each in outbox.receipts(fisheries._box.reader)]
        assert receipts[0] == sent.receipt.text()
        assert len(receipts) == 2
        assert receipts[0] != receipts[1]


async def test_a_bus_that_knows_what_it_receipted_last_is_sent_nothing_again(bus):
    ledger = MemoryLedger()
    async with bus(ledger) as town, opened(town, "fisheries") as fisheries:
        await fisheries.send(VERIFY, **VERIFICATION)
    with structlog.testing.capture_logs() as events:
        async with bus(ledger) as town, opened(town, "fisheries") as fisheries:
            await fisheries.send(VERIFY, **VERIFICATION)
            states = fisheries.read("SELECT state FROM lgsp_outbox")
    assert states == [("receipted",), ("receipted",)]
    assert [event for event in events if event["event"] == "client.rolled_back"] == []


async def test_a_receiver_that_had_dealt_with_it_answers_with_its_first_ack_and_does_nothing_twice(bus):
    effects = []
    async with bus(MemoryLedger()) as town:
        async with opened(town, "fisheries") as fisheries:
            sent = await fisheries.send(VERIFY, **VERIFICATION)
        async with opened(town, "ndxp") as ndxp, answering(ndxp, effects):
            await until(lambda: ndxp.read("SELECT settled FROM lgsp_inbox") == [(1,)])
            first = ndxp.read("SELECT statement FROM lgsp_inbox")
    ledger = MemoryLedger()
    async with (
        bus(ledger) as town,
        opened(town, "fisheries") as fisheries,
        opened(town, "ndxp") as ndxp,
        answering(ndxp, effects),
    ):
        assert (await fisheries.outcome(sent.id)).state == "acked"
        [delivery] = await ledger.deliveries(sent.env)
    assert effects == [sent.id]
    assert [(delivery.ack,)] == first


async def test_a_reply_that_comes_before_its_request_is_repeated_waits_for_it(bus):
    effects = []
    async with bus(MemoryLedger()) as town:
        async with opened(town, "fisheries") as fisheries:
            sent = await fisheries.send(VERIFY, key="one", **VERIFICATION)
        async with opened(town, "ndxp") as ndxp, answering(ndxp, effects):
            await until(lambda: ndxp.read("SELECT state FROM lgsp_outbox") == [("receipted",)])
    with structlog.testing.capture_logs() as events:
        async with bus(MemoryLedger()) as town, opened(town, "ndxp") as ndxp, answering(ndxp, effects):
            await until(lambda: "reply_unasked" in {event.get("code") for event in events})
            async with opened(town, "fisheries") as fisheries:
                reply = await fisheries.request(VERIFY, key="one", **VERIFICATION)
    assert reply.manifest.text("causationid") == sent.id
    assert effects == [sent.id]


async def test_what_was_lost_and_has_expired_is_told_of_and_not_sent_again(bus):
    async with bus(MemoryLedger()) as town, opened(town, "fisheries") as fisheries:
        sent = await fisheries.send(VERIFY, expires_in=timedelta(seconds=100), **VERIFICATION)
    later = replace(QUICK, clock=ManualClock(SystemClock().now() + timedelta(seconds=130)))
    ledger = MemoryLedger()
    async with bus(ledger) as town, Client.open(town.settings("fisheries"), around=later) as fisheries:
        told = await fisheries.outcome(sent.id)
        assert (told.state, told.code) == ("expired", "log_rolled_back")
        assert await ledger.deliveries(sent.env) == []


async def test_what_had_come_to_its_end_is_not_sent_again(bus):
    effects = []
    async with (
        bus(MemoryLedger()) as town,
        opened(town, "fisheries") as fisheries,
        opened(town, "ndxp") as ndxp,
        answering(ndxp, effects),
    ):
        await fisheries.request(VERIFY, **VERIFICATION)
        await until(lambda: fisheries.read("SELECT body FROM lgsp_outbox") == [(None,)])
    async with bus(MemoryLedger()) as town, opened(town, "fisheries") as fisheries:
        await fisheries.send(VERIFY, **VERIFICATION)
        assert fisheries.read("SELECT count(*) FROM lgsp_superseded") == [(0,)]
