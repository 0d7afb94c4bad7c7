"""Many small things of one turn of the event loop, or of a moment, handed on together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Gathering(Generic[T]):
    """Collects items until the loop's next turn, or for `seconds`, so that a burst of frames makes one write and one answer."""

    def __init__(self, hand_on: Callable[[list[T]], None], *, seconds: float = 0.0) -> None:
        self._hand_on = hand_on
        self._seconds = seconds
        self._items: list[T] = []
        self._timer: asyncio.Handle | None = None
        self._due = 0.0

    def add(self, item: T, *, seconds: float | None = None) -> None:
        """Hand the item on when its time is over, or that of any other that waits, with all that come before then and in their order."""
        self._items.append(item)
        if self._timer is None or self._due:  # else it cannot be sooner than the next turn
            self._hand_on_within(self._seconds if seconds is None else seconds)

    def flush(self) -> None:
        """Hand on at once what has come."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        items, self._items = self._items, []
        if items:
            self._hand_on(items)

    def _hand_on_within(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds if seconds else 0.0
        if self._timer is None or due < self._due:
            if self._timer is not None:
                self._timer.cancel()
            self._due = due
            self._timer = loop.call_later(seconds, self.flush) if seconds else loop.call_soon(self.flush)
