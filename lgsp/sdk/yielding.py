"""How many requests bulk work keeps open, so that it takes what capacity is left over and yields to people's look-ups.

The rule is that of LEDBAT (RFC 6817), the transport for downloads that nobody is to notice: the time that answers take beyond the shortest seen
lately is queueing, and the window is steered so that this stays near a small target.
"""

from __future__ import annotations

from collections import deque
from typing import Final

PERIODS: Final = 6
PERIOD: Final = 10.0
"""The shortest time is that of so many periods of so many seconds: a path that has become slower is taken as it is after a minute."""
COMPARED: Final = 8
"""The shortest of so many last answers is taken for the time now: single ones are late for reasons of their own (RFC 6817, section 3.4.2)."""
SMALLEST: Final = 2.0
"""Below it nothing would be learned of the path."""


class YieldingWindow:
    """A window between 2 and `largest` open requests; `target` is the queueing, in seconds, that it may cause."""

    def __init__(self, *, largest: int, target: float) -> None:
        self._largest = float(max(largest, SMALLEST))
        self._target = target
        self._size = SMALLEST
        self._shortest: deque[tuple[float, float]] = deque(maxlen=PERIODS)
        """(Start of the period, shortest answer in it)."""
        self._last: deque[float] = deque(maxlen=COMPARED)

    @property
    def size(self) -> int:
        """How many requests may be open now."""
        return int(self._size)

    def answered(self, seconds: float, *, now: float) -> None:
        """Learn from an answer that took so many seconds and came at `now`, in seconds that never go back."""
        self._note(seconds, now)
        queueing = min(self._last) - min(shortest for _, shortest in self._shortest)
        change = max((self._target - queueing) / self._target, -1.0) / self._size
        self._size = min(max(self._size + change, SMALLEST), self._largest)

    def failed(self) -> None:
        """Learn that an answer did not come in time: half of what is open was too much (RFC 6817, section 2.4.1)."""
        self._size = max(self._size / 2, SMALLEST)

    def _note(self, seconds: float, now: float) -> None:
        self._last.append(seconds)
        if not self._shortest or now - self._shortest[-1][0] >= PERIOD:
            self._shortest.append((now, seconds))
        elif seconds < self._shortest[-1][1]:
            self._shortest[-1] = self._shortest[-1][0], seconds
