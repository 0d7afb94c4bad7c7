"""Programs that are measured: each a process of its own, told what to do by lines of JSON on its standard input, answering on its output.

A program says `{"ready": true}` first, then answers each order with one line; it ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import uvloop

from lgsp.machine import spare_collector

ROOT: Final = Path(__file__).parents[2]
LINE_MAX: Final = 64 * 1024 * 1024
READY_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 180.0
STOP_SECONDS: Final = 20.0

Order = dict[str, Any]


class Orders:
    """The program's own side: the orders that come, and the answers to them."""

    def __init__(self, lines: asyncio.StreamReader) -> None:
        self._lines = lines

    async def __aiter__(self) -> AsyncIterator[Order]:
        self.answer({"ready": True})
        while line := await self._lines.readline():
            yield json.loads(line)

    def answer(self, said: Order) -> None:
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


Main = Callable[[dict[str, Any], Orders], Awaitable[None]]


def run(main: Main) -> None:
    """Run a program whose plan is its one argument, a JSON object."""
    plan = json.loads(sys.argv[1])
    spare_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_obey(main, plan))


async def _obey(main: Main, plan: dict[str, Any]) -> None:
    lines = asyncio.StreamReader(limit=LINE_MAX)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    await main(plan, Orders(lines))


class Program:
    """The other side: a program that was started."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, **order: Any) -> Order:
        """Give an order and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return await self.answer(ANSWER_SECONDS)

    async def answer(self, seconds: float) -> Order:
        assert self._process.stdout is not None
        async with asyncio.timeout(seconds):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended: what it said is above")
        found: Order = json.loads(line)
        return found

    async def stop(self) -> None:
        """End its input, and insist when that is not enough."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()


@asynccontextmanager
async def started(module: str, plan: dict[str, Any]) -> AsyncIterator[Program]:
    """Run `python -m tests.bench.MODULE` with a plan until the block ends; it is ready when the block begins."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"tests.bench.{module}",
        json.dumps(plan),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("LGSP_")},
        limit=LINE_MAX,
        start_new_session=True,
    )
    program = Program(module, process)
    try:
        await program.answer(READY_SECONDS)
        yield program
    finally:
        await program.stop()
