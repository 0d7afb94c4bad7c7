"""What the bus does when something under it fails: the ledger, a body that does not open, one of its own tasks."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.domain import strictjson
from lgsp.errors import Refusal, Unusable
from lgsp.testing.bus import Tray, running_bus
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.samples import note
from lgsp.testing.world import FISHERIES, NDXP, made_up_id


class FailingLedger(MemoryLedger):
    """A memory ledger that fails, or waits, where it is told to."""

    def __init__(self):
        super().__init__()
        self.commit_fault = None
        self.queued_fault = None
        self.damaged = set()
        self.reads = 0
        self.committing = asyncio.Event()
        self.may_commit = asyncio.Event()
        self.may_commit.set()

    async def commit(self, operations, sign):
        self.committing.set()
        await self.may_commit.wait()
        if self.commit_fault is not None:
            raise self.commit_fault
        return await super().commit(operations, sign)

    async def queued(self, inbox, lane, limit, skip=()):
        self.reads += 1
        if self.queued_fault is not None:
            raise self.queued_fault
        return [self._damage(parcel) for parcel in await super().queued(inbox, lane, limit, skip)]

    async def parcel(self, env, to):
        found = await super().parcel(env, to)
        return None if found is None else self._damage(found)

    def _damage(self, parcel):
        return replace(parcel, sealed=bytes(40)) if parcel.delivery.env in self.damaged else parcel


@pytest.fixture
def store():
    return FailingLedger()


def run(world, store, clock):
    return running_bus(world, store, clock=clock, entropy=SeededEntropy(1, clock))


async def until(condition, seconds=5.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


async def fail_while_two_wait(bus, store, callers, ask):
    """Fail the commit of the first caller, while the second one waits for the next."""
    store.may_commit.clear()
    store.committing.clear()
    callers.create_task(ask(bus))
    await store.committing.wait()
    callers.create_task(ask(bus))
    store.commit_fault = RuntimeError("no such thing was foreseen")
    store.may_commit.set()
    await asyncio.Event().wait()


async def test_a_gateway_whose_sequencer_fails_ends_and_answers_whoever_waits(world, store, clock):
    answers = []

    async def ask(bus):
        with pytest.raises(Refusal, match="unavailable"):
            await bus.ingress.submit(world.envelope(), peer="test")
        answers.append("unavailable")

    async def live(callers):
        async with run(world, store, clock) as bus:
            bus.refusals.count("signature", "192.0.2.1")
            await fail_while_two_wait(bus, store, callers, ask)

    async with asyncio.timeout(5), asyncio.TaskGroup() as callers:
        with pytest.raises(BaseExceptionGroup) as ended:
            await live(callers)
    assert ended.group_contains(RuntimeError, match="no such thing")
    assert answers == ["unavailable", "unavailable"]


async def test_to_settle_waits_for_the_commit_under_way(world, store, clock):
    async with run(world, store, clock) as bus:
        store.may_commit.clear()
        store.committing.clear()
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(bus.ingress.submit(world.envelope(), peer="test"))
            await store.committing.wait()
            settling = tasks.create_task(bus.sequencer.settle())
            await asyncio.sleep(0)
            assert not settling.done()
            store.may_commit.set()
        assert sending.result().receipt


async def test_a_gateway_ends_in_order_though_the_ledger_is_away(world, store, clock):
    async with asyncio.timeout(5), run(world, store, clock) as bus:
        bus.refusals.count("signature", "192.0.2.1")
        store.commit_fault = Refusal("unavailable")
    assert bus.ingress.draining


async def test_a_ledger_that_cannot_be_read_for_a_moment_stops_no_delivery(world, store, clock, monkeypatch):
    monkeypatch.setattr("lgsp.bus.courier.AWAY_PAUSE", 0.001)
    async with run(world, store, clock) as bus:
        await bus.ingress.submit(world.envelope(), peer="test")
        store.queued_fault = Refusal("unavailable")
        bridge = Tray()
        attached = bus.courier.attach(NDXP, bridge)
        attached.credit(8, 1 << 20)
        await until(lambda: store.reads)
        store.queued_fault = None
        await until(lambda: bridge.handed)
        await attached.detach(orderly=True)


async def states(bus, wire):
    return [(held.state, held.code) for held in await bus.courier.inboxes.deliveries(wire.hash)]


async def test_a_body_that_does_not_open_is_parked_and_its_neighbours_are_delivered(world, store, clock):
    broken, sound = world.envelope(number=1), world.envelope(number=2)
    store.damaged.add(broken.hash)
    async with run(world, store, clock) as bus:
        for wire in (broken, sound):
            await bus.ingress.submit(wire, peer="test")
        bridge = Tray()
        attached = bus.courier.attach(NDXP, bridge)
        attached.credit(8, 1 << 20)
        await until(lambda: bridge.handed)
        assert [handed.env for handed in bridge.handed] == [sound.hash]
        assert await states(bus, broken) == [("parked", "body_lost")]
        await attached.detach(orderly=True)


async def test_a_reply_whose_body_does_not_open_is_not_taken_for_given(world, store, clock):
    request = world.envelope()
    reply = world.reply(request)
    store.damaged.add(reply.hash)
    async with run(world, store, clock) as bus:
        with bus.replies.expect(FISHERIES, made_up_id(1)) as waiter:
            await bus.ingress.submit(request, peer="test")
            await bus.ingress.submit(reply, peer="test")
            assert await waiter.wait(1) is None
        assert await states(bus, reply) == [("parked", "body_lost")]


async def test_a_gateway_with_another_key_file_of_bodies_does_not_start(world, store, clock, monkeypatch):
    async with run(world, store, clock) as bus:
        await bus.ingress.submit(world.envelope(), peer="test")
    monkeypatch.setattr("lgsp.testing.bus.SECRET", bytes([1]) * 32)
    with pytest.raises(BaseExceptionGroup) as refused:
        async with run(world, store, clock):
            pytest.fail("it started")
    assert refused.group_contains(Unusable, match="key_file_broken")


def cut_off_the_last_entry(tables):
    tables.entries.pop()
    tables.leaves.pop()


def put_another_entry_under_the_checkpoint(tables):
    tables.leaves[290] = bytes(32)  # older ones lie under a node, and are left to `lgsp audit verify`


def change_a_node_of_the_tree(tables):
    tables.rows.subtrees[1, 0] = bytes(32)


def change_an_entry_after_the_checkpoint(tables):
    tables.entries[-1] = tables.entries[-1].replace(b"msg.accepted", b"msg.rejected")


def forge_the_checkpoint(tables):
    kept = tables.rows.checkpoints
    for size, text in kept.items():
        kept[size] = text.replace("lgsp.example.vn", "lgsp.example.xn")


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (cut_off_the_last_entry, "its checkpoint was signed over"),
        (put_another_entry_under_the_checkpoint, "are not those of the signed checkpoint"),
        (change_an_entry_after_the_checkpoint, "is not the one that was written"),
        (forge_the_checkpoint, "the kept checkpoint"),
        (change_a_node_of_the_tree, "are not those of the signed checkpoint"),
    ],
)
async def test_a_gateway_does_not_start_on_a_log_that_was_changed(world, store, clock, tamper, words):
    async with run(world, store, clock) as bus:
        await bus.auditor.keep()
        await fill_a_tile(bus)
        await bus.ingress.submit(world.envelope(), peer="test")
        if tamper is not change_an_entry_after_the_checkpoint:
            await bus.auditor.keep()
        store.commit_fault = Refusal("unavailable")  # so the last entry stays without a checkpoint
    store.commit_fault = None
    tamper(store._tables)
    with pytest.raises(BaseExceptionGroup) as refused:
        async with run(world, store, clock):
            pytest.fail("it started")
    assert refused.group_contains(Unusable, match=f"log_broken.*{words}")


async def fill_a_tile(bus):
    await bus.sequencer.submit(*(note(number) for number in range(300)))
    await bus.auditor.keep()


async def test_a_gateway_starts_again_on_the_log_it_left(world, store, clock):
    async with run(world, store, clock) as bus:
        await bus.ingress.submit(world.envelope(), peer="test")
    async with run(world, store, clock) as bus:
        assert await bus.auditor.checkpoint() == await bus.ledger.checkpoint()


async def test_refusals_summed_while_the_ledger_is_away_are_written_when_it_is_back(world, store, clock):
    async with run(world, store, clock) as bus:
        size = await bus.ledger.size()
        bus.refusals.count("signature", "192.0.2.1")
        store.commit_fault = Refusal("unavailable")
        with pytest.raises(Refusal, match="unavailable"):
            await bus.sweep.flush_refusals()
        store.commit_fault = None
        await bus.sweep.flush_refusals()
        await bus.sweep.flush_refusals()
        [entry] = await bus.ledger.entries(size, size + 5)
    assert b'"ev":"edge.refused"' in entry


async def test_however_long_the_ledger_is_away_its_refusals_are_two_sums(world, store, clock):
    async with run(world, store, clock) as bus:
        size = await bus.ledger.size()
        store.commit_fault = Refusal("unavailable")
        for _ in range(5):
            bus.refusals.count("signature", "192.0.2.1")
            clock.advance(61)
            with pytest.raises(Refusal, match="unavailable"):
                await bus.sweep.flush_refusals()
        assert len(bus.sweep._unwritten) == 1
        store.commit_fault = None
        await bus.sweep.flush_refusals()
        entries = await bus.ledger.entries(size, size + 5)
    assert [strictjson.parse_object(entry)["n"] for entry in entries] == [1, 4]


async def test_refusals_are_summed_once_though_sweep_and_drain_write_at_once(world, store, clock):
    async with run(world, store, clock) as bus:
        await bus.sequencer.settle()
        size = await bus.ledger.size()
        bus.refusals.count("signature", "192.0.2.1")
        await asyncio.gather(bus.sweep.flush_refusals(), bus.sweep.flush_refusals())
        assert len(await bus.ledger.entries(size, size + 5)) == 1
