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

    def add(self, item: T) -> None:
        """Hand the item on when the time is over, with all that come before then."""
        self._items.append(item)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._seconds, self.flush) if self._seconds else loop.call_soon(self.flush)

    def flush(self) -> None:
        """Hand on at once what has come."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        items, self._items = self._items, []
        if items:
            self._hand_on(items)
