"""What the bus does when something under it fails: the ledger, a body that does not open, one of its own tasks."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.errors import Refusal
from lgsp.testing.bus import Tray, running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import NDXP, World


class FailingLedger(MemoryLedger):
    """A memory ledger that fails, or waits, where it is told to."""

    def __init__(self):
        super().__init__()
        self.commit_fault = None
        self.queued_fault = None
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
        return await super().queued(inbox, lane, limit, skip)


@pytest.fixture
def world():
    return World.make()


@pytest.fixture
def clock(world):
    return ManualClock(world.now)


@pytest.fixture
def store():
    return FailingLedger()


def run(world, store, clock):
    return running_bus(world, store, clock=clock, entropy=SeededEntropy(1, clock))


async def until(condition, seconds=5.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


async def test_a_gateway_whose_sequencer_fails_ends_and_answers_whoever_waits(world, store, clock):
    answers = []

    async def ask(bus):
        with pytest.raises(Refusal, match="unavailable"):
            await bus.ingress.submit(world.envelope(), peer="test")
        answers.append("unavailable")

    async with asyncio.timeout(5), asyncio.TaskGroup() as callers:
        with pytest.raises(BaseExceptionGroup) as ended:
            async with run(world, store, clock) as bus:
                bus.refusals.count("signature", "192.0.2.1")
                store.may_commit.clear()
                store.committing.clear()
                callers.create_task(ask(bus))
                await store.committing.wait()
                callers.create_task(ask(bus))
                store.commit_fault = RuntimeError("no such thing was foreseen")
                store.may_commit.set()
                await asyncio.Event().wait()
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
