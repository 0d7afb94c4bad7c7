"""The three lanes of an inbox and whose turn it is: drained by weight, so that ten thousand bulk messages never delay one lookup."""

from __future__ import annotations

from collections import Counter
from typing import Final

from lgsp.domain.records import Lane

LANES: Final[tuple[Lane, ...]] = ("request", "event", "bulk")
TURNS: Final[tuple[Lane, ...]] = (
    "request", "request", "event", "request", "request", "event", "request", "request", "event", "request", "request", "bulk",
)  # fmt: skip
"""Whose turn it is, one after the other: 8 for requests, 3 for events, 1 for bulk, spread evenly."""


class Turns:
    """The turns of one inbox, which go on from one draw to the next."""

    def __init__(self) -> None:
        self._next = 0

    def shares(self, count: int, *, bulk: int | None = None) -> Counter[Lane]:
        """Return how many of the next `count` turns are whose, and go on by as many; of bulk not more than `bulk`."""
        start, turns = self._next, max(count, 0)
        self._next = (start + turns) % len(TURNS)
        shares = Counter[Lane](TURNS[(start + turn) % len(TURNS)] for turn in range(turns))
        if bulk is not None:
            shares["bulk"] = min(shares["bulk"], bulk)
        return shares
