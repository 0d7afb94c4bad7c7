"""`make bench`: the bus against the floor and against what one would glue together, in one run.

Parts of one shape run in turns (A B A B …), so that a machine that changes its speed changes it for all; what is compared is the median. The
latency of a one-way exchange ends when the sender has the verified ack on disk, that of a request when it has the reply.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lgsp import privatebroker, privatedatabase
from tests.bench import longlog, lookups, machine, report
from tests.bench.parts import TYPE_OF, Counts, Part, Running, Servers, agreed, all_parts
from tests.bench.program import ROOT

SMALL: Final = 1_000
QUICK_ENTRIES: Final = 3_000
SIZES: Final = (SMALL, 10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for on the command line."""

    only: frozenset[str]
    rounds: int
    warm: float
    seconds: float
    in_flight: int
    senders: int
    entries: int
    is_quick: bool
    out: Path

    def wants(self, name: str) -> bool:
        return not self.only or name in self.only


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Every run, and by part what stood on every side afterwards."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, Counts] = field(default_factory=dict)
    lookups: dict[str, Any] = field(default_factory=dict)
    log: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """One part that runs, and what has been seen of it."""

    part: Part
    running: Running
    wish: Wish
    runs: list[dict[str, Any]]

    async def saturate(self, kind: str, size: int) -> None:
        """Run as fast as it goes."""
        await self._load(kind, size, load="saturate", in_flight=self.wish.in_flight)

    async def pace(self, rate: int) -> None:
        """Run at a rate."""
        await self._load(self.part.kinds[0], SMALL, load="pace", rate=rate)

    async def _load(self, kind: str, size: int, **order: Any) -> None:
        asked = {"warm": self.wish.warm, "seconds": self.wish.seconds, **order}
        seen = await self.running.load(type=TYPE_OF[kind], size=size, **asked)
        count = seen["exchanges"]
        if not count:
            raise RuntimeError(f"{self.part.name}: nothing ended in the window")
        cpu = {name: spent / count * 1e6 for name, spent in seen["cpu_seconds"].items()}
        run = {"part": self.part.name, "process": self.part.process, "kind": kind, "size": size, **order}
        run |= {"exchanges_per_s": count / seen["seconds"], "cpu_us": cpu}
        self.runs.append(run | seen)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for, print it and write it."""
    wish = _wish(arguments)
    groups = all_parts(wish.senders)
    seen = asyncio.run(_measure(wish, groups))
    found = report.summary(seen.runs, machine.described(), machine.versions(_programs(seen.runs)))
    found["counts"] = seen.counts
    found[lookups.NAME] = seen.lookups
    found[longlog.NAME] = seen.log
    found["senders"] = wish.senders
    wish.out.parent.mkdir(parents=True, exist_ok=True)
    wish.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    report.show(found, {part.name: part.title for parts in groups.values() for part in parts})


def _wish(arguments: Sequence[str] | None) -> Wish:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", default="", help="parts, separated by commas: floor_embedded,embedded,…")
    parser.add_argument("--rounds", type=int, default=3, help="how often each part runs at full load, in turns")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a measured window")
    parser.add_argument("--warm", type=float, default=2.0, help="seconds before each window that do not count")
    parser.add_argument("--in-flight", type=int, default=256, help="exchanges that go on at once at full load")
    parser.add_argument(
        "--senders",
        type=int,
        default=1,
        help="sending systems of the bus, each with a box of its own",
    )
    parser.add_argument("--entries", type=int, default=1_000_000, help="length of the log that is checked")
    parser.add_argument(
        "--quick", action="store_true", help="a moment of everything: shows that it works, not how fast"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench.json")
    asked = parser.parse_args(arguments)
    quick = {"rounds": 1, "seconds": 1.0, "warm": 0.1, "in_flight": 16} if asked.quick else {}
    given = {name: value for name, value in vars(asked).items() if name not in {"quick", "only"}}
    only = frozenset(filter(None, asked.only.split(",")))
    return Wish(**(given | quick), only=only, is_quick=asked.quick)


async def _measure(wish: Wish, groups: dict[str, tuple[Part, ...]]) -> Seen:
    seen = Seen()
    with tempfile.TemporaryDirectory(prefix="lgsp-bench-") as name:
        folder = Path(name)
        await asyncio.to_thread(folder.chmod, 0o711)  # the database's own user passes through
        for parts in groups.values():
            wanted = [part for part in parts if wish.wants(part.name)]
            async with AsyncExitStack() as stack:
                await _measure_group(wish, wanted, Servers(folder=folder, stack=stack), seen)
        if wish.wants(longlog.NAME):
            seen.log.update(
                await longlog.measure(folder / longlog.NAME, QUICK_ENTRIES if wish.is_quick else wish.entries)
            )
        if wish.wants(lookups.NAME):
            seen.lookups.update(await lookups.measure(folder / lookups.NAME, wish.seconds, wish.rounds))
    return seen


async def _measure_group(wish: Wish, parts: list[Part], servers: Servers, seen: Seen) -> None:
    async with AsyncExitStack() as stack:
        measuring = []
        for part in parts:
            running = await stack.enter_async_context(part.start(servers, servers.folder / part.name))
            measuring.append(Measuring(part=part, running=running, wish=wish, runs=seen.runs))
        for _ in range(wish.rounds):
            for each in measuring:
                await each.saturate(each.part.kinds[0], SMALL)
        for each in measuring:
            await _measure_further(each)
            seen.counts[each.part.name] = await agreed(each.part, each.running)


async def _measure_further(each: Measuring) -> None:
    for rate in report.RATES:
        await each.pace(rate)
    for kind in each.part.kinds:
        for size in SIZES[: 1 if each.wish.is_quick else None]:
            if (kind, size) != (each.part.kinds[0], SMALL):
                await each.saturate(kind, size)


def _programs(runs: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return how to ask the servers that took part for their versions."""
    used = {name for run in runs for name in run["cpu_us"]}
    found = {}
    if "database" in used:
        found["postgresql"] = [privatedatabase.find("postgres"), "--version"]
    if "broker" in used:
        found["rabbitmq"] = [privatebroker._find("rabbitmqctl"), "version"]
    return found


if __name__ == "__main__":
    main()
