"""What is the embedded transport's own: it lets go when the rows are away or the taker gives up."""

import asyncio

import pytest

from lgsp.backends.embedded import EmbeddedTransport
from lgsp.backends.memory import MemoryLedger
from lgsp.errors import Refusal
from lgsp.testing.samples import accept, sign_receipts
from lgsp.testing.world import NDXP


class Faltering(MemoryLedger):
    """Rows that go away after some questions, or never answer."""

    def __init__(self):
        super().__init__()
        self.answers_left = None
        self.stuck = None

    async def queued(self, inbox, lane, limit, skip=()):
        await self._answer()
        return await super().queued(inbox, lane, limit, skip)

    async def _answer(self):
        if self.answers_left == 0:
            if self.stuck is not None:
                await self.stuck.wait()
            raise Refusal("unavailable")
        if self.answers_left is not None:
            self.answers_left -= 1


@pytest.fixture
async def rows():
    ledger = Faltering()
    await ledger.commit([accept(1), accept(2, lane="bulk")], sign_receipts)
    return ledger


@pytest.fixture
def transport(rows):
    return EmbeddedTransport(rows)


def test_what_is_committed_as_queued_needs_no_publishing(transport):
    assert transport.embedded


async def test_a_take_that_fails_halfway_holds_nothing(rows, transport):
    rows.answers_left = 1
    with pytest.raises(Refusal):
        await transport.take(NDXP, 20)
    rows.answers_left = None
    assert len(await transport.take(NDXP, 20)) == 2


async def test_a_take_that_is_given_up_holds_nothing(rows, transport):
    rows.answers_left, rows.stuck = 1, asyncio.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await transport.take(NDXP, 20)
    rows.answers_left = None
    assert len(await transport.take(NDXP, 20)) == 2


async def test_what_is_put_back_is_told_while_the_rows_are_away(rows, transport):
    [first, _] = await transport.take(NDXP, 20)
    calls = []
    transport.watch(NDXP, lambda: calls.append("look again"))
    rows.answers_left = 0
    await transport.put_back(NDXP, [first.delivery.env])
    assert calls == ["look again"]
    rows.answers_left = None
    assert len(await transport.take(NDXP, 20)) == 1


async def test_a_held_parcel_that_is_woken_comes_after_it_is_put_back(rows, transport):
    [first, _] = await transport.take(NDXP, 20)
    transport.wake([first.delivery])
    assert await transport.take(NDXP, 20) == []
    await transport.put_back(NDXP, [first.delivery.env])
    assert await transport.take(NDXP, 20) == [first]
