"""How often a grant was used today, as one gateway counts it beside others."""

from datetime import datetime, timedelta

import pytest

from lgsp.bus.quotas import LATEST, Quotas
from lgsp.domain.directory import ZONE
from lgsp.testing.clock import ManualClock

NOON = datetime(2026, 3, 2, 12, tzinfo=ZONE)
GRANT = "ask"
KEY = ("urn:lgsp:agency:H01.99:sys:asker", "0199a1f2-7b1c-7000-8000-000000000001")


class Uses:
    """A ledger that holds when the grant was used; `reading` is called at each reading."""

    def __init__(self, *moments):
        self.moments = list(moments)
        self.reading = lambda: None

    async def used_since(self, moment, until=None):
        found = sum(moment <= each and (until is None or each < until) for each in self.moments)
        self.reading()
        return {GRANT: found} if found else {}


@pytest.fixture
def clock():
    return ManualClock(NOON)


async def test_what_others_accepted_is_counted_once_however_often_it_is_read(clock):
    uses = Uses(NOON - timedelta(hours=1), NOON - LATEST, NOON)
    quotas = Quotas(ledger=uses, clock=clock)
    for _ in range(3):
        await quotas.refresh()
        assert quotas.used(GRANT) == 3
        clock.advance(40)


async def test_a_use_that_is_committed_while_it_is_read_is_not_missed(clock):
    uses = Uses(NOON)
    quotas = Quotas(ledger=uses, clock=clock)
    quotas.hold(GRANT, KEY)
    readings = iter([lambda: None, lambda: quotas.settle(GRANT, KEY, used=True)])
    uses.reading = lambda: next(readings)()  # noqa: PLW0108 - another one at each reading
    await quotas.refresh()
    assert quotas.used(GRANT) == 2


async def test_what_is_read_over_midnight_counts_for_neither_day(clock):
    clock.advance((12 * 3600) - 1)
    uses = Uses(clock.now())
    quotas = Quotas(ledger=uses, clock=clock)
    await quotas.refresh()
    assert quotas.used(GRANT) == 1
    clock.advance(0.5)

    def pass_midnight():
        clock.advance(1)
        quotas.used(GRANT)

    uses.reading = pass_midnight
    await quotas.refresh()
    uses.reading = lambda: None
    for _ in range(3):
        await quotas.refresh()
        assert quotas.used(GRANT) == 0
        clock.advance(LATEST.total_seconds())


async def test_an_envelope_that_is_being_committed_twice_at_once_is_one_use_and_none_in_its_own_way(clock):
    quotas = Quotas(ledger=Uses(), clock=clock)
    for _ in range(2):
        quotas.hold(GRANT, KEY)
        assert (quotas.used(GRANT), quotas.used(GRANT, but=KEY)) == (1, 0)
    quotas.settle(GRANT, KEY, used=True)
    quotas.settle(GRANT, KEY, used=False)
    assert (quotas.used(GRANT), quotas.used(GRANT, but=KEY)) == (1, 1)
