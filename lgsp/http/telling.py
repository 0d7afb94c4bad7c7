"""What a stream is told about envelopes it sent: each outcome as it happens, what was missed on opening, until it is seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from lgsp.bus.progress import Progress, Sighting
from lgsp.domain.exchange import Delivery, State
from lgsp.errors import Refusal

TRY_AGAIN: Final = 5.0
"""Seconds until a page is asked for again when the ledger was away."""


class Telling:
    """The outcomes one stream was told and has not seen; the rest is paged in as it sees them."""

    def __init__(
        self, progress: Progress, system: str, tell: Callable[[Delivery], None], *, page: int, look_again: float
    ) -> None:
        self._progress = progress
        self._system = system
        self._tell = tell
        self._page = page
        self._look_again = look_again
        self._told: dict[tuple[str, str], State] = {}
        self._missed = True
        """Whether the ledger may hold outcomes that this stream was not told."""
        self._room = asyncio.Event()
        self._room.set()

    def happened(self, delivery: Delivery) -> None:
        """Tell an outcome at once, or leave it for a later page when too much is unseen."""
        if len(self._told) >= 2 * self._page and _place(delivery) not in self._told:
            self._missed = True
        else:
            self._tell_once(delivery)

    async def see(self, sightings: Sequence[Sighting]) -> list[Refusal | None]:
        """Note that outcomes were seen, and return what is refused of them. One that has changed since is still to be seen."""
        refusals = await self._progress.seen_all(self._system, sightings)
        for sighting, refusal in zip(sightings, refusals, strict=True):
            place = sighting.env, sighting.to
            if refusal is None and sighting.state in {"", self._told.get(place)}:
                self._told.pop(place, None)
        if self._missed and len(self._told) < self._page:
            self._room.set()
        return refusals

    async def run(self) -> None:
        """Page in what was missed, as room comes, until cancelled."""
        while True:
            await self._turn()
            self._room.clear()
            try:
                await self._page_in()
            except Refusal:
                await asyncio.sleep(TRY_AGAIN)
                self._room.set()

    async def _turn(self) -> None:
        """Wait for room; while there is none, look now and then whether the system has seen over another way what this stream told."""
        while not self._room.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look_again):
                    await self._room.wait()
            if self._missed:
                return

    async def _page_in(self) -> None:
        """Ask for one page beyond what was told already, for that comes first again; forget what was seen meanwhile."""
        limit = len(self._told) + self._page
        self._missed = False
        found = await self._progress.outcomes(self._system, limit=limit)
        self._missed = self._missed or len(found) == limit
        unseen = {_place(delivery) for delivery in found}
        self._told = {place: state for place, state in self._told.items() if place in unseen}
        for delivery in found:
            self.happened(delivery)

    def _tell_once(self, delivery: Delivery) -> None:
        key = _place(delivery)
        if self._told.get(key) != delivery.state:
            self._told[key] = delivery.state
            self._tell(delivery)


def _place(delivery: Delivery) -> tuple[str, str]:
    return delivery.env, delivery.to
