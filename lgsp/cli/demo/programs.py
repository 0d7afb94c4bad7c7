"""Programs of the demo: each a process of its own, with its output kept in a file and its log events handed on as they come."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lgsp.domain import strictjson
from lgsp.errors import Unusable

STOP_SECONDS: Final = 15.0
LINE_MAX: Final = 1024 * 1024

Event = dict[str, Any]
OnEvent = Callable[[str, Event], None]


@dataclass(slots=True, kw_only=True)
class Program:
    """One running process."""

    name: str
    process: asyncio.subprocess.Process
    output: Path
    on_event: OnEvent
    _reader: asyncio.Task[None] | None = None
    _waiting: dict[str, asyncio.Future[Event]] = field(default_factory=dict)

    async def event(self, name: str, *, seconds: float) -> Event:
        """Return the first event of this name that comes from now on; `Unusable` when the program ends or time runs out first."""
        found: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._waiting[name] = found
        ended: asyncio.Future[Any] = asyncio.ensure_future(self.process.wait())
        try:
            async with asyncio.timeout(seconds):
                await asyncio.wait([found, ended], return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise Unusable(
                "unavailable", f"{self.name} did not say {name} within {seconds:.0f} s: {self.output}"
            ) from None
        finally:
            ended.cancel()
            self._waiting.pop(name, None)
        if not found.done():
            raise self.ended()
        return found.result()

    def ended(self) -> Unusable:
        """Return the refusal of a program that ended by itself, with its last words: the file with all of them may be gone soon."""
        said = self.output.read_text(encoding="utf-8", errors="replace").splitlines() if self.output.exists() else []
        return Unusable("unavailable", f"{self.name} ended: {said[-1] if said else self.output}")

    async def read(self) -> None:
        """Keep what the program prints and hand its events on, until it ends."""
        stream = self.process.stderr
        assert stream is not None
        with self.output.open("ab") as kept:
            while line := await stream.readline():
                kept.write(line)
                kept.flush()
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            event = strictjson.parse_object(line.strip())
        except strictjson.NotStrict:
            return
        name = str(event.get("event"))
        waiting = self._waiting.get(name)
        if waiting is not None and not waiting.done():
            waiting.set_result(event)
        self.on_event(self.name, event)

    @property
    def peak_mb(self) -> float:
        """The most memory the process has held so far, in MB (Linux: VmHWM); 0 where the system does not tell."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return 0.0

    async def stop(self) -> int:
        """Ask the process to end, insist after a while, and return its exit code."""
        self._send(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.process.wait()
        except TimeoutError:
            self._send(signal.SIGKILL)
        return await self._ended()

    async def kill(self) -> int:
        """End the process without a word of warning, as a power cut does, and return its exit code."""
        self._send(signal.SIGKILL)
        return await self._ended()

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def _ended(self) -> int:
        code = await self.process.wait()
        if self._reader is not None:
            await self._reader
        return code


@dataclass(slots=True, kw_only=True)
class Programs:
    """All processes of one demo; leaving the block stops them, the last started first."""

    logs: Path
    on_event: OnEvent
    running: dict[str, Program] = field(default_factory=dict)

    async def __aenter__(self) -> Programs:  # noqa: PYI034 - a dataclass, never subclassed
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_all()

    async def start(self, name: str, *command: str, environment: Mapping[str, str] | None = None) -> Program:
        """Start a program; its standard output goes to nobody, its standard error is read as log events."""
        starting = asyncio.ensure_future(_spawned(command, {**os.environ, "LGSP_LANG": "en", **(environment or {})}))
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Called off between the fork and its report: a process that nobody knew of would be left behind.
            self._take_in(name, await starting)
            raise
        return self._take_in(name, process)

    def _take_in(self, name: str, process: asyncio.subprocess.Process) -> Program:
        program = Program(name=name, process=process, output=self.logs / f"{name}.log", on_event=self.on_event)
        program._reader = asyncio.create_task(program.read(), name=f"read {name}")  # noqa: SLF001 - the factory of its class
        self.running[name] = program
        return program

    async def stop(self, name: str) -> int:
        """Stop one program and return its exit code."""
        code = await self.running[name].stop()
        del self.running[name]  # not before: who is called off while it waits still has it to stop
        return code

    async def stop_all(self, *, but: Collection[str] = ()) -> None:
        """Stop all programs but those named, the last started first."""
        for name in [name for name in reversed(self.running) if name not in but]:
            await self.stop(name)

    async def kill(self, name: str) -> int:
        """Kill one program and return its exit code; it may be started again under its name."""
        code = await self.running[name].kill()
        del self.running[name]
        return code

    def check(self) -> None:
        """Refuse as `unavailable` when a program has ended by itself."""
        for program in self.running.values():
            if program.process.returncode is not None:
                raise program.ended()


async def _spawned(command: Sequence[str], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Start a process in a session of its own: Ctrl-C on the terminal is for the demo alone, which stops its programs in order."""
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        limit=LINE_MAX,
        start_new_session=True,
    )
