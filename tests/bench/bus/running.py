"""The bus as it runs: `lgsp serve` on a data folder of its own, and the programs that send and receive."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lgsp.cli.founding import Carrier
from lgsp.privatebroker import free_port
from lgsp.sdk import SystemSettings
from tests.bench import program
from tests.bench.bus import province
from tests.bench.bus.province import Gateway
from tests.bench.program import Program

LGSP: Final = str(Path(sys.executable).with_name("lgsp"))
LISTENS_SECONDS: Final = 30.0
STOP_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningBus:
    """A gateway, its senders and its receivers, ready to be loaded."""

    sender: Program
    beside: tuple[Program, ...]
    """Senders in programs of their own, where that is asked for."""
    idle: tuple[Path, ...]
    """The settings of senders that have no program."""
    receiver: Program
    receivers: tuple[str, ...]
    watched: dict[str, list[int]]

    async def load(self, **order: Any) -> dict[str, Any]:
        """Have an order carried out and return what the sender saw."""
        return await self.have(self.sender, **order)

    async def have(self, sender: Program, **order: Any) -> dict[str, Any]:
        """Have an order carried out by one of the sending programs and return what it saw."""
        return await sender.ask(receivers=self.receivers, watched=self.watched, **order)

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return what stands in the boxes of both sides."""
        return {"sender": await self.sender.ask(counts=True), "receiver": await self.receiver.ask(counts=True)}


@asynccontextmanager
async def running(
    folder: Path,
    *,
    senders: int,
    receivers: int = 1,
    gateways: int = 1,
    apart: bool = False,
    idle: int = 0,
    environment: Mapping[str, str] | None = None,
    beside: Mapping[str, list[int]] | None = None,
    bus: str = province.BUS,
) -> AsyncIterator[RunningBus]:
    """Run a bus in `folder`; `environment` is what its gateway is told (broker, database), `beside` which servers count as its processes.

    With `apart` each sender is a program of its own; `idle` is how many more systems there are that have none.
    """
    environment = environment or {}
    transport = Carrier.RABBITMQ if "LGSP_TRANSPORT__URL" in environment else Carrier.EMBEDDED
    ports = [free_port() for _ in range(gateways)]
    with told(environment):
        made = await province.make(
            folder / "data", ports=ports, transport=transport, senders=senders + idle, receivers=receivers, bus=bus
        )
    async with AsyncExitStack() as stack:
        pids = [await stack.enter_async_context(_gateway(each, environment)) for each in made.gateways]
        receiver = await stack.enter_async_context(program.started("bus.receiver", _plan(made.receivers)))
        manned = made.senders[:senders]
        shares = [(each,) for each in manned] if apart else [manned]
        sender, *others = [
            await stack.enter_async_context(program.started("bus.sender", _plan(share))) for share in shares
        ]
        watched = {"gateway": pids, "sender": [sender.pid], "receiver": [receiver.pid]}
        yield RunningBus(
            sender=sender,
            beside=tuple(others),
            idle=made.senders[senders:],
            receiver=receiver,
            receivers=tuple(SystemSettings.load(path).system for path in made.receivers),
            watched=watched | dict(beside or {}),
        )


@contextmanager
def told(environment: Mapping[str, str]) -> Iterator[None]:
    """Let this process have the gateway's settings too while it founds the bus, as a person's shell would."""
    os.environ.update(environment)
    try:
        yield
    finally:
        for name in environment:
            del os.environ[name]


def _plan(settings: tuple[Path, ...]) -> dict[str, Any]:
    return {"settings": [str(path) for path in settings]}


@asynccontextmanager
async def _gateway(gateway: Gateway, environment: Mapping[str, str]) -> AsyncIterator[int]:
    """Run `lgsp serve` and give its process id once it listens."""
    log_file = gateway.data / "gateway.log"
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("LGSP_")}
    with log_file.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            LGSP,
            "serve",
            "--data",
            str(gateway.data),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**surroundings, **environment, **gateway.environment},
            start_new_session=True,
        )
    try:
        await _until_listening(process, gateway.port, log_file)
        yield process.pid
    finally:
        await _stop(process)


async def _until_listening(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    until = time.monotonic() + LISTENS_SECONDS
    while time.monotonic() < until and process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    said = await asyncio.to_thread(log.read_text, encoding="utf-8", errors="replace")
    raise RuntimeError(f"the gateway does not listen: {said[-2000:]}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
