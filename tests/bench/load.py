"""The load: so many exchanges in flight as fast as they go, or so many a second whatever becomes of them.

An exchange is one call of a function; what it consists of is the measured program's. Processor time is read at both ends of the window, in the
process that sees the exchanges end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.bench.machine import Watched

Exchange = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class Window:
    """What happened between the end of the warm-up and the end of the run."""

    watched: Watched
    latencies: list[float] = field(default_factory=list)
    _count: int = 0
    _opened: float = 0.0
    _is_open: bool = False

    def ended(self, began: float) -> None:
        """Count an exchange that began at a moment and has ended now."""
        if self._is_open:
            self._count += 1
            self.latencies.append(time.monotonic() - began)

    async def stay_open(self, warm: float, seconds: float) -> dict[str, Any]:
        """Warm up, then count for so many seconds, and return what was seen."""
        await asyncio.sleep(warm)
        before = self.watched.cpu_seconds()
        self._opened, self._is_open = time.monotonic(), True
        await asyncio.sleep(seconds)
        self._is_open = False
        elapsed = time.monotonic() - self._opened
        after = self.watched.cpu_seconds()
        return {
            "exchanges": self._count,
            "seconds": elapsed,
            "cpu_seconds": {name: after[name] - before[name] for name in after},
            "rss_mb": self.watched.rss_mb(),
        }


async def saturate(
    exchange: Exchange, *, in_flight: int, warm: float, seconds: float, watched: Watched
) -> dict[str, Any]:
    """Keep so many exchanges going, each beginning when another ends; return count, time and processor time of the window."""
    window = Window(watched)
    over = asyncio.Event()

    async def work() -> None:
        while not over.is_set():
            began = time.monotonic()
            await exchange()
            window.ended(began)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(in_flight):
            tasks.create_task(work())
        seen = await window.stay_open(warm, seconds)
        over.set()
    return seen | percentiles(window.latencies)


async def pace(exchange: Exchange, *, rate: float, warm: float, seconds: float, watched: Watched) -> dict[str, Any]:
    """Begin so many exchanges a second; latencies count from the moment at which each was due, so that no delay hides another."""
    window = Window(watched)

    async def one(due: float) -> None:
        await exchange()
        window.ended(due)

    async with asyncio.TaskGroup() as tasks:
        seeing = tasks.create_task(window.stay_open(warm, seconds))
        start = time.monotonic()
        for number in range(int(rate * (warm + seconds))):
            due = start + number / rate
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            tasks.create_task(one(due))
    return await seeing | percentiles(window.latencies)


async def carry_out(order: dict[str, Any], exchange: Exchange, watched: Watched) -> dict[str, Any]:
    """Carry out an order `{"load": "saturate" or "pace", …}`."""
    common = {"warm": order["warm"], "seconds": order["seconds"], "watched": watched}
    if order["load"] == "saturate":
        return await saturate(exchange, in_flight=order["in_flight"], **common)
    return await pace(exchange, rate=order["rate"], **common)


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Return the median, the 95th and the 99th percentile in milliseconds, by nearest rank; nothing of nothing."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    ranks = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99}
    return {name: ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1e3 for name, share in ranks.items()}
