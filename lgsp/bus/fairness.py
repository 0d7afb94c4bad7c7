"""Fairness between senders: whoever sends little waits for little, however much others send.

Places are given round robin over those who wait, so that a flood stands in its own queue; a rate bounds what one sender may ask for in the long
run.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from lgsp.errors import Refusal

ANSWERED_LATELY: Final = 1.0
"""Seconds after a reply during which its sender is no crowd."""
SENDERS_KEPT: Final = 10_000
"""Senders whose rate is remembered; those who have rested are forgotten first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """Who waits for so many places at once."""

    count: int
    place: asyncio.Future[None]


@dataclass(slots=True, kw_only=True)
class Turns:
    """A number of places for which senders queue, each in a queue of its own; for one event loop. `most` is how many one sender may hold."""

    places: int
    most: int
    _held: Counter[str] = field(default_factory=Counter)
    _queues: OrderedDict[str, deque[_Waiting]] = field(default_factory=OrderedDict)
    _queued: Counter[str] = field(default_factory=Counter)
    """Places for which each sender waits."""

    def __post_init__(self) -> None:
        if self.most > self.places:
            raise ValueError("a sender may hold no more places than there are")

    def is_crowd(self, sender: str) -> bool:
        """Tell whether a sender waits for as many places as it may have."""
        return self._queued[sender] >= self.most

    @asynccontextmanager
    async def turn(self, sender: str, count: int = 1) -> AsyncIterator[Callable[[], None]]:
        """Hold `count` places, though no more than a sender may have, while the block runs, or until it calls what it is given.

        Of those who wait, one of each sender goes before a second of any.
        """
        count = min(count, self.most)
        await self._enter(sender, count)
        is_held = True

        def leave() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                self._leave(sender, count)

        try:
            yield leave
        finally:
            leave()

    async def _enter(self, sender: str, count: int) -> None:
        if not self._queues and self._fits(sender, count):
            self._hold(sender, count)
            return
        waiting = _Waiting(count=count, place=asyncio.get_running_loop().create_future())
        self._queues.setdefault(sender, deque()).append(waiting)
        self._queued[sender] += count
        self._let_in()
        try:
            await waiting.place
        except asyncio.CancelledError:
            if waiting.place.done() and not waiting.place.cancelled():
                self._leave(sender, count)  # it was given its places in the same moment
            else:
                self._let_in()  # it may have stood in the way of others
            raise

    def _fits(self, sender: str, count: int) -> bool:
        return self.places >= count and self._held[sender] + count <= self.most

    def _hold(self, sender: str, count: int) -> None:
        self.places -= count
        self._held[sender] += count

    def _leave(self, sender: str, count: int) -> None:
        self.places += count
        self._held[sender] -= count
        if not self._held[sender]:
            del self._held[sender]
        self._let_in()

    def _let_in(self) -> None:
        """Give places to those who wait, one of each sender after the other, as long as there are any."""
        while self._let_in_one_of_each():
            pass

    def _let_in_one_of_each(self) -> bool:
        """Tell whether anybody got its places. Who wants more than there are keeps those behind it waiting: else it waits for ever."""
        came = False
        for sender in list(self._queues):
            waiting = self._first(sender)
            if waiting is None or self._held[sender] + waiting.count > self.most:
                continue
            if waiting.count > self.places:
                return False
            self._take_off(sender)
            self._hold(sender, waiting.count)
            waiting.place.set_result(None)
            came = True
        return came

    def _first(self, sender: str) -> _Waiting | None:
        """Return who waits first of a sender; those who wait no more are forgotten."""
        while (queue := self._queues.get(sender)) and queue[0].place.done():
            self._take_off(sender)
        return queue[0] if queue else None

    def _take_off(self, sender: str) -> None:
        """Take the first of a sender off its queue; the next in it is last in turn."""
        queue = self._queues.pop(sender)
        self._queued[sender] -= queue.popleft().count
        if queue:
            self._queues[sender] = queue
        else:
            del self._queued[sender]


@dataclass(slots=True)
class Answering:
    """Senders who have answered lately: of what they have to say much of at once, some is what a person waits for."""

    _answered: OrderedDict[str, float] = field(default_factory=OrderedDict)
    """When each sender's last reply was accepted, on the loop's clock, the oldest first."""

    def note(self, sender: str) -> None:
        """Note that a reply of this sender is accepted."""
        self._answered[sender] = asyncio.get_running_loop().time()
        self._answered.move_to_end(sender)

    def has_answered(self, sender: str) -> bool:
        """Tell whether a sender has answered lately; who has not is forgotten."""
        now = asyncio.get_running_loop().time()
        while self._answered and next(iter(self._answered.values())) < now - ANSWERED_LATELY:
            self._answered.popitem(last=False)
        return sender in self._answered


@dataclass(slots=True, kw_only=True)
class Rates:
    """A token bucket per sender: `burst` at once, `rate` per second in the long run. `now` gives seconds that never go back."""

    rate: float
    burst: int
    now: Callable[[], float]
    _empty_until: OrderedDict[str, float] = field(default_factory=OrderedDict)
    """When each sender's bucket is full again, had it nothing more to send."""

    def delay(self, sender: str, count: int = 1) -> float:
        """Take tokens that may not be there yet, and return in how many seconds the last of them is."""
        now = self.now()
        full = max(self._empty_until.pop(sender, now), now) + count / self.rate
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

    def refusal(self, sender: str) -> Refusal | None:
        """Take a token for a call, or return what the call of a sender is refused with (`rate_limited`) who makes too many."""
        wait = self.take(sender)
        return Refusal("rate_limited", retry_after=math.ceil(wait)) if wait else None

    def _keep(self, sender: str, full: float, now: float) -> None:
        self._empty_until[sender] = full
        while self._empty_until and (
            len(self._empty_until) > SENDERS_KEPT or next(iter(self._empty_until.values())) <= now
        ):
            self._empty_until.popitem(last=False)
