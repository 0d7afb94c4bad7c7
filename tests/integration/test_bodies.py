"""Sealed bodies: archived where their service says so, gone after their time, and erased for good with the key of their day."""

import asyncio
import json
import re
import subprocess
import sys
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lgsp.backends.memory import MemoryLedger
from lgsp.backends.sql import SqliteLedger
from lgsp.bus import custody, retention
from lgsp.bus.evidence import Prover
from lgsp.domain import envelope, sealing
from lgsp.domain.directory import day_of
from lgsp.errors import Refusal
from lgsp.machine import SystemClock
from lgsp.ports.bodies import DayHeld
from lgsp.ports.ledger import KeepBodyKey
from lgsp.testing.bus import SECRET, Tray, ack_of, running_bus
from lgsp.testing.contracts.bodies import destroy, keep
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.gateways import running_gateway, world_of_gateways
from lgsp.testing.samples import sign_receipts
from lgsp.testing.world import BUS, FISHERIES, NDXP, OFFICER, VERIFY, World

ROOT = Path(__file__).parents[2]
ARCHIVE_DAYS = 90
LONG_LIFE = 20 * 86_400
SAID = {"by": OFFICER, "reason": "asked for by the agency"}
DAY = timedelta(days=1)
STEPS = 60
"""Statements of the destruction of a key, and of what follows it in the file, at least."""
WRAPPED_BYTES = sealing.NONCE_BYTES + sealing.KEY_BYTES + sealing.TAG_BYTES


@pytest.fixture
def world():
    return World.make(changes={VERIFY: {"archive_days": ARCHIVE_DAYS, "max_life": LONG_LIFE}})


@pytest.fixture
async def store(request, tmp_path):
    if getattr(request, "param", "memory") == "memory":
        yield MemoryLedger()
        return
    made = SqliteLedger.open(tmp_path / "bus.sqlite", create=True)
    yield made
    await made.close()


both = pytest.mark.parametrize("store", ["memory", "sqlite"], indirect=True)
only_file = pytest.mark.parametrize("store", ["sqlite"], indirect=True)


@pytest.fixture
async def bus(world, store, clock):
    async with running_bus(world, store, clock=clock, entropy=SeededEntropy(1, clock)) as running:
        yield running


def long_lived(world, number=1):
    return world.envelope(number=number, expirytime=envelope.format_time(world.now + timedelta(days=15)))


async def submit(bus, wire):
    await bus.ingress.submit(wire, peer="test")
    return wire


async def deliver(bus, world, wire):
    await submit(bus, wire)
    await bus.courier.pull(NDXP, limit=1, wait=0)
    await bus.settlement.acknowledge(NDXP, ack_of(world, "ndxp", NDXP, wire.hash)[0])
    return wire


async def pass_days(bus, clock, days, sweeps=2):
    """Let days pass, and the sweep look so often."""
    clock.advance((days * DAY).total_seconds())
    for _ in range(sweeps):
        await bus.sweep.once()
        clock.advance(retention.EVERY.total_seconds())


async def entries(bus, event):
    found = [json.loads(entry) for entry in await bus.ledger.entries(0, await bus.ledger.size())]
    return [entry for entry in found if entry["ev"] == event]


async def shown(bus, world, wire):
    """Return the body that evidence shows."""
    await bus.auditor.keep()
    prover = Prover(store=bus.custody.store, bus=BUS, registrar=world.signers["registrar"].public, wrap=SECRET)
    return (await prover.bundle(wire.hash)).message.body


async def until(condition, seconds=20.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def day_at(moment):
    return day_of(moment).isoformat()


# --- the archive --------------------------------------------------------------------------------------------------------------------------


@both
async def test_an_archived_body_is_evidence_until_its_time_is_over_and_gone_then(bus, world, clock, store):
    wire = await deliver(bus, world, world.envelope())
    await pass_days(bus, clock, 60)
    assert await store.exchange_of(wire.hash) is None  # forgotten, and the body outlives it
    assert await shown(bus, world, wire) == wire.body
    await pass_days(bus, clock, ARCHIVE_DAYS - 61)
    assert await shown(bus, world, wire) == wire.body
    await pass_days(bus, clock, 1)
    assert await store.body_of(wire.hash) is None
    assert await shown(bus, world, wire) is None
    await bus.auditor.check()


async def test_nothing_is_archived_unless_the_service_says_so(store, clock):
    world = World.make()
    async with running_bus(world, store, clock=clock, entropy=SeededEntropy(1, clock)) as bus:
        wire = await deliver(bus, world, world.envelope())
        assert await store.body_of(wire.hash) is None


async def test_the_archive_covers_the_reply_too(bus, world, store):
    asked = await deliver(bus, world, world.envelope())
    reply = await submit(bus, world.reply(asked))
    await bus.courier.pull(FISHERIES, limit=1, wait=0)
    await bus.settlement.acknowledge(FISHERIES, ack_of(world, "fisheries", FISHERIES, reply.hash)[0])
    assert (await store.body_of(reply.hash)).day == day_at(world.now)


async def test_a_sweep_drops_no_more_of_the_archive_than_one_step(bus, world, clock, store, monkeypatch):
    monkeypatch.setattr(custody, "AT_ONCE", 2)
    wires = [await deliver(bus, world, world.envelope(number=number)) for number in range(1, 6)]
    clock.advance((ARCHIVE_DAYS * DAY).total_seconds())
    left = []
    for _ in range(3):
        await bus.custody.step(clock.now())
        left.append(sum([await store.body_of(wire.hash) is not None for wire in wires]))
    assert left == [3, 1, 0]


# --- the end of a key ---------------------------------------------------------------------------------------------------------------------


@both
async def test_the_key_of_a_day_of_which_nothing_is_held_goes_by_itself(bus, world, clock, store):
    wire = await deliver(bus, world, world.envelope())
    day = day_at(world.now)
    await pass_days(bus, clock, ARCHIVE_DAYS - 1)
    assert day in await store.body_keys()
    await pass_days(bus, clock, 2)
    assert await store.body_of(wire.hash) is None
    clock.advance(custody.KEYS_EVERY.total_seconds())
    await bus.sweep.once()
    assert day not in await store.body_keys()
    [entry] = await entries(bus, "admin.body.key.destroyed")
    assert entry["obj"] == day
    assert not entry.keys() & {"by", "reason"}


async def test_the_key_of_a_day_stays_while_anything_of_it_is_parked_or_in_flight(bus, world, clock, store):
    await submit(bus, long_lived(world))
    await pass_days(bus, clock, 14)
    assert day_at(world.now) in await store.body_keys()
    assert await entries(bus, "admin.body.key.destroyed") == []


async def test_destroying_a_days_key_erases_its_archived_bodies_and_is_an_entry(bus, world, clock, store):
    wire = await deliver(bus, world, world.envelope())
    day = day_at(world.now)
    clock.advance((2 * DAY).total_seconds())
    index, held = await bus.custody.destroy(day, even_undelivered=False, **SAID)
    assert held == DayHeld(day=day, in_flight=0, parked=0, archived=1)
    assert await shown(bus, world, wire) is None
    assert await store.body_of(wire.hash) is None
    [entry] = await entries(bus, "admin.body.key.destroyed")
    assert entry == entry | {"seq": index, "obj": day, **SAID}
    assert [each.held.day for each in await bus.custody.days()] == []


@pytest.mark.parametrize(
    ("day", "passed", "code"),
    [
        ("2026-11-22", 2.0, "bodies_undelivered"),
        ("2026-11-22", 0.0, "day_not_over"),
        ("2026-12-31", 2.0, "day_not_over"),
        ("2026-11-01", 2.0, "not_found"),
        ("2026-11-31", 2.0, "bad_request"),
    ],
)
async def test_a_key_that_is_not_to_be_destroyed_is_refused_and_stays(bus, world, clock, store, day, passed, code):
    assert day_at(world.now) == "2026-11-22"
    await submit(bus, long_lived(world))
    clock.advance((passed * DAY).total_seconds())
    size = await store.size()
    with pytest.raises(Refusal) as refused:
        await bus.custody.destroy(day, even_undelivered=False, **SAID)
    assert refused.value.code == code
    assert (list(await store.body_keys()), await store.size()) == (["2026-11-22"], size)


async def test_a_refusal_names_how_many_are_undelivered(bus, world, clock):
    for number in (1, 2, 3):
        await submit(bus, long_lived(world, number))
    [handed, *_] = await bus.courier.pull(NDXP, limit=1, wait=0)
    step = bus.parking.moves.park(
        (await bus.parking.inboxes.deliveries(handed.env))[0], code="broken", now=clock.now(), attempts=1
    )
    await bus.progress.commit([step])
    clock.advance((2 * DAY).total_seconds())
    with pytest.raises(Refusal, match="2 in flight, 1 parked"):
        await bus.custody.destroy(day_at(world.now), even_undelivered=False, **SAID)


@both
async def test_what_was_undelivered_of_an_erased_day_ends_and_its_sender_learns_why(bus, world, clock, store):
    wires = [await submit(bus, long_lived(world, number)) for number in (1, 2)]
    sender = Tray()
    bus.progress.listen(FISHERIES, sender.outcome)
    clock.advance((2 * DAY).total_seconds())
    await bus.custody.destroy(day_at(world.now), even_undelivered=True, **SAID)
    assert [(told.state, told.code) for told in sender.outcomes] == [("expired", "body_erased")] * 2
    assert [entry["code"] for entry in await entries(bus, "msg.expired")] == ["body_erased"] * 2
    assert await bus.courier.pull(NDXP, limit=5, wait=0) == []
    assert [await store.body_of(wire.hash) for wire in wires] == [None, None]


async def test_what_is_in_a_receivers_hand_may_be_acked_after_its_day_was_erased(bus, world, clock, store):
    taken, put_back = [await submit(bus, long_lived(world, number)) for number in (1, 2)]
    clock.advance((2 * DAY).total_seconds())
    handed = {each.env: each for each in await bus.courier.pull(NDXP, limit=5, wait=0)}
    await bus.custody.destroy(day_at(world.now), even_undelivered=True, **SAID)
    await bus.settlement.acknowledge(NDXP, ack_of(world, "ndxp", NDXP, taken.hash)[0])
    lease = handed[put_back.hash].lease
    await bus.settlement.put_back(NDXP, env=put_back.hash, lease=lease, code="busy", retry_after=None)
    await pass_days(bus, clock, 1)
    states = {}
    for wire in (taken, put_back):
        [held] = await store.deliveries(wire.hash)
        states[wire] = held.state, held.code
    assert states == {taken: ("acked", ""), put_back: ("expired", "body_erased")}


async def test_a_delivery_whose_key_is_gone_ends_at_its_hand_over(bus, world, clock, store):
    wire = await submit(bus, long_lived(world))
    await store.commit([destroy(day_at(world.now))], sign_receipts)
    await bus.custody.keys.load()
    assert await bus.courier.pull(NDXP, limit=5, wait=0) == []
    [held] = await store.deliveries(wire.hash)
    assert (held.state, held.code) == ("expired", "body_erased")


@both
async def test_what_a_killed_gateway_did_not_end_of_an_erased_day_the_next_one_ends(bus, world, clock, store):
    wire = await submit(bus, long_lived(world))
    archived = await deliver(bus, world, world.envelope(number=2))
    await store.commit([destroy(day_at(world.now))], sign_receipts)
    async with running_bus(world, store, clock=clock, entropy=SeededEntropy(2, clock)) as again:
        await again.sweep.once()
    [held] = await store.deliveries(wire.hash)
    assert (held.state, held.code) == ("expired", "body_erased")
    assert await store.body_of(archived.hash) is None


# --- the bytes ----------------------------------------------------------------------------------------------------------------------------


def files_of(folder):
    return [left.read_bytes() for left in folder.glob("bus.sqlite*")]


def keys_found(folder, day):
    """Return every key of a day that the key file unwraps anywhere in the files of a ledger."""
    cipher, found = AESGCM(SECRET), []
    rows = re.compile(
        re.escape(day.encode()) + b"(?=(.{%d}))" % WRAPPED_BYTES, re.DOTALL
    )  # the day, then its wrapped key
    for data in files_of(folder):
        for wrapped in rows.findall(data):
            with suppress(InvalidTag):
                nonce, sealed = wrapped[: sealing.NONCE_BYTES], wrapped[sealing.NONCE_BYTES :]
                found.append(cipher.decrypt(nonce, sealed, day.encode()))
    return found


@only_file
async def test_a_destroyed_key_is_in_no_byte_of_the_data_folder(bus, world, clock, store, tmp_path):
    wire = await deliver(bus, world, world.envelope())
    day = day_at(world.now)
    held, wrapped = await store.body_of(wire.hash), (await store.body_keys())[day]
    assert sealing.open_sealed(keys_found(tmp_path, day)[0], wire.hash, held.sealed) == wire.body
    clock.advance((2 * DAY).total_seconds())
    times = {"recordedtime": clock.now(), "expirytime": clock.now() + DAY}
    await submit(bus, world.envelope(number=2, **{name: envelope.format_time(at) for name, at in times.items()}))
    await bus.custody.destroy(day, even_undelivered=False, **SAID)
    assert keys_found(tmp_path, day) == []
    assert not any(wrapped in data for data in files_of(tmp_path))
    assert list(await store.body_keys()) == [day_at(clock.now())]


async def test_no_page_of_a_table_that_has_grown_keeps_a_destroyed_key(tmp_path):
    days = [f"2026-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29)]
    store = SqliteLedger.open(tmp_path / "bus.sqlite", create=True)
    for day in days:
        await store.commit([keep(day)], sign_receipts)
    for day in (days[0], days[40], days[-1]):
        await store.commit([destroy(day)], sign_receipts)
        assert not any(keep(day).wrapped in data for data in files_of(tmp_path))
    assert len(await store.body_keys()) == len(days) - 3
    await store.close()


def survive(folder, every):
    program = [sys.executable, "-m", "tests.integration.key_killing", str(folder), str(every)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) >= STEPS // every


@pytest.mark.timeout(120)
def test_a_kill_at_every_seventeenth_step_leaves_key_without_entry_or_entry_without_key(tmp_path):
    survive(tmp_path, 17)


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_kill_between_any_two_steps_leaves_key_without_entry_or_entry_without_key(tmp_path):
    survive(tmp_path, 1)


# --- several gateways ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
async def test_another_gateway_forgets_a_destroyed_key_within_moments(database):
    world, day = world_of_gateways(SystemClock().now(), "b"), "2026-01-02"
    async with AsyncExitStack() as stack:
        a, b = [
            (await stack.enter_async_context(running_gateway(world, database, name, clock=SystemClock()))).bus
            for name in "ab"
        ]
        await until(lambda: not a.hearing.neighbours.alone)
        wrapped = sealing.seal(SECRET, day, bytes(sealing.KEY_BYTES), bytes(sealing.NONCE_BYTES))
        await a.sequencer.submit(KeepBodyKey(day=day, wrapped=wrapped))
        for each in (a, b):
            await each.custody.keys.load()
            assert each.custody.keys.seal(day, "env", b"body")
        await a.custody.destroy(day, even_undelivered=False, **SAID)
        await until(lambda: not any(day in each.custody.keys._keys for each in (a, b)), 10)
