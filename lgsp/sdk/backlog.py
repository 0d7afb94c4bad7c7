"""Which envelopes of the outbox are on their way: at most as many unanswered as the gateway takes, in order, again after each reconnect.

Few are held in memory; behind them the outbox itself is the queue. What the answers mean is `sender`'s.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from lgsp.sdk.box import Outgoing

IN_MEMORY: Final = 2_048
"""Envelopes of the outbox that are held in memory."""
LOADED_AT_ONCE: Final = 512

Load = Callable[[int, int], Sequence[Outgoing]]
"""Return so many envelopes of the outbox after a position."""
Transmit = Callable[[Outgoing], None]


class Backlog:
    """The unreceipted part of the outbox."""

    def __init__(self, *, load: Load, transmit: Transmit) -> None:
        self._load = load
        self._transmit = transmit
        self._ready: deque[Outgoing] = deque()
        self._unanswered: dict[int, Outgoing] = {}
        self._paused: dict[int, asyncio.TimerHandle] = {}
        self._fresh: set[int] = set()
        self._room = 0
        self._last = 0
        self._behind = True
        """Whether the outbox may hold more than memory does."""

    @property
    def empty(self) -> bool:
        """Whether everything in the outbox has been answered."""
        return not (self._behind or self._ready or self._unanswered or self._paused)

    def added(self, queued: Sequence[Outgoing]) -> None:
        """Take note of envelopes that have just become durable."""
        new = [outgoing for outgoing in queued if outgoing.seq > self._last]
        if self._behind or len(self._ready) + len(new) > IN_MEMORY:
            self._behind = self._behind or bool(new)
        elif new:
            self._ready.extend(new)
            self._last = new[-1].seq
        self._fresh.update(outgoing.seq for outgoing in new)
        self._pump()

    def opened(self, max_inflight: int) -> None:
        """Send over a new stream, from the first unanswered on."""
        self._room = max_inflight
        self._pump()

    def rewound(self) -> None:
        """Begin anew at the start of the outbox: envelopes that had been answered wait again. Nothing is on its way at this moment."""
        self.stop()
        self._paused.clear()
        self._ready.clear()
        self._fresh.clear()
        self._last, self._behind = 0, True

    def closed(self) -> None:
        """Take back what no answer came for; it goes first on the next stream."""
        self._room = 0
        self._fresh.difference_update(self._unanswered)
        self._ready.extendleft(self._unanswered[seq] for seq in sorted(self._unanswered, reverse=True))
        self._unanswered.clear()

    def answered(self, seq: int) -> tuple[Outgoing, bool] | None:
        """Return the envelope that an answer is for, and whether it had been sent but once; None for an answer to nothing."""
        outgoing = self._unanswered.pop(seq, None)
        if outgoing is None:
            return None
        fresh = seq in self._fresh
        self._fresh.discard(seq)
        self._pump()
        return outgoing, fresh

    def again(self, outgoing: Outgoing, after: float) -> None:
        """Send an envelope again in `after` seconds."""
        self._paused[outgoing.seq] = asyncio.get_running_loop().call_later(after, self._resume, outgoing)

    def stop(self) -> None:
        """Send nothing more."""
        self._room = 0
        for handle in self._paused.values():
            handle.cancel()

    def was_sent(self, seq: int) -> bool:
        """Tell whether an envelope is on the wire and unanswered."""
        return seq in self._unanswered

    def _resume(self, outgoing: Outgoing) -> None:
        del self._paused[outgoing.seq]
        self._ready.appendleft(outgoing)
        self._pump()

    def _pump(self) -> None:
        # One that waits to be tried again is held in memory: with many of them the rest stays in the outbox.
        while len(self._unanswered) < self._room and len(self._paused) < IN_MEMORY and (self._ready or self._reload()):
            outgoing = self._ready.popleft()
            self._unanswered[outgoing.seq] = outgoing
            self._transmit(outgoing)

    def _reload(self) -> bool:
        """Bring the next envelopes of the outbox into memory and tell whether there are any."""
        if not self._behind:
            return False
        found = self._load(self._last, LOADED_AT_ONCE)
        self._behind = len(found) == LOADED_AT_ONCE
        self._ready.extend(found)
        if found:
            self._last = found[-1].seq
        return bool(found)
