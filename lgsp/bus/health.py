"""Whether the gateway lives and is ready, and if not, what is degraded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from lgsp.bus.ingress import Ingress
from lgsp.bus.registry import Registry
from lgsp.errors import Refusal
from lgsp.ports.ledger import Ledger

LOOK_SECONDS: Final = 2.0
"""How long a ledger may take to answer before it is called away."""

Probe = Callable[[], Awaitable[str]]
"""Tells the state of one part in a word: `ok`, or what is wrong."""


@dataclass(slots=True, kw_only=True)
class Health:
    """Answers probes."""

    ledger: Ledger
    registry: Registry
    ingress: Ingress
    probes: Mapping[str, Probe] = field(default_factory=dict)
    """Further parts of this gateway, by name."""

    def live(self) -> bool:
        """Tell whether the process answers at all."""
        return True

    async def ready(self) -> tuple[bool, dict[str, str]]:
        """Return whether envelopes are taken, and the state of each part: `ok`, or what is wrong in a word."""
        states = {
            "ledger": await self._ledger(),
            "directory": "ok" if self.registry.current.version else "empty",
            "intake": "draining" if self.ingress.draining else "ok",
        } | {name: await probe() for name, probe in self.probes.items()}
        return all(state == "ok" for state in states.values()), states

    async def _ledger(self) -> str:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self.ledger.size()
        except (Refusal, TimeoutError):
            return "away"
        return "ok"
