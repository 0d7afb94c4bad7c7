"""What a stream is told about envelopes it sent: each outcome as it happens, what was missed on opening, until it is seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from lgsp.bus.progress import Progress
from lgsp.domain.exchange import Delivery, State
from lgsp.errors import Refusal

TRY_AGAIN: Final = 5.0
"""Seconds until a page is asked for again when the ledger was away."""


class Telling:
    """The outcomes one stream was told and has not seen; the rest is paged in as it sees them."""

    def __init__(self, progress: Progress, system: str, tell: Callable[[Delivery], None], *, page: int) -> None:
        self._progress = progress
        self._system = system
        self._tell = tell
        self._page = page
        self._told: dict[tuple[str, str], State] = {}
        self._missed = True
        """Whether the ledger may hold outcomes that this stream was not told."""
        self._room = asyncio.Event()
        self._room.set()

    def happened(self, delivery: Delivery) -> None:
        """Tell an outcome at once, or leave it for a later page when too much is unseen."""
        if len(self._told) >= 2 * self._page:
            self._missed = True
        else:
            self._tell_once(delivery)

    async def see(self, env: str, to: str) -> None:
        """Note that an outcome was seen; refuse as `not_found` what the system never sent."""
        await self._progress.seen(self._system, env=env, to=to)
        self._told.pop((env, to), None)
        if self._missed and len(self._told) < self._page:
            self._room.set()

    async def run(self) -> None:
        """Page in what was missed, as room comes, until cancelled."""
        while True:
            await self._room.wait()
            self._room.clear()
            try:
                await self._page_in()
            except Refusal:
                await asyncio.sleep(TRY_AGAIN)
                self._room.set()

    async def _page_in(self) -> None:
        """Ask for one page beyond what was told already, for that comes first again."""
        limit = len(self._told) + self._page
        self._missed = False
        found = await self._progress.outcomes(self._system, limit=limit)
        self._missed = self._missed or len(found) == limit
        for delivery in found:
            self._tell_once(delivery)

    def _tell_once(self, delivery: Delivery) -> None:
        key = (delivery.env, delivery.to)
        if self._told.get(key) != delivery.state:
            self._told[key] = delivery.state
            self._tell(delivery)
