"""The hearing: what this gateway does about news of the others. It looks at the rows, and wakes who waits here."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from lgsp.bus.courier import Courier
from lgsp.bus.progress import Progress
from lgsp.bus.registry import Registry
from lgsp.bus.replies import Replies
from lgsp.domain.exchange import OUTCOMES
from lgsp.errors import Refusal
from lgsp.logs import get_logger
from lgsp.ports.inboxes import Inboxes
from lgsp.ports.neighbours import Moved, Neighbours, News, gathered

LOOK_EVERY: Final = 15.0
"""Seconds after which everything is looked at though nothing was heard, while there are others: news may be lost."""
AWAY_PAUSE: Final = 1.0
NEWS_MAX: Final = 10_000
"""News that is gathered while the look at what came before takes long; instead of more everything is looked at."""
OUTCOMES_AT_ONCE: Final = 256
"""Outcomes of one system that are told after a gap; those that are left come with the next look."""


@dataclass(slots=True, kw_only=True)
class Hearing:
    """Takes in what others tell; what comes meanwhile is gathered."""

    neighbours: Neighbours
    registry: Registry
    replies: Replies
    courier: Courier
    progress: Progress
    inboxes: Inboxes
    _news: list[News] = field(default_factory=list)
    _bell: asyncio.Event = field(default_factory=asyncio.Event)
    _looked_at: float = float("-inf")
    """When everything was looked at, on the loop's clock; the same while there is nobody else."""

    def hear(self, news: News) -> None:
        """Take news that is to be looked at soon; for which replies calls wait is known at once, for one may come before the look."""
        if news.awaited:
            self.replies.elsewhere.add(news.awaited)
        self._news.append(news)
        if len(self._news) > NEWS_MAX:
            self._news = [News(missed=True)]
        self._bell.set()

    async def run(self) -> None:
        """Look at what was heard until cancelled; while an engine is away, again."""
        self.neighbours.listen(self.hear)
        # What was told before somebody listened here is not known.
        self.hear(News(missed=not self.neighbours.alone))
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._bell.wait()
            self._bell.clear()
            news = self._gather(asyncio.get_running_loop().time())
            try:
                await self.take_in(news)
            except Refusal:
                get_logger().warning("task.failed", task="hearing")
                self.hear(news)
                await asyncio.sleep(AWAY_PAUSE)

    def _gather(self, now: float) -> News:
        """Return what was heard as one, as `missed` when it is time: those who tell something all the time may have lost some, too."""
        news, self._news = gathered(self._news), []
        if now - self._looked_at >= LOOK_EVERY:
            news = replace(news, missed=news.missed or not self.neighbours.alone)
            self._looked_at = now
        return news

    async def take_in(self, news: News) -> None:
        """Look at what the news is about, at everything where some was missed."""
        if news.missed or news.directory > self.registry.current.version:
            await self.registry.reload()
        if news.missed or news.erased:
            await self.courier.body_keys.load()
        # A call that waits leases its row before anybody else is woken.
        await self.replies.look(None if news.missed else news.answered)
        self.courier.stir(None if news.missed else news.queued)
        if news.missed:
            await self._look_at_everything()
        else:
            await self._look_at(news.moved)

    async def _look_at(self, moved: Collection[Moved]) -> None:
        wanted: defaultdict[str, list[str]] = defaultdict(list)
        for source, to, env in moved:
            if self.progress.listens(source) or self.courier.in_hand(to, env) is not None:
                wanted[to].append(env)
        for to, envs in wanted.items():
            for row in (await self.inboxes.held(to, envs)).values():
                self.courier.moved(row)
                if row.state in OUTCOMES:
                    self.progress.tell(row)

    async def _look_at_everything(self) -> None:
        await self.courier.look_at_flights()
        for system in self.progress.listening():
            for row in await self.progress.outcomes(system, limit=OUTCOMES_AT_ONCE):
                self.progress.tell(row)
