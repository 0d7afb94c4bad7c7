"""A storm: fault after fault while the load goes on; then quiet, until all that was sent has come to its end."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from tests.chaos.bus import ChaoticBus
from tests.chaos.engines import Victim
from tests.chaos.faults import LEADER, Fault
from tests.chaos.processes import Process
from tests.chaos.proxy import TROUBLES

RECOVERS_SECONDS: Final = 60.0
"""Within which exchanges reach their end again after a fault is over."""
SETTLES_SECONDS: Final = 60.0
"""Within which some more of what was sent comes to its end, once nothing is sent any more, until all of it has."""
LOOK: Final = 0.1


class Stuck(AssertionError):
    """The bus did not go on by itself."""


async def storm(bus: ChaoticBus, faults: Sequence[Fault]) -> list[float]:
    """Strike with each fault, and return how many seconds each took until exchanges reached their end again."""
    return [await _strike(bus, number, fault) for number, fault in enumerate(faults, start=1)]


async def _strike(bus: ChaoticBus, number: int, fault: Fault) -> float:
    await asyncio.sleep(fault.after)
    sys.stdout.write(f"{datetime.now(UTC):%H:%M:%S} {fault}\n")
    await _inflict(bus, fault)
    began = time.monotonic()
    await _recovers(bus, f"fault {number}, {fault}")
    return time.monotonic() - began


async def _inflict(bus: ChaoticBus, fault: Fault) -> None:
    if fault.kind in TROUBLES:
        await bus.links[fault.whom].suffer(fault.kind, fault.seconds)
        return
    victim = await asyncio.to_thread(bus.ground.leader) if fault.whom == LEADER else bus.victims[fault.whom]
    match fault.kind:
        case "kill":
            await victim.kill()
            await asyncio.sleep(fault.seconds)
            await victim.start()
        case "pause":
            with victim.paused():
                await asyncio.sleep(fault.seconds)
        case "full":
            await _fill(victim, fault)


async def _fill(victim: Process | Victim, fault: Fault) -> None:
    await asyncio.to_thread(victim.room.fill)
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        await victim.make_room()


async def _recovers(bus: ChaoticBus, after: str) -> None:
    """Wait until acks come in again."""
    before = await asyncio.to_thread(bus.progress)
    until = time.monotonic() + RECOVERS_SECONDS
    while await asyncio.to_thread(bus.progress) <= before:
        if time.monotonic() > until:
            raise Stuck(f"nothing was acked within {RECOVERS_SECONDS:.0f} s of {after}")
        for victim in bus.victims.values():
            await victim.revive()
        await asyncio.sleep(LOOK)


async def calm(bus: ChaoticBus) -> float:
    """Send nothing more, wait until all that was sent has come to its end, and return how many seconds that took."""
    await asyncio.to_thread(bus.quiet.touch)
    began = time.monotonic()
    while not await asyncio.to_thread(
        bus.silent.exists
    ):  # it may be about to send: what is under way tells only of what was sent
        if time.monotonic() - began > SETTLES_SECONDS:
            raise Stuck(f"the sender goes on for {SETTLES_SECONDS:.0f} s")
        await asyncio.sleep(LOOK)
    moved = time.monotonic()
    least = await asyncio.to_thread(bus.under_way)
    while left := await asyncio.to_thread(bus.under_way):
        if left < least:
            least, moved = left, time.monotonic()
        if time.monotonic() - moved > SETTLES_SECONDS:
            raise Stuck(f"{left} come to no end for {SETTLES_SECONDS:.0f} s: {await bus.left_over()}")
        await asyncio.sleep(LOOK)
    return time.monotonic() - began
