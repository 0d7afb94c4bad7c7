"""Group commit: what gathers while one group is worked on is the next group. No timer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Groups(Generic[T]):
    """Hands what was added to `work`, at most `most` at a time, one group after the other."""

    def __init__(self, work: Callable[[list[T]], Awaitable[None]], *, most: int) -> None:
        self._work = work
        self._most = most
        self._waiting: deque[T] = deque()
        self._bell = asyncio.Event()
        self.groups = 0
        self.items = 0

    def add(self, items: Iterable[T]) -> None:
        self._waiting.extend(items)
        self._bell.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            while not self._waiting:
                self._bell.clear()
                await self._bell.wait()
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._most))]
            self.groups += 1
            self.items += len(group)
            await self._work(group)
