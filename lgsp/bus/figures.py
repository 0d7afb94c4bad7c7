"""What a gateway counts on the way of an exchange: how long each stage takes, how much goes into one transaction, what becomes of deliveries.

It is counted in plain lists, for this is the hot path.

What is counted is shown by the edge; nothing here names a system, a type or a person.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Final, Literal, get_args

from lgsp.domain.exchange import Delivery, State

Stage = Literal[
    "authenticate",
    "submit",
    "read",
    "look_up",
    "judge",
    "commit",
    "transaction",
    "sign",
    "publish",
    "lease",
    "hand_over",
    "settle",
    "reply",
    "exchange",
]
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
)  # fmt: skip
"""Upper bounds: a signature takes 30 µs, a commit some milliseconds, a call may wait for a minute."""
OPERATIONS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
FOLLOWED: Final = 10_000
"""Deliveries whose way is timed at once; beyond them the oldest are not timed, which are those of receivers that are away."""


class Distribution:
    """How often a figure was within which bounds, and their sum. One thread at a time observes."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, figure: float, times: int = 1) -> None:
        """Count one figure, so many times."""
        self.counts[bisect_left(self.bounds, figure)] += times
        self.total += figure * times


class Timer:
    """Times a block, however it ends, for each of those who go through it together."""

    __slots__ = ("_began", "_distribution", "_times")

    def __init__(self, distribution: Distribution, times: int) -> None:
        self._distribution = distribution
        self._times = times
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._distribution.observe(time.perf_counter() - self._began, self._times)


class Figures:
    """The figures of one gateway."""

    def __init__(self) -> None:
        self.stages: dict[Stage, Distribution] = {stage: Distribution(SECONDS) for stage in STAGES}
        self.operations = Distribution(OPERATIONS)
        """Operations in one transaction."""
        self.moves = Counter[State]()
        """Into which states deliveries came."""
        self._accepted: OrderedDict[tuple[str, str], float] = OrderedDict()

    def timed(self, stage: Stage, times: int = 1) -> Timer:
        """Return what times a block as this stage of so many."""
        return Timer(self.stages[stage], times)

    def accepted(self, deliveries: Iterable[Delivery]) -> None:
        """Follow deliveries that were just accepted."""
        now = time.perf_counter()
        for delivery in deliveries:
            self._accepted[delivery.env, delivery.to] = now
        while len(self._accepted) > FOLLOWED:
            self._accepted.popitem(last=False)

    def handed_over(self, delivery: Delivery) -> None:
        """Note that a delivery goes to its receiver; one that was not accepted here, or long ago, is not timed."""
        began = self._accepted.get((delivery.env, delivery.to))
        if began is not None and not delivery.attempts:
            self.stages["hand_over"].observe(time.perf_counter() - began)

    def settled(self, delivery: Delivery) -> None:
        """Note that a delivery has come to its end."""
        began = self._accepted.pop((delivery.env, delivery.to), None)
        if began is not None:
            self.stages["exchange"].observe(time.perf_counter() - began)
