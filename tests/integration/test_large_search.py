"""A search over many entries takes no more room than over few, looks piece by piece, and lets others go on meanwhile."""

import asyncio
import json
import time
import tracemalloc

import pytest

from lgsp.backends.sql import PostgresLedger, SqliteLedger
from lgsp.bus import searching
from lgsp.bus.searching import Reader
from lgsp.domain.selection import Selection
from lgsp.testing.bus import running_bus
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.samples import accept, note, sign_receipts
from lgsp.testing.world import VERIFY

ENTRIES = 20_000
EVERY = 50
"""One in so many entries accepts an envelope."""
AUDITOR = Reader(by="local", allowed=True)
GROWTH = 6 * 1024 * 1024
"""Bytes: a page of a thousand entries, a piece of the log, and what reads them; all entries would be three times as much as texts alone."""


@pytest.fixture(params=["file", "database"])
async def bus(request, tmp_path, emptied, world, clock):
    """A running bus with a long log, of which the catalogue knows nothing yet."""
    store = (
        SqliteLedger.open(tmp_path / "bus.sqlite", create=True)
        if request.param == "file"
        else await PostgresLedger.open(await emptied(), create=True)
    )
    for start in range(0, ENTRIES, 1_000):
        group = [
            accept(number, to=()) if number % EVERY == 0 else note(number) for number in range(start, start + 1_000)
        ]
        await store.commit(group, sign_receipts)
    async with running_bus(world, store, clock=clock, entropy=SeededEntropy(1, clock)) as running:
        yield running
    await store.close()


async def pages(bus, selection, *, limit=1_000):
    """Yield the pages of a search until its end."""
    start, stop = 0, None
    while start is not None:
        page = await bus.searcher.page(AUDITOR, selection, start=start, stop=stop, limit=limit)
        yield page
        start, stop = page.next, page.stop


async def test_all_entries_are_given_once_in_order_and_memory_stays_bounded(bus):
    size = await bus.ledger.size()
    seqs = []
    tracemalloc.start()
    try:
        async for page in pages(bus, Selection()):
            seqs += [json.loads(entry)["seq"] for entry in page.entries]
            assert len(page.entries) <= 1_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seqs == list(range(size + 1))  # the first page's reading is an entry before it
    assert peak < GROWTH


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        (Selection(type=VERIFY), ENTRIES // EVERY),
        (Selection(procedure="1.004359"), ENTRIES // EVERY),
        (Selection(officer="7f3a91", event="msg.accepted"), ENTRIES // EVERY),
        (Selection(casefile=f"AG-{EVERY:05d}-TS"), 1),
        (Selection(event="edge.refused", code="base64"), ENTRIES - ENTRIES // EVERY),
    ],
)
async def test_what_is_asked_for_is_found_whole_in_pages_of_any_size(bus, selection, count):
    whole = [entry async for page in pages(bus, selection) for entry in page.entries]
    assert len(whole) == count
    if count < ENTRIES // 2:
        assert [entry async for page in pages(bus, selection, limit=37) for entry in page.entries] == whole


async def test_a_call_ends_in_time_and_says_where_to_go_on(bus, monkeypatch):
    monkeypatch.setattr(searching, "WORK_SECONDS", 0.0)
    page = await bus.searcher.page(AUDITOR, Selection(event="log.closed"), start=0, stop=None, limit=10)
    assert (page.entries, page.next) == ([], searching.AT_ONCE)


async def test_others_go_on_while_a_search_looks_through_the_log(bus):
    gaps = []

    async def beat():
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0)
            gaps.append(time.perf_counter() - before)

    await bus.searcher.cataloguer.follow(60)
    async with asyncio.TaskGroup() as group:
        beating = group.create_task(beat())
        found = [entry async for page in pages(bus, Selection(type=VERIFY)) for entry in page.entries]
        beating.cancel()
    assert len(found) == ENTRIES // EVERY
    assert sorted(gaps)[-len(gaps) // 1_000] < 0.05
