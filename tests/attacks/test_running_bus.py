"""Attacks on a bus that runs on its real store: what holds across restarts, clocks and versions of the directory."""

import asyncio
import json
from datetime import timedelta

import pytest

from lgsp.backends.sql.sqlite import SqliteLedger
from lgsp.bus.refusing import EnvelopeRefused
from lgsp.domain import base64url, keys
from lgsp.domain.envelope import Wire, format_time
from lgsp.testing.bus import publish, running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import FISHERIES, VERIFY, World, key_record, signer_named

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
OLD, NEW = signer_named("fisheries old"), signer_named("fisheries new")


@pytest.fixture
async def open_store(tmp_path):
    """Open the bus's file as often as a test starts the bus; the one before is closed first."""
    opened = []

    async def open_again():
        while opened:
            await opened.pop().close()
        path = tmp_path / "bus.sqlite"
        opened.append(SqliteLedger.open(path, create=not path.exists()))
        return opened[-1]

    yield open_again
    while opened:
        await opened.pop().close()


def run(world, store, clock, seed=1):
    return running_bus(world, store, clock=clock, entropy=SeededEntropy(seed))


async def entries_of(bus):
    return [json.loads(entry) for entry in await bus.ledger.entries(0, await bus.ledger.size())]


async def code_of(bus, wire):
    try:
        await bus.ingress.submit(wire, peer="test")
    except EnvelopeRefused as refused:
        return refused.refusal.code
    return ""


async def test_r01_the_first_receipt_is_given_again_after_a_restart(open_store):
    world, wire = World.make(), World.make().envelope()
    clock = ManualClock(world.now)
    async with run(world, await open_store(), clock) as bus:
        first = await bus.ingress.submit(wire, peer="test")
        accepted = [entry for entry in await entries_of(bus) if entry["ev"] == "msg.accepted"]
    clock.advance(3_600)
    async with run(world, await open_store(), clock, seed=2) as bus:
        again = await bus.ingress.submit(wire, peer="test")
        assert [entry for entry in await entries_of(bus) if entry["ev"] == "msg.accepted"] == accepted
    assert again.duplicate
    assert again.receipt == first.receipt


async def test_r01_a_refused_envelope_again_unchanged_is_judged_anew_after_a_restart(open_store):
    world = World.make()
    clock = ManualClock(world.now)
    wire = world.envelope(recordedtime=format_time(world.now + timedelta(minutes=2)))
    async with run(world, await open_store(), clock) as bus:
        assert await code_of(bus, wire) == "clock_ahead"
    clock.advance(120)
    async with run(world, await open_store(), clock, seed=2) as bus:
        assert await code_of(bus, wire) == ""


async def test_r02_another_body_under_an_accepted_id_is_a_conflict_after_a_restart_too(open_store):
    world = World.make()
    clock = ManualClock(world.now)
    async with run(world, await open_store(), clock) as bus:
        assert await code_of(bus, world.envelope()) == ""
    async with run(world, await open_store(), clock, seed=2) as bus:
        other = world.envelope(body={"oldNumber": "990000017", "fullName": "NGUYỄN THỊ ÁNH TUYẾT", "birthDate": "1985"})
        assert await code_of(bus, other) == "id_conflict"
        assert [entry["code"] for entry in await entries_of(bus) if entry["ev"] == "msg.rejected"] == ["id_conflict"]


async def test_r03_the_twin_of_an_accepted_es256_signature_gets_the_first_receipt(open_store):
    signer = keys.p256_from_scalar(20261122)
    world = World.make(added=[key_record(signer, FISHERIES)], signers={"fisheries-es256": signer})
    first = world.envelope(signer="fisheries-es256")
    head, _, signature = first.compact.rpartition(b".")
    raw = base64url.decode(signature)
    twin_s = (P256_ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    twin = Wire(compact=head + b"." + base64url.encode(raw[:32] + twin_s).encode(), body=first.body)
    async with run(world, await open_store(), ManualClock(world.now)) as bus:
        receipted = await bus.ingress.submit(first, peer="test")
        again = await bus.ingress.submit(twin, peer="test")
        accepted = [entry["env"] for entry in await entries_of(bus) if entry["ev"] == "msg.accepted"]
    assert twin.hash != first.hash
    assert again.duplicate
    assert again.receipt == receipted.receipt
    assert accepted == [first.hash]


async def test_r07_when_the_bus_clock_jumps_back_the_order_of_the_log_is_unharmed(open_store):
    world = World.make()
    clock = ManualClock(world.now)
    async with run(world, await open_store(), clock) as bus:
        assert await code_of(bus, world.envelope(number=1)) == ""
        clock.advance(-3_600)
        early = format_time(clock.now())
        assert await code_of(bus, world.envelope(number=2, recordedtime=early)) == ""
        logged = await entries_of(bus)
    assert [entry["seq"] for entry in logged] == list(range(len(logged)))
    first, second = (entry for entry in logged if entry["ev"] == "msg.accepted")
    assert first["seq"] < second["seq"]
    assert first["ts"] > second["ts"]


async def test_r07_a_sender_ten_minutes_ahead_is_told_the_bus_time_and_one_behind_is_accepted(open_store):
    world = World.make(changes={VERIFY: {"max_life": 86_400}})
    async with run(world, await open_store(), ManualClock(world.now)) as bus:
        ahead, behind = (format_time(world.now + timedelta(minutes=minutes)) for minutes in (10, -10))
        with pytest.raises(EnvelopeRefused) as refused:
            await bus.ingress.submit(world.envelope(recordedtime=ahead), peer="test")
        assert refused.value.refusal.code == "clock_ahead"
        assert refused.value.refusal.facts["now"] == format_time(world.now)
        assert await code_of(bus, world.envelope(recordedtime=behind)) == ""


async def test_r09_keys_change_over_with_the_versions_of_the_directory(open_store):
    """Version 1 knows the old key, 2 both, 3 the new one alone; what was accepted before stays accepted."""
    signers = {"old": OLD, "new": NEW}
    rotation = [key_record(OLD, FISHERIES, until=3), key_record(NEW, FISHERIES, since=2)]
    world = World.make(added=rotation[:1], signers=signers)
    found = {}
    async with run(world, await open_store(), ManualClock(world.now)) as bus:
        for version in (1, 2, 3):
            if version > 1:
                prev = bus.registry.current.hash
                world = World.make(version=version, added=rotation, signers=signers, prev=prev)
                assert await publish(bus, world) == version
            for place, name in enumerate(signers):
                wire = world.envelope(signer=name, number=10 * version + place)
                found[version, name] = await code_of(bus, wire)
    assert found == {
        (1, "old"): "",
        (1, "new"): "kid_unknown",
        (2, "old"): "",
        (2, "new"): "",
        (3, "old"): "key_not_valid",
        (3, "new"): "",
    }


async def test_r19_the_second_of_two_replies_is_refused_after_a_restart_too(open_store):
    world = World.make()
    clock = ManualClock(world.now)
    request = world.envelope()
    async with run(world, await open_store(), clock) as bus:
        assert await code_of(bus, request) == ""
        assert await code_of(bus, world.reply(request, number=2)) == ""
    async with run(world, await open_store(), clock, seed=2) as bus:
        assert await code_of(bus, world.reply(request, number=3)) == "reply_duplicate"


async def test_r19_of_many_replies_at_once_one_is_accepted(open_store):
    world = World.make()
    request = world.envelope()
    async with run(world, await open_store(), ManualClock(world.now)) as bus:
        assert await code_of(bus, request) == ""
        codes = await asyncio.gather(*(code_of(bus, world.reply(request, number=number)) for number in range(2, 10)))
    assert sorted(codes) == ["", *["reply_duplicate"] * 7]
