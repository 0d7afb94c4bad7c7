"""The streams that are open at this gateway: how many of whom, and their common end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from lgsp.errors import Refusal
from lgsp.http.leavings import Leavings
from lgsp.http.metrics import Metrics
from lgsp.http.settings import HttpLimits


class Endable(Protocol):
    """A stream that can be told to end."""

    def end(self, reason: str) -> None:
        """End for this reason; only the first one counts."""


class Streams:
    """Counts streams and ends them all."""

    def __init__(self, settings: HttpLimits, metrics: Metrics) -> None:
        self.leavings = Leavings()
        self._settings = settings
        self._metrics = metrics
        self._open: set[Endable] = set()
        self._of: Counter[str] = Counter()
        self._unknown = 0
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def unknown(self) -> Iterator[None]:
        """Hold a place for a stream that has not said hello; refuse as `draining` or `rate_limited`."""
        if self._draining:
            raise Refusal("draining")
        if self._unknown >= self._settings.streams_unknown:
            raise Refusal("rate_limited", "too many streams that have not said hello")
        self._unknown += 1
        try:
            yield
        finally:
            self._unknown -= 1

    @contextmanager
    def known(self, system: str, stream: Endable) -> Iterator[None]:
        """Hold a place for a stream of this system; refuse as `draining` or `rate_limited`."""
        if self._draining:
            raise Refusal("draining")
        if self._of[system] >= self._settings.streams_of_one:
            raise Refusal("rate_limited", "too many streams of one system")
        self._add(system, stream)
        try:
            yield
        finally:
            self._remove(system, stream)

    def _add(self, system: str, stream: Endable) -> None:
        self._open.add(stream)
        self._of[system] += 1
        self._empty.clear()
        self._metrics.move_streams(1)

    def _remove(self, system: str, stream: Endable) -> None:
        self._open.discard(stream)
        self._of[system] -= 1
        if not self._of[system]:
            del self._of[system]
        if not self._open:
            self._empty.set()
        self._metrics.move_streams(-1)

    async def drain(self) -> None:
        """Take no more streams in, end those that are open, and wait until they have ended."""
        self._draining = True
        for stream in list(self._open):
            stream.end("drain")
        await self._empty.wait()
