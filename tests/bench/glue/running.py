"""The glue as it runs: two processes and a broker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from joserfc.jwk import OKPKey

from tests.bench import program
from tests.bench.program import Program


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningGlue:
    """Two processes, ready to be loaded."""

    sender: Program
    receiver: Program
    watched: dict[str, list[int]]

    async def load(self, **order: Any) -> dict[str, Any]:
        """Have an order carried out and return what the sender saw."""
        return await self.sender.ask(watched=self.watched, **order)

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return what both sides counted."""
        return {"sender": await self.sender.ask(counts=True), "receiver": await self.receiver.ask(counts=True)}


@asynccontextmanager
async def running(*, broker: str, beside: Mapping[str, list[int]]) -> AsyncIterator[RunningGlue]:
    """Run the glue on the broker at an address."""
    keys = {party: OKPKey.generate_key("Ed25519").as_dict(private=True) for party in ("sender", "receiver")}
    plan = {"broker": broker, **keys}
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(program.started("glue.receiver", plan))
        sender = await stack.enter_async_context(program.started("glue.sender", plan))
        pids = {"sender": [sender.pid], "receiver": [receiver.pid]}
        yield RunningGlue(sender=sender, receiver=receiver, watched=pids | dict(beside))
