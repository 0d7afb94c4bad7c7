"""The catalogue follows the log behind the envelopes, on every engine: whole, again from nothing, and by several gateways at once."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.backends.sql import PostgresLedger, SqliteLedger
from lgsp.bus import cataloguer
from lgsp.bus.cataloguer import Cataloguer, mentions_in
from lgsp.domain import strictjson
from lgsp.testing.bus import running_bus
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.samples import accept, note, sign_receipts

ENGINES = ["memory", "file", "database"]
AGES = 600.0


@pytest.fixture
async def store(request, tmp_path, emptied):
    match request.param:
        case "memory":
            yield MemoryLedger()
            return
        case "file":
            opened = SqliteLedger.open(tmp_path / "bus.sqlite", create=True)
        case _:
            opened = await PostgresLedger.open(await emptied(), create=True)
    yield opened
    await opened.close()


def opened_bus(world, store, clock):
    return running_bus(world, store, clock=clock, entropy=SeededEntropy(1, clock))


async def log_of(store):
    return [strictjson.parse_object(entry) for entry in await store.entries(0, await store.size())]


@pytest.mark.parametrize("store", ENGINES, indirect=True)
async def test_after_a_sweep_every_entry_of_an_envelope_is_found_by_all_that_it_says(store, world, clock):
    async with opened_bus(world, store, clock) as bus:
        wires = [world.envelope(number=number, casefile=f"AG-{number}-TS") for number in range(1, 4)]
        for wire in wires:
            await bus.ingress.submit(wire, peer="test")
        await bus.sweep.once()
        size, log = await store.size(), await log_of(store)
        for number, wire in enumerate(wires, 1):
            named = [entry["seq"] for entry in log if entry.get("env") == wire.hash]
            assert named
            assert await store.entries_of(wire.hash) == named
            assert await store.mentioning("casefile", f"AG-{number}-TS", 0, size, 100) == named
        assert await store.catalogued() == size


async def test_a_reply_is_about_what_its_request_is_about(world, clock):
    store = MemoryLedger()
    async with opened_bus(world, store, clock) as bus:
        request = world.envelope(casefile="AG-1-TS")
        await bus.ingress.submit(request, peer="test")
        reply = world.reply(request)
        await bus.ingress.submit(reply, peer="test")
        await bus.sweep.once()
        found = await store.mentioning("casefile", "AG-1-TS", 0, await store.size(), 100)
        envs = [entry.get("env") for entry in await log_of(store) if entry["seq"] in found]
        assert {request.hash, reply.hash} == set(envs)


async def test_a_refused_envelope_is_found_by_its_hash(world, clock):
    store = MemoryLedger()
    async with opened_bus(world, store, clock) as bus:
        wire = world.envelope(purpose="dpv:Marketing")
        with pytest.raises(Exception, match="purpose"):
            await bus.ingress.submit(wire, peer="test")
        await bus.sweep.once()
        [seq] = await store.entries_of(wire.hash)
        assert strictjson.parse_object((await store.entries(seq, seq + 1))[0])["ev"] == "msg.rejected"


async def test_a_catalogue_that_was_dropped_is_made_again_and_the_log_never_misses_it(tmp_path, world, clock):
    path = tmp_path / "bus.sqlite"
    store = SqliteLedger.open(path, create=True)
    async with opened_bus(world, store, clock) as bus:
        wire = world.envelope()
        await bus.ingress.submit(wire, peer="test")
        await bus.sweep.once()
        before = await store.entries_of(wire.hash)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("DELETE FROM mention")
        assert await store.entries_of(wire.hash) == []
        await bus.auditor.check()
        await bus.sweep.once()
        assert await store.entries_of(wire.hash) == before
    await store.close()


async def test_a_round_ends_in_time_and_the_next_goes_on_where_it_ended(world, clock):
    store = MemoryLedger()
    async with opened_bus(world, store, clock) as bus:
        await store.commit([note(number) for number in range(2 * cataloguer.AT_ONCE)], sign_receipts)
        first = await bus.sweep.cataloguer.follow(seconds=0)
        assert first == cataloguer.AT_ONCE
        assert await store.catalogued() == first
        assert await bus.sweep.cataloguer.follow(AGES) == await store.size() == await store.catalogued()


class Door:
    """A gateway's way to the ledger, without its bus."""

    def __init__(self, ledger):
        self.ledger = ledger

    async def submit(self, *operations, order):
        assert order == "bulk"
        return await self.ledger.commit(operations, sign_receipts)


async def test_several_gateways_catalogue_at_once_and_get_one_catalogue(emptied):
    dsn = await emptied()
    stores = [await PostgresLedger.open(dsn, create=True) for _ in range(3)]
    store = stores[0]
    await store.commit([note(number) for number in range(1_200)], sign_receipts)
    await store.commit([accept(number) for number in range(1, 40)], sign_receipts)
    at_once = [Cataloguer(ledger=each, search=each, sequencer=Door(each)) for each in stores]
    reached = await asyncio.gather(*(each.follow(AGES) for each in at_once))
    assert reached == [1_239] * 3
    named = [each for each in await mentions_in(store, 0, await store.entries(0, 1_239)) if each.env]
    assert len(named) == 39
    for each in named:
        assert await store.entries_of(each.env) == [each.seq]
    for each in stores:
        await each.close()
