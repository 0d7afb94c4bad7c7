"""Fairness between senders: whoever sends little waits for little, however much others send.

Places are given round robin over those who wait, so that a flood stands in its own queue; a rate bounds what one sender may ask for in the long
run.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

SENDERS_KEPT: Final = 10_000
"""Senders whose rate is remembered; those who have rested are forgotten first."""


@dataclass(slots=True, kw_only=True)
class Turns:
    """A number of places for which senders queue, each in a queue of its own; for one event loop. `most` is how many one sender may hold."""

    places: int
    most: int
    _held: Counter[str] = field(default_factory=Counter)
    _queues: OrderedDict[str, deque[asyncio.Future[None]]] = field(default_factory=OrderedDict)

    def is_crowd(self, sender: str) -> bool:
        """Tell whether as many of a sender wait as it may have places."""
        return len(self._queues.get(sender, ())) >= self.most

    @asynccontextmanager
    async def turn(self, sender: str) -> AsyncIterator[Callable[[], None]]:
        """Hold a place while the block runs, or until it calls what it is given.

        Of those who wait, one of each sender goes before a second of any.
        """
        await self._enter(sender)
        is_held = True

        def leave() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                self._leave(sender)

        try:
            yield leave
        finally:
            leave()

    async def _enter(self, sender: str) -> None:
        if self.places > 0 and self._held[sender] < self.most:
            self.places -= 1
            self._held[sender] += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(sender, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._leave(sender)  # it was given the place in the same moment
            raise

    def _leave(self, sender: str) -> None:
        """Free a place, and give it to the next sender in turn who may hold one more."""
        self.places += 1
        self._held[sender] -= 1
        if not self._held[sender]:
            del self._held[sender]
        for waiting in list(self._queues):
            if self._held[waiting] < self.most and self._let_in(waiting):
                return

    def _let_in(self, sender: str) -> bool:
        """Give a place to the first of a sender who still waits, and tell whether there was one."""
        queue = self._queues.pop(sender)
        while queue:
            place = queue.popleft()
            if not place.done():
                if queue:
                    self._queues[sender] = queue  # last in turn now
                self.places -= 1
                self._held[sender] += 1
                place.set_result(None)
                return True
        return False


@dataclass(slots=True, kw_only=True)
class Rates:
    """A token bucket per sender: `burst` at once, `rate` per second in the long run. `now` gives seconds that never go back."""

    rate: float
    burst: int
    now: Callable[[], float]
    _empty_until: OrderedDict[str, float] = field(default_factory=OrderedDict)
    """When each sender's bucket is full again, had it nothing more to send."""

    def delay(self, sender: str) -> float:
        """Take a token that may not be there yet, and return in how many seconds it is."""
        now = self.now()
        full = max(self._empty_until.pop(sender, now), now) + 1 / self.rate
        self._keep(sender, full, now)
        return max(full - now - self.burst / self.rate, 0.0)

    def take(self, sender: str) -> float:
        """Take a token and return 0, or take none and return in how many seconds to ask again."""
        now = self.now()
        full = max(self._empty_until.get(sender, now), now) + 1 / self.rate
        wait = full - now - self.burst / self.rate
        if wait > 0:
            return wait
        self._empty_until.pop(sender, None)
        self._keep(sender, full, now)
        return 0.0

    def _keep(self, sender: str, full: float, now: float) -> None:
        self._empty_until[sender] = full
        while self._empty_until and (
            len(self._empty_until) > SENDERS_KEPT or next(iter(self._empty_until.values())) <= now
        ):
            self._empty_until.popitem(last=False)
