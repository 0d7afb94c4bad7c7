"""In which order and in what company operations are committed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import asynccontextmanager
from itertools import chain

import pytest

from lgsp.bus import sequencer as sequencer_module
from lgsp.bus.engines import Engines
from lgsp.bus.figures import Figures
from lgsp.bus.sequencer import BULK_MAX, BULK_SHARE, GROUP_MAX, Sequencer
from lgsp.domain.entries import draft
from lgsp.ports.ledger import Done, Note, Operation
from lgsp.testing.clock import ManualClock

MOST = 20.0
"""Seconds after which a test has failed."""


class RecordingLedger:
    """Notes what was committed together; a commit lasts one turn of the loop."""

    def __init__(self) -> None:
        self.groups: list[list[Operation]] = []

    async def commit(self, operations: Sequence[Operation], _sign: object) -> list[Done]:
        self.groups.append(list(operations))
        await asyncio.sleep(0)
        return [Done() for _ in operations]


@pytest.fixture
def ledger() -> RecordingLedger:
    return RecordingLedger()


@asynccontextmanager
async def running(ledger: RecordingLedger):
    sequencer = Sequencer(
        ledger=ledger,
        signer=None,
        gateway="",
        log="",
        clock=ManualClock(),
        engines=Engines(ledger=ledger),
        figures=Figures(),
    )
    async with asyncio.timeout(MOST):
        task = asyncio.create_task(sequencer.run())
        try:
            yield sequencer
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def notes(clock: ManualClock, count: int) -> list[Note]:
    return [Note(entry=draft("log.opened", at=clock.now(), bus="", reason=str(place))) for place in range(count)]


async def test_while_nobody_asks_bulk_goes_in_large_groups_beside_everything_else(ledger):
    first, *bulk = notes(ManualClock(), GROUP_MAX + 1)
    async with running(ledger) as sequencer:
        await asyncio.gather(
            *(sequencer.submit(each, order="bulk") for each in bulk), sequencer.submit(first, order="first")
        )
    assert ledger.groups == [[first, *bulk]]


async def test_after_a_step_of_a_lookup_bulk_goes_in_small_groups(ledger):
    asked, *bulk = notes(ManualClock(), 3 * BULK_MAX + 1)
    async with running(ledger) as sequencer:
        await sequencer.submit(asked, order="urgent")
        await asyncio.gather(*(sequencer.submit(each, order="bulk") for each in bulk))
    assert [len(group) for group in ledger.groups] == [1, BULK_MAX, BULK_MAX, BULK_MAX]
    assert list(chain(*ledger.groups)) == [asked, *bulk]


async def test_bulk_that_waits_lets_the_next_step_of_a_lookup_go_first(ledger, monkeypatch):
    # Longer than this machine may stand still between two steps.
    monkeypatch.setattr(sequencer_module, "REST", 1.0)
    monkeypatch.setattr(sequencer_module, "BULK_EVERY", 1.0)
    before, asked, moved, bulk, answered = notes(ManualClock(), 5)
    async with running(ledger) as sequencer:
        await sequencer.submit(before, order="bulk")
        await sequencer.submit(asked, order="urgent")
        waiting = asyncio.create_task(sequencer.submit(bulk, order="bulk"))
        await asyncio.sleep(0)
        await sequencer.submit(moved, order="first")
        await sequencer.submit(answered, order="urgent")
        assert not waiting.done()
        await waiting
    assert ledger.groups == [[before], [asked], [moved], [answered], [bulk]]


async def test_of_much_bulk_more_goes_at_once_so_that_it_does_not_grow_for_ever_while_people_ask(ledger):
    asked, *bulk = notes(ManualClock(), 2 * BULK_SHARE * BULK_MAX + 1)
    async with running(ledger) as sequencer:
        await sequencer.submit(asked, order="urgent")
        await asyncio.gather(*(sequencer.submit(each, order="bulk") for each in bulk))
    assert [len(group) for group in ledger.groups][:2] == [1, 2 * BULK_MAX]
    assert list(chain(*ledger.groups)) == [asked, *bulk]


async def test_bulk_is_never_held_up_for_good_by_those_who_ask_all_the_time(ledger):
    clock = ManualClock()
    bulk = notes(clock, 3 * BULK_MAX)
    async with running(ledger) as sequencer:
        waiting = asyncio.gather(*(sequencer.submit(each, order="bulk") for each in bulk))
        while not waiting.done():
            await sequencer.submit(*notes(clock, 1), order="urgent")
        assert await waiting == [[Done()]] * len(bulk)


async def test_work_of_many_waits_for_a_lookup_that_is_under_way_and_no_longer_than_bulk_would(ledger, monkeypatch):
    monkeypatch.setattr(sequencer_module, "REST", 1.0)
    clock = asyncio.get_running_loop().time
    async with running(ledger) as sequencer:
        await sequencer.calm()
        began = clock()
        await sequencer.submit(*notes(ManualClock(), 1), order="urgent")
        await sequencer.calm()
        assert clock() - began >= sequencer_module.BULK_EVERY / 2
