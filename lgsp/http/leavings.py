"""What receivers left unsettled when they closed their streams in order, and how often.

An orderly end says nothing against the deliveries in flight, and so it is for a program that is stopped and started again. One that leaves the
same delivery time after time has failed on it, whatever its manners; what follows is the courier's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

PATIENCE: Final = 16
"""Orderly ends that leave one and the same delivery, from which on they count as the others do (docs/protocol.md)."""
REMEMBERED: Final = 4_096
"""Deliveries that are remembered here; those left last stay."""


class Leavings:
    """How often a delivery was left, by system and env hash."""

    def __init__(self) -> None:
        self._times: OrderedDict[tuple[str, str], int] = OrderedDict()

    def left(self, system: str, envs: Iterable[str]) -> bool:
        """Note an orderly end that left these deliveries and tell whether one of them was left too often."""
        return max((self._left_once((system, env)) for env in envs), default=0) >= PATIENCE

    def settled(self, system: str, env: str) -> None:
        """Forget a delivery that its receiver dealt with."""
        self._times.pop((system, env), None)

    def _left_once(self, place: tuple[str, str]) -> int:
        times = self._times[place] = self._times.pop(place, 0) + 1
        if len(self._times) > REMEMBERED:
            self._times.popitem(last=False)
        return times
