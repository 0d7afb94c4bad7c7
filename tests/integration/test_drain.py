"""A gateway that stops under load: what it accepted it answers, what receivers hold they settle, whoever waits is let go, all in bounded time."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from lgsp.backends.memory import MemoryLedger
from lgsp.cli import serving
from lgsp.domain import strictjson
from lgsp.errors import Refusal
from lgsp.http.settings import HTTP_LIMITS
from lgsp.testing.bus import ack_of
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import NDXP

pytestmark = pytest.mark.timeout(60)


class SlowLedger(MemoryLedger):
    """A ledger whose commits take a moment, as a disk's do."""

    async def commit(self, operations, sign):
        await asyncio.sleep(0.01)
        return await super().commit(operations, sign)


@pytest.fixture
async def edge(world):
    clock = ManualClock(world.now)
    async with running_edge(world, SlowLedger(), clock=clock, entropy=SeededEntropy(1, clock)) as edge:
        yield edge


async def stop(edge):
    """End the gateway as `lgsp serve` does at a signal, and return how long that took."""
    began = time.monotonic()
    edge.bus.wind_down()
    await edge.running.close()
    await edge.bus.drain()
    return time.monotonic() - began


async def until(condition, seconds=10.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


async def accepted_in_the_log(edge):
    entries = [strictjson.parse_object(each) for each in await edge.bus.ledger.entries(0, await edge.bus.ledger.size())]
    return {entry["env"] for entry in entries if entry["ev"] == "msg.accepted"}


@dataclass
class Answers:
    """What senders heard."""

    receipted: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)


async def call_until_refused(edge, world, numbers, heard):
    with suppress(OSError):  # aiohttp's errors of a connection that is refused: the gateway is gone
        for number in numbers:
            wire = world.envelope(number=number)
            answer = await edge.post(wire)
            if answer.status != 202:
                heard.refused.append(answer.code)
                assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
                assert answer.headers["Connection"] == "close"
                return
            heard.receipted.add(wire.hash)


async def stream_until_closed(edge, world, numbers, heard):
    refs = {}
    async with edge.stream("fisheries") as stream:

        async def send():
            for number in numbers:
                refs[number] = world.envelope(number=number)
                await stream.send(number, refs[number])
                await asyncio.sleep(0.001)

        sending = asyncio.create_task(send())
        while (frame := await stream.next_frame())["op"] != "closing":
            if frame["op"] == "receipt":
                heard.receipted.add(refs[frame["ref"]].hash)
            elif frame["op"] == "refused":
                heard.refused.append(frame["problem"]["code"])
        assert frame["reason"] == "drain"
        sending.cancel()


async def test_whatever_was_accepted_was_answered_when_a_gateway_stops_under_load(edge, world):
    heard = Answers()
    async with asyncio.TaskGroup() as senders:
        for sender in range(4):
            numbers = range(1_000 * (sender + 1), 1_000 * (sender + 1) + 900)
            senders.create_task(call_until_refused(edge, world, numbers, heard))
        senders.create_task(stream_until_closed(edge, world, range(10_000, 12_000), heard))
        await until(lambda: len(heard.receipted) > 40)
        took = await stop(edge)
    assert heard.receipted == await accepted_in_the_log(edge)
    assert set(heard.refused) <= {"draining"}
    assert took < 5


async def test_who_calls_while_streams_end_is_told_that_the_gateway_stops(edge, world):
    async with edge.stream("ndxp") as stream:
        await stream.give(credit=1)
        await edge.post(world.envelope())
        await stream.receive("deliver")
        stopping = asyncio.create_task(stop(edge))
        await until(lambda: edge.bus.ingress.draining)
        for answer in (
            await edge.post(world.envelope(number=2)),
            await edge.call("GET", "/v1/inbox", signer="ndxp"),
            await edge.call("GET", "/v1/stream", headers={"Sec-WebSocket-Protocol": "lgsp.v1"}),
        ):
            assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "draining", "2")
        ready = await edge.call("GET", "/readyz")
        assert (ready.status, ready.members["degraded"]) == (503, ["intake: draining"])
        assert (await edge.call("GET", "/healthz")).status == 200
    await stopping


async def test_a_receiver_settles_what_it_holds_before_its_stream_ends(edge, world):
    wires = [world.envelope(number=number) for number in (1, 2, 3)]
    async with edge.stream("ndxp") as stream:
        await stream.give(credit=3)
        for wire in wires:
            await edge.post(wire)
            await stream.receive("deliver")
        stopping = asyncio.create_task(stop(edge))
        await until(lambda: edge.running.streams._draining)
        for statement in ack_of(world, "ndxp", NDXP, *(wire.hash for wire in wires)):
            await stream.ack(statement)
            assert (await stream.receive("settled"))["env"] in {wire.hash for wire in wires}
        assert (await stream.closing())["reason"] == "drain"
    assert await stopping < 5
    held = await edge.bus.courier.inboxes.held(NDXP, [wire.hash for wire in wires])
    assert {each.state for each in held.values()} == {"acked"}


async def test_a_receiver_that_settles_nothing_delays_a_stop_for_a_bounded_time_and_gets_all_again(world):
    clock = ManualClock(world.now)
    settings = replace(HTTP_LIMITS, drain_seconds=0.2)
    async with running_edge(
        world, MemoryLedger(), clock=clock, entropy=SeededEntropy(1, clock), settings=settings
    ) as edge:
        wire = world.envelope()
        async with edge.stream("ndxp") as stream:
            await stream.give(credit=1)
            await edge.post(wire)
            await stream.receive("deliver")
            stopping = asyncio.create_task(stop(edge))
            assert (await stream.closing())["reason"] == "drain"
        assert 0.2 <= await stopping < 2
        [held] = (await edge.bus.courier.inboxes.held(NDXP, [wire.hash])).values()
        assert (held.state, held.attempts) == ("queued", 0)


async def test_calls_that_wait_are_answered_with_what_they_have(edge, world):
    asking = asyncio.create_task(edge.post(world.envelope(), Prefer="wait=30"))
    await until(lambda: edge.bus.replies._waiters)
    await until(lambda: edge.bus.room._open)
    pulling = asyncio.create_task(edge.call("GET", "/v1/inbox?wait=30", signer="fisheries"))
    await until(lambda: any(inbox.pulls for inbox in edge.bus.courier._known.values()))
    assert await stop(edge) < 2
    assert (await asking).status == 202
    assert "receipt" in (await asking).members
    assert ((await pulling).status, (await pulling).members["items"]) == (200, [])


@pytest.mark.parametrize("trouble", ["away", "hangs"])
async def test_the_end_is_told_though_the_ledger_cannot_say_how_long_it_is(trouble, monkeypatch):
    monkeypatch.setattr(serving, "LAST_LOOK_SECONDS", 0.05)

    async def size():
        if trouble == "away":
            raise Refusal("unavailable")
        await asyncio.Event().wait()

    bus = SimpleNamespace(ledger=SimpleNamespace(size=size), vitals=SimpleNamespace(entries=7))
    with capture_logs() as logged:
        await asyncio.wait_for(serving._tell_stopped(bus), 5)
    assert [(line["event"], line["entries"]) for line in logged] == [("gateway.stopped", 7)]


async def test_a_gateway_whose_ledger_hangs_stops_in_bounded_time(world, monkeypatch):
    monkeypatch.setattr("lgsp.bus.supervisor.DRAIN_SECONDS", 0.1)
    clock = ManualClock(world.now)
    ledger = MemoryLedger()

    async def hang(*_):
        await asyncio.Event().wait()

    async def nothing(_):
        """Else the sweep may be what hangs first."""

    monkeypatch.setattr("lgsp.bus.sweep.Sweep.once", nothing)
    async with running_edge(world, ledger, clock=clock, entropy=SeededEntropy(1, clock)) as edge:
        ledger.commit = hang
        waiting = asyncio.create_task(edge.bus.ingress.submit(world.envelope(), peer="test"))
        await until(lambda: not edge.bus.sequencer._idle.is_set())
        assert await stop(edge) < 2
        with pytest.raises(Refusal, match="unavailable"):
            await waiting
