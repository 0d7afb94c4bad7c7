"""A bus under load that chaos may strike: gateways, a sending program, a receiving program, an adapter, and the links between them.

It is founded as `lgsp init` does, by the benchmark's province. Programs reach the gateways by links of their own.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lgsp.cli.founding import Carrier
from lgsp.domain.exchange import SETTLED
from lgsp.privateserver import free_port
from lgsp.sdk import SystemSettings
from tests.bench.bus import province
from tests.bench.bus.province import Gateway, Province
from tests.bench.bus.running import told
from tests.chaos import books
from tests.chaos.account import Books
from tests.chaos.disk import WriteLimit, may_mount, own_disk
from tests.chaos.engines import Engine, Ground, Victim, ground
from tests.chaos.processes import LGSP, Process
from tests.chaos.proxy import Proxy

KEEPER: Final = Path(__file__).with_name("keeper")
RECEIVERS: Final = 2
"""The first is a program, the second an adapter."""
AUDIT_SECONDS: Final = 120.0


@dataclass(slots=True, kw_only=True)
class ChaoticBus:
    """Everything that runs, by name."""

    folder: Path
    made: Province
    ground: Ground
    processes: dict[str, Process]
    links: dict[str, Proxy]
    quiet: Path
    """There once the sender is to send nothing more."""
    silent: Path
    """There once it sends nothing more, and all that it ever sent stands in its box."""

    @property
    def victims(self) -> dict[str, Process | Victim]:
        """Whoever may be killed or paused."""
        return {**self.processes, **self.ground.victims}

    @property
    def disks(self) -> list[str]:
        """Whoever's disk may be full."""
        return [name for name, victim in self.victims.items() if victim.room is not None]

    @property
    def gateways(self) -> list[Process]:
        """The gateways."""
        return [process for name, process in self.processes.items() if name.startswith("gateway")]

    @property
    def programs(self) -> list[Process]:
        """The programs of systems."""
        return [process for name, process in self.processes.items() if not name.startswith("gateway")]

    @property
    def files(self) -> list[Path]:
        """The settings files of all systems."""
        return [*self.made.senders, *self.made.receivers]

    def progress(self) -> int:
        """Return how many acks the senders hold."""
        return books.progress(self.made.senders)

    def under_way(self) -> int:
        """Return how many envelopes have not come to their end yet, as far as the boxes know."""
        return books.under_way(self.files)

    async def left_over(self) -> str:
        """Tell what has not come to its end, by the states of letters and deliveries: for whoever has to find out why."""
        boxes = [books.read_box(path) for path in self.files]
        ledger = await books.read_ledger(self.made.gateways[0].data, self.ground.database)
        held = Counter(f"{inbox} {state}" for (_, inbox), state in ledger.deliveries.items() if state not in SETTLED)
        kept = Counter(f"{box.system} {letter.state}" for box in boxes for letter in box.letters.values())
        return f"deliveries {dict(held)}, letters {dict(kept)}"

    async def end(self) -> dict[str, int]:
        """End the programs in order, the gateways last, and return their exit codes."""
        return {process.name: await process.stop() for process in (*self.programs, *self.gateways)}

    async def books(self, *, audited: bool = True) -> Books:
        """Return what was written down, with nothing running any more but the engines; without an audit the log is believed."""
        boxes = [books.read_box(path) for path in self.files]
        ledger = await books.read_ledger(self.made.gateways[0].data, self.ground.database)
        ledger.verified = await self._verified() if audited else ledger.entries
        systems = [box.system for box in boxes]
        queues = await books.read_queues(self.ground.broker, systems) if self.ground.broker else {}
        return Books(boxes={box.system: box for box in boxes}, ledger=ledger, queues=queues)

    async def _verified(self) -> int:
        """Return how many entries `lgsp audit verify` says that it verified."""
        command = [LGSP, "audit", "verify", "--data", str(self.made.gateways[0].data)]
        plain = {name: value for name, value in os.environ.items() if not name.startswith("LGSP_")}
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**plain, "LGSP_LANG": "en", **self.ground.direct},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(AUDIT_SECONDS):
            said, _ = await process.communicate()
        words = said.decode().split()
        assert process.returncode == 0, said.decode()
        return int(words[words.index("entries,") - 1])


@asynccontextmanager
async def chaotic_bus(
    folder: Path,
    *,
    rate: float,
    gateways: int = 1,
    broker: Engine | None = None,
    database: Engine | None = None,
) -> AsyncIterator[ChaoticBus]:
    """Run a bus of this shape, loaded with `rate` notes a second, until the block ends."""
    async with AsyncExitStack() as stack:
        standing = await stack.enter_async_context(ground(folder.name, broker=broker, database=database))
        disk = None if standing.database or not may_mount() else stack.enter_context(own_disk("gateway"))
        data = (disk.path if disk else folder) / "data"
        ports = [free_port() for _ in range(gateways)]
        with told(standing.direct):
            made = await province.make(
                data,
                ports=ports,
                transport=Carrier.EMBEDDED if broker is None else Carrier.RABBITMQ,
                senders=1,
                receivers=RECEIVERS,
            )
        for path in (*made.senders, *made.receivers):
            _move_box(path, folder)
        clients = [await stack.enter_async_context(Proxy(targets=[port]).running()) for port in ports]
        bus = ChaoticBus(
            folder=folder,
            made=made,
            ground=standing,
            processes={},
            links={**standing.links, **{_numbered("clients", number): link for number, link in enumerate(clients)}},
            quiet=folder / "quiet",
            silent=folder / "silent",
        )
        bus.processes = _processes(bus, rate, standing.linked, [link.port for link in clients])
        if not standing.database:  # its own disk is of interest while it holds the ledger
            gateway = bus.gateways[0]
            gateway.room = disk or WriteLimit(folder=data, pid=lambda: gateway.pid)
        try:
            for process in (*bus.gateways, *bus.programs):
                await process.start()
            yield bus
        finally:
            for process in bus.processes.values():
                await process.kill()


def _move_box(settings_file: Path, folder: Path) -> None:
    """Keep a system's box off the gateway's disk: each is its own machine's."""
    box = folder / f"{settings_file.parent.name}.sqlite"
    told = re.sub(r'^box = ".*"$', f'box = "{box}"', settings_file.read_text("utf-8"), count=1, flags=re.MULTILINE)
    assert str(box) in told
    settings_file.write_text(told, "utf-8")


def _processes(bus: ChaoticBus, rate: float, environment: Mapping[str, str], ports: list[int]) -> dict[str, Process]:
    made, receivers = bus.made, [SystemSettings.load(path, {}).system for path in bus.made.receivers]
    sending = {
        "settings": str(made.senders[0]),
        "quiet": str(bus.quiet),
        "silent": str(bus.silent),
        "rate": rate,
        "receivers": receivers,
    }
    here = {"LGSP_URL": ",".join(f"http://127.0.0.1:{port}" for port in ports)}
    first, second = map(str, made.receivers)
    found = [_gateway(bus, number, each, environment) for number, each in enumerate(made.gateways)]
    found += [
        _process(bus, "receiver", _python("tests.chaos.receiver", {"settings": first}), here),
        _process(bus, "adapter", [LGSP, "adapter", "run", str(KEEPER), "--system", second], here),
        _process(bus, "sender", _python("tests.chaos.sender", sending), here),
    ]
    return {process.name: process for process in found}


def _gateway(bus: ChaoticBus, number: int, gateway: Gateway, environment: Mapping[str, str]) -> Process:
    command = [LGSP, "serve", "--data", str(gateway.data)]
    return _process(
        bus, _numbered("gateway", number), command, {**environment, **gateway.environment}, port=gateway.port
    )


def _numbered(name: str, number: int) -> str:
    return name if number == 0 else f"{name}-{number + 1}"


def _process(
    bus: ChaoticBus, name: str, command: Sequence[str], environment: Mapping[str, str], port: int | None = None
) -> Process:
    return Process(name=name, command=command, environment=environment, log=bus.folder / f"{name}.log", port=port)


def _python(module: str, plan: dict[str, Any]) -> list[str]:
    return [sys.executable, "-m", module, json.dumps(plan)]
