"""A gateway whose database or broker is killed or stands still: it lives, says what is away, refuses in time, and goes on by itself."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
import structlog

from lgsp.app import run_on_broker
from lgsp.backends.memory import MemoryLedger
from lgsp.backends.sql import PostgresLedger
from lgsp.bus.engines import Engines
from lgsp.errors import Refusal
from lgsp.testing.bus import parts_of, publish
from lgsp.testing.edge import behind_edge, running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.postgresql import private_database

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with private_database(tmp_path_factory.mktemp("away")) as running:
        yield running


@pytest.fixture
async def on_database(world, clock, server):
    store = await PostgresLedger.open(server.url(), create=True)
    async with running_edge(world, store, clock=clock, entropy=SeededEntropy(time.time_ns(), clock)) as edge:
        yield edge
    await store.close()


@asynccontextmanager
async def edge_on_broker(world, clock, url):
    parts = parts_of(world, MemoryLedger(), clock=clock, entropy=SeededEntropy(time.time_ns(), clock))
    async with run_on_broker(parts, url) as bus:
        await publish(bus, world)
        async with behind_edge(world, bus) as edge:
            yield edge


async def until(edge, status, degraded=None, seconds=40):
    async with asyncio.timeout(seconds):
        while True:
            answer = await edge.call("GET", "/readyz")
            if answer.status == status and (degraded is None or answer.members["degraded"] == degraded):
                return answer
            await asyncio.sleep(0.05)


def check_refused(answer):
    assert (answer.status, answer.code, answer.members["retryable"]) == (503, "unavailable", True)
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert int(answer.headers["Retry-After"]) > 0


async def accepted(edge, wire):
    """Send the same bytes until they are accepted, as a sender does."""
    async with asyncio.timeout(40):
        while (answer := await edge.post(wire)).status != 202:
            check_refused(answer)
            await asyncio.sleep(0.05)
    return answer


async def test_while_the_database_is_down_calls_are_refused_with_word_when_to_come_again(on_database, world, server):
    edge = on_database
    await accepted(edge, world.envelope())
    with structlog.testing.capture_logs() as logged:
        server.kill()
        for _ in range(3):
            check_refused(await edge.post(world.envelope(number=2)))
            check_refused(await edge.call("GET", "/v1/inbox", signer="ndxp"))
        assert (await edge.call("GET", "/healthz")).status == 200
        answer = await until(edge, 503, ["ledger: away"])
    assert (answer.code, answer.headers["Retry-After"]) == ("not_ready", "2")
    told = [
        (line["event"], type(line["exc_info"])) for line in logged if line["event"] in ("commit.failed", "read.failed")
    ]
    assert told
    assert len(told) == len(set(told))  # each kind of trouble once, however many calls it fails
    server.start()
    await until(edge, 200)
    await accepted(edge, world.envelope(number=2))


async def test_a_database_that_stands_still_is_given_up_and_calls_are_refused_at_once(on_database, world, server):
    edge = on_database
    with server.paused():
        hanging = asyncio.create_task(edge.post(world.envelope(number=3)))
        await until(edge, 503, ["ledger: away"])
        async with asyncio.timeout(15):
            while not edge.bus.sequencer.engines.is_ledger_given_up:
                await asyncio.sleep(0.05)
        began = time.monotonic()
        check_refused(await edge.post(world.envelope(number=4)))
        check_refused(await edge.call("GET", "/v1/inbox", signer="ndxp"))
        assert time.monotonic() - began < 1
        assert (await edge.call("GET", "/healthz")).status == 200
    await until(edge, 200)
    answer = await hanging  # it may have been heard after all
    assert answer.status == 202 or answer.code == "unavailable"
    for number in (3, 4):
        await accepted(edge, world.envelope(number=number))


async def test_while_the_broker_stands_still_no_receipt_is_given_and_later_it_is(world, clock, rabbitmq):
    async with edge_on_broker(world, clock, rabbitmq.url) as edge:
        await accepted(edge, world.envelope())
        with rabbitmq.paused():
            check_refused(await edge.post(world.envelope(number=2)))
            assert (await edge.call("GET", "/healthz")).status == 200
        await accepted(edge, world.envelope(number=2))


async def test_a_stopped_sweep_and_a_full_inbox_are_named_though_the_gateway_stays_ready(world, clock, monkeypatch):
    monkeypatch.setattr("lgsp.bus.health.SWEEP_SECONDS", -1.0)
    monkeypatch.setattr("lgsp.bus.room.FULL", 0.0)
    async with running_edge(world, MemoryLedger(), clock=clock, entropy=SeededEntropy(1, clock)) as edge:
        await edge.post(world.envelope())
        parts = (await until(edge, 200)).members["parts"]
    assert {name: state for name, state in parts.items() if state != "ok"} == {"sweep": "behind", "inboxes": "full"}


async def test_a_ledger_is_given_up_after_two_looks_without_an_answer_and_taken_up_by_the_first_one(monkeypatch):
    monkeypatch.setattr("lgsp.bus.engines.EVERY", 0.0)
    looks = []

    class Moody(MemoryLedger):
        async def size(self):
            looks.append(engines.is_ledger_given_up)
            if len(looks) in {2, 4, 5}:
                raise Refusal("unavailable")
            return 0

    engines = Engines(ledger=Moody())
    watching = asyncio.create_task(engines.run())
    async with asyncio.timeout(5):
        while len(looks) < 8:
            await asyncio.sleep(0)
    watching.cancel()
    assert looks[:8] == [False, False, False, False, False, True, False, False]


class Slow(MemoryLedger):
    """A ledger that counts how often it is asked at once, and takes a moment."""

    def __init__(self):
        super().__init__()
        self.looks = self.at_once = self.most_at_once = 0

    async def size(self):
        self.looks += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1
        return 0


async def test_however_many_ask_whether_it_is_ready_one_look_a_second_is_what_the_engines_bear(monkeypatch):
    ledger = Slow()
    engines = Engines(ledger=ledger)
    watching = asyncio.create_task(engines.run())
    found = await asyncio.gather(*(engines.seen() for _ in range(500)))
    assert (ledger.looks, ledger.most_at_once) == (1, 1)
    assert all(states == {"ledger": "ok"} for states in found)
    monkeypatch.setattr("lgsp.bus.engines.FRESH", 0.0)
    await asyncio.gather(*(engines.seen() for _ in range(5)))
    assert (ledger.looks, ledger.most_at_once) == (6, 1)
    watching.cancel()
