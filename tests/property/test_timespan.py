"""A span of time is found by bisection without losing an entry, as long as clocks are wrong by no more than the margin."""

import asyncio
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from lgsp.backends.memory import MemoryLedger
from lgsp.bus.timespan import MARGIN, bounds
from lgsp.domain.entries import draft
from lgsp.domain.envelope import format_time
from lgsp.domain.selection import Selection
from lgsp.ports.ledger import Note
from lgsp.testing.samples import NOW, sign_receipts
from lgsp.testing.world import GATEWAY

HOURS = st.integers(0, 200)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 20), st.integers(0, int(MARGIN.total_seconds() // 3600))), max_size=60),
    since=HOURS,
    until=HOURS,
)
def test_no_entry_of_the_span_lies_outside_of_the_bounds(steps, since, until):
    asyncio.run(check(steps, since, until))


async def check(steps, since, until):
    """Write entries by a clock that goes on by hours and is at times behind by some, and look for a span."""
    ledger, truth, moments = MemoryLedger(), NOW, []
    for on, behind in steps:
        truth += timedelta(hours=on)
        moments.append(truth - timedelta(hours=behind))
    notes = [Note(entry=draft("edge.refused", at=moment, bus=GATEWAY, n=1)) for moment in moments]
    await ledger.commit(notes, sign_receipts)
    first, last = (format_time(NOW + timedelta(hours=hours)) for hours in (since, until))
    selection = Selection(since=first, until=last)
    low, high = await bounds(ledger, selection, 0, len(moments))
    entries = await ledger.entries(0, len(moments))
    wanted = [number for number, entry in enumerate(entries) if selection.takes_entry(entry)]
    assert all(low <= number < high for number in wanted)
    assert 0 <= low <= len(moments)


async def test_a_long_log_is_entered_by_a_few_reads():
    ledger = MemoryLedger()
    moments = [NOW + timedelta(hours=hours) for hours in range(1_000)]
    await ledger.commit([Note(entry=draft("edge.refused", at=at, bus=GATEWAY, n=1)) for at in moments], sign_receipts)
    selection = Selection(since=format_time(moments[500]), until=format_time(moments[510]))
    hours = int(MARGIN.total_seconds() // 3600)
    assert await bounds(ledger, selection, 0, 1_000) == (500 - hours, 510 + hours)
    assert await bounds(ledger, Selection(), 3, 1_000) == (3, 1_000)
