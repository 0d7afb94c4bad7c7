"""One client floods a gateway, and another system goes on looking things up: real processes, a real file, all kinds of envelopes in turns.

What is held here is what must hold on any machine: everything is answered, nothing fails, memory and log stay bounded. How much slower the
look-ups are is the benchmark's to tell (part `lookups`), for it depends on the machine.
"""

import asyncio
import contextlib
import json
import math
import os
import re
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from lgsp.domain.limits import LIMITS
from lgsp.sdk import SystemSettings
from tests.bench import program
from tests.bench.bus.running import running
from tests.bench.machine import Watched
from tests.bench.made_up import LOOKED_UP

COUNT = int(os.environ.get("LGSP_FLOOD_COUNT", "20000"))
FLOOD_SECONDS = 1_500.0
"""In which it is answered on any machine: a flood rests for the look-ups beside it, so it takes minutes."""
KINDS = ["valid", "refused", "unsigned"]
MEMORY_MB = 256
"""What a gateway may hold at most while it is flooded; docs/security.md states it."""
ENTRIES_OF_A_REQUEST = 6
"""Accepted, delivered and acked, and the same of its reply."""
SUMS = 2
"""Summed entries of a minute: what proved nothing, and what one sender was refused for one reason beyond its entries."""
FAILED = re.compile(r"request\.failed|task\.failed|Traceback|\"level\": ?\"(?:error|critical)\"")


async def look_ups(bus, until: asyncio.Task) -> int:
    """Look up, some times a second, for as long as a task goes on; return how many were answered. One that is not raises."""
    count = 0
    while not until.done():
        seen = await bus.load(type=LOOKED_UP, size=1_000, load="pace", rate=12, warm=0.5, seconds=2.0)
        count += seen["exchanges"]
    return count


def entries_of(data: Path) -> list[dict]:
    with contextlib.closing(sqlite3.connect(f"{(data / 'bus.sqlite').as_uri()}?mode=ro", uri=True)) as file:
        return [json.loads(entry) for (entry,) in file.execute("SELECT data FROM entry ORDER BY seq")]


@pytest.mark.long
@pytest.mark.timeout(1_800)
async def test_a_flood_of_20_000_leaves_look_ups_answered_and_memory_and_log_bounded(tmp_path):
    async with running(tmp_path / "bus", senders=1, idle=1) as bus:
        flooder = SystemSettings.load(bus.idle[0]).system
        async with program.started("bus.flooder", {"settings": str(bus.idle[0])}) as client:
            order = {"type": LOOKED_UP, "receiver": bus.receivers[0], "kinds": KINDS, "in_flight": 256, "size": 1_000}
            await client.ask(**order, count=COUNT)
            flood = asyncio.create_task(client.answer(FLOOD_SECONDS))
            answered = await look_ups(bus, flood)
            seen = await flood
        peak = Watched({"gateway": bus.watched["gateway"]}).rss_mb()["gateway"]
    valid = -(-COUNT // 3)
    assert seen["answers"] == {"receipt": valid, "schema": -(-(COUNT - 1) // 3), "signature": COUNT // 3}
    assert answered > 0
    assert peak < MEMORY_MB
    said = (tmp_path / "bus/data/gateway.log").read_text(encoding="utf-8")
    assert not FAILED.search(said), said[-3000:]
    _bounded(entries_of(tmp_path / "bus/data"), flooder, COUNT, minutes=math.ceil(seen["seconds"] / 60) + 1)


def _bounded(entries: list[dict], flooder: str, count: int, minutes: int) -> None:
    """Hold the log against what a flood may write into it."""
    refused = [entry for entry in entries if entry["ev"] in {"msg.rejected", "edge.refused"}]
    assert len(refused) <= minutes * (LIMITS.refusals_per_minute + SUMS)
    told = Counter()
    for entry in refused:
        told[entry["ev"]] += entry.get("n", 1)
    assert told == {"msg.rejected": -(-(count - 1) // 3), "edge.refused": count // 3}, "none is left out of the sums"
    accepted = [entry for entry in entries if entry["ev"] == "msg.accepted"]
    assert sum(entry["src"] == flooder for entry in accepted) == -(-count // 3)
    others = [entry for entry in entries if entry["ev"].startswith("msg.") and entry["ev"] != "msg.rejected"]
    requests = sum("cause" not in entry for entry in accepted)
    assert len(others) <= requests * ENTRIES_OF_A_REQUEST
