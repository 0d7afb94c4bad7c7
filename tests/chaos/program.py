"""What the load's programs share: how one is run until SIGTERM, and the pace at which its client connects again."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import uvloop

from lgsp import logs
from lgsp.sdk import Surroundings
from lgsp.sdk.stream import Pace

PROMPT: Final = Surroundings(pace=Pace(connect=5.0, longest=1.0, ping=2.0, silence=10.0))
"""A client that notices a lost gateway soon and tries again often: a run of chaos is short."""


def run(main: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Run a program whose plan is its one argument, a JSON object, until it ends or SIGTERM comes."""
    logs.configure()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_told(main, json.loads(sys.argv[1])))


async def _until_told(main: Callable[[dict[str, Any]], Awaitable[None]], plan: dict[str, Any]) -> None:
    working = asyncio.ensure_future(main(plan))
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    stopping = asyncio.ensure_future(told.wait())
    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if told.is_set():
        working.cancel()
    await asyncio.wait([working])
    if not working.cancelled():
        working.result()
