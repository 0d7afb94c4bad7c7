"""Whether the gateway lives and is ready, and what is degraded though it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lgsp.bus.engines import Engines
from lgsp.bus.ingress import Ingress
from lgsp.bus.registry import Registry
from lgsp.bus.room import Room
from lgsp.bus.sweep import Sweep
from lgsp.bus.witnessing import Witnessing

SWEEP_SECONDS: Final = 30.0
"""How long a round of the sweep may be ago before it is called behind."""
BESIDE: Final = frozenset({"sweep", "inboxes", "witness"})
"""Parts that keep no gateway from taking envelopes: another one would fare no better."""


@dataclass(slots=True, kw_only=True)
class Health:
    """Answers probes."""

    engines: Engines
    registry: Registry
    ingress: Ingress
    sweep: Sweep
    room: Room
    witnessing: Witnessing

    def live(self) -> bool:
        """Tell whether the process answers at all."""
        return True

    async def ready(self) -> tuple[bool, dict[str, str]]:
        """Return whether envelopes are taken, and the state of each part, a second ago at most: `ok`, or what is wrong in a word."""
        await self.engines.seen()
        return self.told()

    def told(self) -> tuple[bool, dict[str, str]]:
        """Return the same without waiting for the engines, as the last look at them was."""
        engines = self.engines.states
        states = {
            "ledger": engines.get("ledger", "away"),
            "directory": "ok" if self.registry.current.version else "empty",
            "intake": "draining" if self.ingress.draining else self.ingress.closed or "ok",
            **{name: state for name, state in engines.items() if name != "ledger"},
            "sweep": "behind" if self.sweep.seconds_ago() > SWEEP_SECONDS else "ok",
            "inboxes": "full" if self.room.full() else "ok",
            **({"witness": self.witnessing.state()} if self.witnessing.is_wanted else {}),
        }
        return all(state == "ok" for name, state in states.items() if name not in BESIDE), states
