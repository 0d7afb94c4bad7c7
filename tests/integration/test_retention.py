"""A bus forgets its exchanges in time, step by step, and keeps the log, what people have to decide and who was named."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.backends.sql import PostgresLedger, SqliteLedger
from lgsp.bus import retention
from lgsp.bus.refusing import EnvelopeRefused
from lgsp.ports.ledger import Done, Forget
from lgsp.testing.bus import running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.samples import NOW, accept, sign_receipts
from lgsp.testing.world import POPULATION, VERIFY, World

KEPT = timedelta(days=30)


@pytest.fixture
async def bus():
    """A running bus on memory, with its world, clock and ledger."""
    world, store = World.make(), MemoryLedger()
    clock = ManualClock(world.now)
    async with running_bus(world, store, clock=clock, entropy=SeededEntropy(1, clock)) as running:
        yield running, world, clock, store


async def test_an_exchange_is_forgotten_thirty_days_after_its_life_and_the_time_for_its_reply(bus):
    running, world, clock, store = bus
    wire = world.envelope()
    await running.ingress.submit(wire, peer="test")
    held = await store.exchange_of(wire.hash)
    clock.advance((held.term + KEPT - clock.now()).total_seconds())
    await running.sweep.once()  # what nobody took expires
    clock.advance(retention.EVERY.total_seconds())
    assert await store.exchange_of(wire.hash) is not None
    await running.sweep.once()
    assert await store.exchange_of(wire.hash) is None
    assert (await store.evidence(wire.hash)).compact == wire.compact
    await running.auditor.check()


async def test_the_same_envelope_is_refused_as_expired_once_it_is_forgotten(bus):
    running, world, clock, _ = bus
    wire = world.envelope()
    await running.ingress.submit(wire, peer="test")
    clock.advance(timedelta(days=60).total_seconds())
    for _ in range(2):
        await running.sweep.once()
        clock.advance(retention.EVERY.total_seconds())
    with pytest.raises(EnvelopeRefused) as refused:
        await running.ingress.submit(wire, peer="test")
    assert refused.value.refusal.code == "expired"


async def test_a_sweep_forgets_no_more_than_one_step_and_the_next_goes_on_at_once(bus):
    running, world, clock, store = bus
    assert world.directory.services[VERIFY].reply_within < KEPT.total_seconds()
    old = [replace(accept(number, to=(), at=world.now), head=1) for number in range(1, retention.AT_ONCE + 31)]
    await store.commit(old, sign_receipts)
    clock.advance(timedelta(days=60).total_seconds())
    left = []
    for _ in range(3):
        await running.sweep.once()
        left.append(sum([await store.exchange_of(each.exchange.env) is not None for each in old]))
    assert left == [30, 0, 0]
    assert POPULATION in {each.exchange.audience for each in old}


@pytest.mark.parametrize("engine", ["file", "database"])
async def test_persons_are_found_after_their_exchange_is_forgotten(engine, tmp_path, emptied):
    opened = (
        SqliteLedger.open(tmp_path / "bus.sqlite", create=True)
        if engine == "file"
        else await PostgresLedger.open(await emptied(), create=True)
    )
    operation = accept(1, to=(), persons=2)
    await opened.commit([operation], sign_receipts)
    await opened.commit([Forget(envs=(operation.exchange.env,))], sign_receipts)
    assert await opened.exchange_of(operation.exchange.env) is None
    env = operation.exchange.env
    assert sorted((await opened.persons_of([env]))[env], key=repr) == sorted(operation.subjects, key=repr)
    await opened.close()


async def test_two_gateways_may_forget_the_same_at_the_same_time(database):
    first, second = [await PostgresLedger.open(database, create=True) for _ in range(2)]
    operations = [accept(number, to=()) for number in range(1, 101)]
    await first.commit(operations, sign_receipts)
    envs = tuple(each.exchange.env for each in operations)
    blocker = await asyncpg.connect(database, timeout=30)
    async with blocker.transaction():
        await blocker.execute("LOCK TABLE body")  # both have kept the evidence, or wait for who has
        forgetting = asyncio.gather(*(each.commit([Forget(envs=envs)], sign_receipts) for each in (first, second)))
        async with asyncio.timeout(20):
            while await blocker.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < 2:
                await asyncio.sleep(0.01)
    assert await forgetting == [[Done()], [Done()]]
    assert await blocker.fetchval("SELECT count(*) FROM evidence") == len(envs)
    assert await blocker.fetchval("SELECT count(*) FROM exchange") == 0
    await blocker.close()
    await first.close()
    await second.close()


async def test_in_a_database_what_stays_lies_in_the_table_of_its_year(database):
    years = {2026: 1, 2027: 2, 2046: 3}
    made = {year: accept(number, to=(), at=NOW.replace(year=year)) for year, number in years.items()}
    operations = [
        replace(each, exchange=replace(each.exchange, expires=NOW.replace(year=year))) for year, each in made.items()
    ]
    opened = await PostgresLedger.open(database, create=True)
    await opened.commit(operations, sign_receipts)
    await opened.commit([Forget(envs=tuple(each.exchange.env for each in operations))], sign_receipts)
    await opened.close()
    connection = await asyncpg.connect(database, timeout=30)
    rows = await connection.fetch("SELECT env, tableoid::regclass::text FROM evidence")
    await connection.close()
    names = {2026: "evidence_2026", 2027: "evidence_2027", 2046: "evidence_else"}
    assert {row[0]: row[1] for row in rows} == {made[year].exchange.env: name for year, name in names.items()}
