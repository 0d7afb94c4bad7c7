"""`lgsp serve --workers N`: N processes of one gateway share its port; this one starts them, starts again those that die, and ends them all.

Each worker is a whole gateway by itself, under the same name and key, beside the others on the same database. A worker ends in order when its
standard input does, so none outlives this process however that ends; on its standard output it tells where it listens, and then that it still
turns. The service manager hears of this process alone. What a worker does is `serving`'s.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lgsp import datafolder, logs
from lgsp.cli import service_manager
from lgsp.cli.files import replace_text
from lgsp.cli.voice import Voice
from lgsp.config import Settings
from lgsp.datafolder import DataFolder
from lgsp.errors import Unusable
from lgsp.http import server

MOST: Final = 64
BEGIN_SECONDS: Final = 600.0
"""How long a worker may take until it listens: a start hashes what came after the last checkpoint."""
SIGN_EVERY: Final = 5.0
"""Seconds between two signs of life that a worker gives."""
SILENT_SECONDS: Final = 60.0
"""After so long without a sign a worker hangs: it is killed, and started again like one that died."""
END_SECONDS: Final = 40.0
"""How long a worker may take to drain; then it is killed."""
PAUSES: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a worker is started again, by how often in a row it ended without having listened."""


@dataclass(slots=True, kw_only=True)
class Workers:
    """The workers of one gateway."""

    settings: Settings
    count: int
    voice: Voice
    port_file: Path | None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    _listening: dict[int, str] = field(default_factory=dict)
    _running: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)
    _told: bool = False

    async def run(self) -> int:
        """Run the workers until it is told to stop, and return the exit code; that of a worker which could not begin at the start."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)
        http = self.settings.http
        if http.tls_cert is not None or service_manager.is_there():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._pass_on)
        folder = DataFolder(root=self.settings.data)
        with datafolder.hold(folder, command="lgsp serve"), _kept_port(http.host, http.port) as port:
            async with asyncio.TaskGroup() as tasks:
                alive = tasks.create_task(service_manager.keep_alive())
                keeping = [tasks.create_task(self._keep(number, port)) for number in range(self.count)]
                codes = [await each for each in keeping]
                alive.cancel()
        self.voice.tell("stopped", "đã dừng")
        return max(codes)

    def _on_signal(self) -> None:
        service_manager.tell("STOPPING=1")
        self.stop.set()

    def _pass_on(self) -> None:
        """Have every worker that listens read its certificate again; one that is only beginning reads it anyway."""
        for number, worker in self._running.items():
            if number in self._listening and worker.returncode is None:
                worker.send_signal(signal.SIGHUP)

    async def _keep(self, number: int, port: int) -> int:
        """Run one worker after the other until it is time to stop; return the code of one that ended badly before all listened."""
        failures = 0
        while not self.stop.is_set():
            code = await self._run_one(number, port)
            listened = self._listening.pop(number, "") != ""
            if self.stop.is_set():
                return _own_code(code)
            if not self._told and not listened:
                self.stop.set()  # it has told why
                return _own_code(code) or 1
            failures = 0 if listened else failures + 1
            logs.get_logger().error("worker.died", worker=number, code=code)
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSES[min(failures, len(PAUSES) - 1)]):
                    await self.stop.wait()
        return 0

    async def _run_one(self, number: int, port: int) -> int:
        worker = await asyncio.create_subprocess_exec(
            *self._command(number, port), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        self._running[number] = worker
        try:
            async with asyncio.TaskGroup() as tasks:
                ended, stopped = tasks.create_task(worker.wait()), tasks.create_task(self.stop.wait())
                hearing = tasks.create_task(self._hear(number, worker))
                await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
                await _end(worker)
                for task in (ended, stopped, hearing):
                    task.cancel()
        finally:  # whatever failed here, no worker is left behind
            await _end(worker)
        return worker.returncode or 0

    def _command(self, number: int, port: int) -> list[str]:
        http = self.settings.http
        given = (
            "--data",
            str(self.settings.data),
            "--host",
            http.host,
            "--port",
            str(port),
            "--worker",
            str(number),
            str(self.count),
        )
        return [sys.executable, "-m", "lgsp.cli", "--lang", self.voice.language, "serve", *given]

    async def _hear(self, number: int, worker: asyncio.subprocess.Process) -> None:
        """Learn from a worker's first line where it listens, and kill it when the further ones, its signs of life, fail to come."""
        if worker.stdout is None:
            return
        patience = BEGIN_SECONDS
        with suppress(ProcessLookupError):
            try:
                while line := await asyncio.wait_for(worker.stdout.readline(), patience):
                    if number not in self._listening:
                        self._learn(number, line.decode().strip())
                    patience = SILENT_SECONDS
            except TimeoutError:
                worker.kill()

    def _learn(self, number: int, url: str) -> None:
        """Take over where a worker listens, and tell it once all do."""
        self._listening[number] = url
        if len(self._listening) == self.count and not self._told:
            self._told = True
            if self.port_file is not None:
                replace_text(self.port_file, url + "\n")
            self.voice.tell(
                f"{self.count} workers listen on {url}; stop them with Ctrl+C",
                f"{self.count} tiến trình đang chạy tại {url}; dừng bằng Ctrl+C",
            )
            service_manager.tell("READY=1")


async def give_signs() -> None:
    """Tell the process that keeps the workers that this one still turns, until cancelled or there is nobody to tell."""
    with suppress(OSError):  # its standard input has ended too then, and so does it
        while True:
            await asyncio.sleep(SIGN_EVERY)
            sys.stdout.write("\n")
            sys.stdout.flush()


async def _end(worker: asyncio.subprocess.Process) -> None:
    """Let a worker end in order, and kill it when it takes too long."""
    if worker.returncode is not None:
        return
    if worker.stdin is not None:
        worker.stdin.close()
    try:
        async with asyncio.timeout(END_SECONDS):
            await worker.wait()
    except TimeoutError:
        worker.kill()
        await worker.wait()


def _own_code(code: int) -> int:
    """Return the exit code that a worker's stands for: one that had to be killed, a signal's number below 0, did not end well.

    But for SIGTERM: a service manager tells all processes of a service to end, one that has not got to its handler yet among them.
    """
    if code == -signal.SIGTERM:
        return 0
    return code if code >= 0 else 1


@contextmanager
def _kept_port(host: str, port: int) -> Iterator[int]:
    """Hold the port for as long as there are workers, without listening; give its number."""
    held: socket.socket = server.bound(host, port, shared=True)
    try:
        real: int = held.getsockname()[1]
        yield real
    finally:
        held.close()


def check_workers(settings: Settings, count: int) -> None:
    """Refuse (`one_gateway_only`) several workers on a ledger in a file."""
    if count > 1 and settings.storage.kind == "sqlite":
        raise Unusable("one_gateway_only", f"--workers {count} on {settings.storage.path}")
