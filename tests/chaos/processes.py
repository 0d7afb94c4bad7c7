"""Programs that are killed, stopped for a while and started again: each under one name for as long as the run lasts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos.disk import Room

ROOT: Final = Path(__file__).parents[2]
LGSP: Final = str(Path(sys.executable).with_name("lgsp"))
LISTENS_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
LAST_WORDS: Final = 3000
"""Characters."""


@dataclass(slots=True, kw_only=True)
class Process:
    """One program; with a `port` it has started once it listens there."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    port: int | None = None
    peak_mb: float = 0.0
    """The most memory that it has held, in any of its lives."""
    fell: list[int] = field(default_factory=list)
    """Exit codes of lives that ended though nobody ended them."""
    room: Room | None = None
    """Where it writes, when that may be full."""
    _running: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id of this life."""
        return self._running.pid if self._running is not None else None

    async def make_room(self) -> None:
        """Let there be room on its disk again."""
        await asyncio.to_thread(self.room.make_room)

    async def start(self) -> None:
        """Start it, and again while it ends before it listens, as a service manager would."""
        async with asyncio.timeout(LISTENS_SECONDS):
            await self._spawn()
            while self.port is not None and not await _listens(self.port):
                if self._running is None or self._running.returncode is not None:
                    await self._spawn()
                await asyncio.sleep(0.05)

    async def revive(self) -> None:
        """Start it when it has ended by itself, and remember that it has."""
        if self._running is not None and self._running.returncode is not None:
            self.fell.append(self._running.returncode)
            await self.start()

    async def kill(self) -> None:
        """End it without a word of warning."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """Ask it to end, and return its exit code; insist after a while."""
        return await self._end(signal.SIGTERM)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let it stand still until the block ends."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    async def _spawn(self) -> None:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("LGSP_")}
        with self.log.open("ab") as log:
            self._running = await asyncio.create_subprocess_exec(
                *self.command,
                cwd=ROOT,
                env={**plain, "PYTHONPATH": str(ROOT), **self.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _end(self, how: signal.Signals) -> int:
        if self._running is None:
            return 0
        if self._running.returncode is not None:
            self.fell.append(self._running.returncode)
        self.weigh()
        self._signal(how)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                code = await self._running.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            code = await self._running.wait()
        self._running = None
        return code

    def last_words(self) -> str:
        """Return the end of what it wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-LAST_WORDS:]

    def weigh(self) -> None:
        """Note how much memory this life has held so far."""
        if self._running is not None and self._running.returncode is None:
            with contextlib.suppress(OSError):
                self.peak_mb = max(self.peak_mb, _peak_mb(self._running.pid))

    def _signal(self, how: signal.Signals) -> None:
        if self._running is not None and self._running.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._running.send_signal(how)


def _peak_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
