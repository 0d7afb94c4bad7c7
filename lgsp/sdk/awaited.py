"""Answers that parts of the program wait for, by the id of an envelope, and whether the storing of one may be put off.

An answer that nobody waits for is stored along with something else. Who asks for it meanwhile is not to wait for that: then it hurries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")


class Awaited(Generic[T]):
    """One kind of answer; `hurry` has those stored that were put off."""

    def __init__(self, hurry: Callable[[], None]) -> None:
        self._hurry = hurry
        self._waits: dict[str, list[asyncio.Future[T]]] = {}
        self._put_off: set[str] = set()

    @property
    def anybody(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waits)

    def wait(self, identifier: str) -> asyncio.Future[T]:
        """Return what the answer to an envelope is handed to; who is told or waits no longer says so by `leave`."""
        if identifier in self._put_off:
            self._hurry()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waits.setdefault(identifier, []).append(future)
        return future

    def leave(self, identifier: str, future: asyncio.Future[T]) -> None:
        """Take out whoever waits no longer, told or not."""
        waiting = self._waits.get(identifier)
        if waiting is not None and future in waiting:
            waiting.remove(future)
            if not waiting:
                del self._waits[identifier]

    def may_put_off(self, identifiers: Collection[str]) -> bool:
        """Tell whether nobody waits for any of these answers, and remember that they are put off if so."""
        if not self._waits.keys().isdisjoint(identifiers):
            return False
        self._put_off.update(identifiers)
        return True

    def stored(self, identifiers: Collection[str]) -> None:
        """Take note that answers are stored, or could not be."""
        self._put_off.difference_update(identifiers)

    def release(self, identifier: str, answer: T) -> bool:
        """Hand the answer to those who wait for it; False when nobody does."""
        waiting = [future for future in self._waits.pop(identifier, []) if not future.done()]
        for future in waiting:
            future.set_result(answer)
        return bool(waiting)


async def in_time(seconds: float | None, future: asyncio.Future[T]) -> T:
    """Return what a future is given for which nobody else waits; raise `TimeoutError` when it is nothing in so many seconds, None for ever.

    `asyncio.timeout` does so for any block of code, and takes twice the time.
    """
    if seconds is None:
        return await future
    timer = asyncio.get_running_loop().call_later(seconds, _over, future)
    try:
        found = await future
    finally:
        timer.cancel()
    if found is _LATE:
        raise TimeoutError
    return found


_LATE: Final = object()
"""What a future is given when its time is over. An exception in its place would hold the future that holds it."""


def _over(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(_LATE)
