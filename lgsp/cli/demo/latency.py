"""Latencies in the figures that people compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long `count` calls took, in milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float


def measure(milliseconds: Sequence[float]) -> Latency:
    """Return the median and the 95th and 99th percentile (nearest rank); zeros for no calls."""
    ordered = sorted(milliseconds)
    return Latency(count=len(ordered), p50=_rank(ordered, 50), p95=_rank(ordered, 95), p99=_rank(ordered, 99))


def _rank(ordered: Sequence[float], percent: int) -> float:
    if not ordered:
        return 0.0
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
