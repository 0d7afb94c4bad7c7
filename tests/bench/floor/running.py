"""The floor as it runs: its three processes in a folder of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgsp.privatebroker import free_port
from tests.bench import program
from tests.bench.floor.names import new_seeds
from tests.bench.program import Program


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningFloor:
    """Three processes, ready to be loaded."""

    gateway: Program
    sender: Program
    receiver: Program
    watched: dict[str, list[int]]

    async def load(self, **order: Any) -> dict[str, Any]:
        """Have an order carried out and return what the sender saw."""
        return await self.sender.ask(watched=self.watched, **order)

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return what stands in the files of all three."""
        parties = {"sender": self.sender, "gateway": self.gateway, "receiver": self.receiver}
        return {name: await party.ask(counts=True) for name, party in parties.items()}


@asynccontextmanager
async def running(
    folder: Path, *, database: str = "", broker: str = "", beside: Mapping[str, list[int]] | None = None
) -> AsyncIterator[RunningFloor]:
    """Run the floor: embedded, or on the database and broker at these addresses."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    port = free_port()
    plan = {
        "seeds": new_seeds(),
        "folder": str(folder),
        "port": port,
        "url": f"http://127.0.0.1:{port}",
        "database": database,
        "broker": broker,
    }
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(program.started("floor.gateway", plan))
        receiver = await stack.enter_async_context(program.started("floor.receiver", plan))
        sender = await stack.enter_async_context(program.started("floor.sender", plan))
        pids = {"gateway": [gateway.pid], "sender": [sender.pid], "receiver": [receiver.pid]}
        yield RunningFloor(gateway=gateway, sender=sender, receiver=receiver, watched=pids | dict(beside or {}))
