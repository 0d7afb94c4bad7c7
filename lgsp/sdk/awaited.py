"""Answers that parts of the program wait for, by the id of an envelope, and whether the storing of one may be put off.

An answer that nobody waits for is stored along with something else. Who asks for it meanwhile is not to wait for that: then it hurries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Generic, TypeVar

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
        """Return what the answer to an envelope is handed to; who waits no longer cancels it."""
        if identifier in self._put_off:
            self._hurry()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waits.setdefault(identifier, []).append(future)
        future.add_done_callback(lambda ended: self._leave(identifier, ended))
        return future

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

    def _leave(self, identifier: str, ended: asyncio.Future[T]) -> None:
        """Take out whoever waits no longer, told or not."""
        waiting = self._waits.get(identifier, [])
        if ended in waiting:
            waiting.remove(ended)
            if not waiting:
                del self._waits[identifier]
