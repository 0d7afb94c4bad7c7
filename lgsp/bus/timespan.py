"""Between which entries of the log a span of time lies, found by bisection: a few reads however long the log is."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from lgsp.domain.envelope import format_time, parse_time
from lgsp.domain.selection import Selection, time_in
from lgsp.ports.ledger import Ledger

MARGIN: Final = timedelta(hours=12)
"""By how much a gateway's clock may have gone back, or differ from another's, without an entry being missed: more than a wrong zone."""


async def bounds(ledger: Ledger, selection: Selection, start: int, stop: int) -> tuple[int, int]:
    """Return start and stop of the entries among start..stop-1 of which some may lie in the time that is asked for; all others lie outside.

    Entries are in the order in which they were written, and their times nearly so: when one is `MARGIN` before a moment, no entry in front of it is
    after that moment.
    """
    low, high = start, stop
    if selection.since:
        low = await first_from(ledger, format_time(parse_time(selection.since) - MARGIN), start, stop)
    if selection.until:
        high = await first_from(ledger, format_time(parse_time(selection.until) + MARGIN), low, stop)
    return low, high


async def first_from(ledger: Ledger, moment: str, low: int, high: int) -> int:
    """Return a number of low..high in front of which stands an entry that is before the moment, and at which one that is not; else an end."""
    while low < high:
        middle = (low + high) // 2
        [entry] = await ledger.entries(middle, middle + 1)
        if time_in(entry) < moment:
            low = middle + 1
        else:
            high = middle
    return low
