"""What a person who looks something up notices of others: the same look-ups on an idle bus, beside a synchronisation, and beside three floods.

All programs share the machine with the gateway, as they do not in a province; so this is the hard case, for what the others compute counts too.
Those who flood have signed everything before.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from tests.bench import program
from tests.bench.bus import running as bus_running
from tests.bench.bus.running import RunningBus
from tests.bench.made_up import IN_BULK, LOOKED_UP

NAME: Final = "lookups"
RATE: Final = 12
"""Look-ups a second: an office full of people."""
WARM: Final = 2.0
OTHERS: Final[dict[str, dict[str, Any]]] = {
    "beside_bulk": {"type": IN_BULK, "in_flight": 32},
    "beside_flood": {"type": LOOKED_UP, "in_flight": 256, "kinds": ["valid"]},
    "beside_refused_flood": {"type": LOOKED_UP, "in_flight": 256, "kinds": ["refused"]},
    "beside_mixed_flood": {
        "type": LOOKED_UP,
        "in_flight": 256,
        "kinds": ["valid", "refused", "unsigned"],
        "count": 20_000,
    },
}
"""A synchronisation; a client that asks as fast as it can, with a grant; one whose envelopes are all refused by their schema; one that sends so
many, valid, refused by their schema and unsigned in turns."""
COUNTED_WINDOWS: Final = 5
"""A flood of a count is looked up beside for so many windows: less than the rate of one sender lets 20,000 last."""
USUAL_SECONDS: Final = 8.0
FLOOD_SECONDS: Final = 600.0
"""In which a flood is answered to its end: it rests for the look-ups beside it."""


async def measure(folder: Path, seconds: float, rounds: int) -> dict[str, Any]:
    """Return percentiles of look-ups in ms: idle, and beside each of the others with their rate and the factor of the 99th percentile."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ("idle", *OTHERS)}
    for number in range(rounds):
        for name, seen in found.items():
            # A bus of its own each time: what one leaves behind is not to be in the way of the next.
            async with bus_running.running(folder / f"{number}-{name}", senders=2, apart=True, idle=1) as running:
                seen.append(
                    await _beside(running, OTHERS[name], seconds) if name in OTHERS else await _asked(running, seconds)
                )
    idle = _median(found["idle"])
    return {
        name: (median := _median(seen)) | {"p99_to_idle": median["p99_ms"] / idle["p99_ms"]}
        for name, seen in found.items()
    }


async def _asked(running: RunningBus, seconds: float) -> dict[str, Any]:
    return await running.load(type=LOOKED_UP, size=1_000, load="pace", rate=RATE, warm=WARM, seconds=seconds)


async def _beside(running: RunningBus, order: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Look up while another program does as it was ordered; it begins before and ends after."""
    common: dict[str, Any] = {"size": 1_000}
    if "count" in order:
        common["count"], lasts = int(order["count"] * min(seconds / USUAL_SECONDS, 1.0)), seconds * COUNTED_WINDOWS
    else:
        common["warm"], common["seconds"], lasts = WARM / 2, seconds + WARM, seconds
    async with AsyncExitStack() as stack:
        if "kinds" in order:
            other = await stack.enter_async_context(program.started("bus.flooder", {"settings": str(running.idle[0])}))
            await other.ask(receiver=running.receivers[0], **(order | common))
            doing = other.answer(FLOOD_SECONDS)
        else:
            [other] = running.beside
            doing = running.have(other, load="saturate", **(order | common))
        busy = asyncio.create_task(doing)
        try:
            asked = await _asked(running, lasts)
        finally:
            seen = await busy
    return asked | {"others_per_s": seen["exchanges"] / seen["seconds"]}


def _median(seen: list[dict[str, Any]]) -> dict[str, float]:
    """Return the middle of several rounds, figure by figure."""
    figures = ("p50_ms", "p95_ms", "p99_ms", "others_per_s")
    return {name: sorted(each[name] for each in seen)[len(seen) // 2] for name in figures if name in seen[0]}
