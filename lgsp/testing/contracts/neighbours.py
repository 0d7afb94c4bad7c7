"""What every backend promises of gateways that run beside each other: who lives, and that news reaches the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from lgsp.ports.neighbours import Neighbours, News, gathered

Join = Callable[..., AbstractAsyncContextManager[Neighbours]]
PATIENCE = 20.0

ALL_KINDS = News(
    queued=frozenset({"urn:lgsp:agency:H01.12:sys:vnfishbase", "urn:lgsp:agency:H01.21:sys:police"}),
    awaited=frozenset({("urn:lgsp:agency:H01.12:sys:vnfishbase", "0199a1f2-7b1c-7000-8000-000000000002")}),
    answered=frozenset({("urn:lgsp:agency:H01.12:sys:vnfishbase", "0199a1f2-7b1c-7000-8000-000000000001")}),
    moved=frozenset(
        (f"urn:lgsp:agency:H01.12:sys:s{number}", "urn:lgsp:agency:H01.21:sys:police", f"sha-256:{number:043}")
        for number in range(300)
    ),
    directory=7,
)
"""More than one text of any carrier would hold."""


async def until(found: Callable[[], Any]) -> None:
    """Wait, within a limit, until this is so."""
    async with asyncio.timeout(PATIENCE):
        while not found():  # noqa: ASYNC110 - what no event tells is polled within the limit
            await asyncio.sleep(0.01)


class Ear:
    """Keeps all that it hears, as one."""

    def __init__(self, neighbours: Neighbours) -> None:
        self.heard = News()
        neighbours.listen(self.hear)

    def hear(self, news: News) -> None:
        """Hear something."""
        self.heard = gathered([self.heard, news])

    def has(self, news: News) -> bool:
        """Tell whether all of this was heard."""
        return gathered([self.heard, news]) == self.heard


class NeighboursContract:
    """Promises of `lgsp.ports.neighbours`; the fixture `join` gives a gateway of a name a place for a block."""

    async def test_one_is_alone_and_lives(self, join: Join) -> None:
        async with join("a") as only:
            assert only.alone
            await until(lambda: only.living() == frozenset({only.holder}))

    async def test_each_that_runs_has_a_number_of_its_own(self, join: Join) -> None:
        async with join("a") as first, join("b") as second:
            pass
        async with join("a") as again:
            assert len({first.holder, second.holder, again.holder}) == 3
            assert all(len(each.holder) == 8 and int(each.holder, 16) >= 0 for each in (first, second, again))

    async def test_those_who_live_know_each_other(self, join: Join) -> None:
        async with join("a") as first, join("b") as second:
            both = frozenset({first.holder, second.holder})
            await until(lambda: first.living() == second.living() == both)
            assert not first.alone
            assert not second.alone

    async def test_who_has_left_is_dead_after_a_moment(self, join: Join) -> None:
        async with join("a") as first:
            async with join("b"):
                await until(lambda: not first.alone)
            await until(lambda: first.living() == frozenset({first.holder}))
            assert first.alone

    async def test_news_of_every_kind_reaches_the_others_whole(self, join: Join) -> None:
        async with join("a") as first, join("b") as second, join("c") as third:
            ears = [Ear(second), Ear(third)]
            await until(lambda: not first.alone)
            first.tell(ALL_KINDS)
            await until(lambda: all(ear.has(ALL_KINDS) for ear in ears))

    async def test_nobody_hears_what_it_told_itself(self, join: Join) -> None:
        async with join("a") as first, join("b") as second:
            own, other = Ear(first), Ear(second)
            await until(lambda: not first.alone)
            first.tell(News(queued=frozenset({"urn:lgsp:agency:H01.12:sys:own"})))
            await until(lambda: other.heard.queued)
            assert not own.heard.queued

    async def test_what_was_missed_is_said(self, join: Join) -> None:
        async with join("a") as first, join("b") as second:
            ear = Ear(second)
            await until(lambda: not first.alone)
            first.tell(News(missed=True))
            await until(lambda: ear.heard.missed)
