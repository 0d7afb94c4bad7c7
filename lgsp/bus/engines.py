"""The engines under a gateway, looked at once a second: whether each answers, and how quickly.

While the ledger is away, whoever asks is refused at once: what would wait for it would wait for the limits of the driver, one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from lgsp.errors import Refusal
from lgsp.logs import get_logger
from lgsp.ports.ledger import Ledger

EVERY: Final = 1.0
"""Seconds between looks."""
LOOK_SECONDS: Final = 2.0
"""How long an engine may take to answer before it is called away."""
GIVEN_UP_AFTER: Final = 2
"""Looks in a row without an answer, after which the ledger is given up: one alone may be a busy moment."""

Probe = Callable[[], Awaitable[str]]
"""Tells the state of one part in a word: `ok`, or what is wrong."""


@dataclass(slots=True, kw_only=True)
class Engines:
    """Looks at the ledger's engine and at further parts, and remembers what it saw."""

    ledger: Ledger
    probes: Mapping[str, Probe] = field(default_factory=dict)
    """Further parts, by name."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each part took at the last look that it answered."""
    states: dict[str, str] = field(default_factory=dict)
    """What the last look saw."""
    _unanswered: int = 0

    @property
    def is_ledger_given_up(self) -> bool:
        """Whether the ledger has not answered for so long that nothing is asked of it but whether it is back."""
        return self._unanswered >= GIVEN_UP_AFTER

    def check(self) -> None:
        """Refuse (`unavailable`) while the ledger is given up."""
        if self.is_ledger_given_up:
            raise Refusal("unavailable", "the ledger does not answer")

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            states = await self.look()
            self._unanswered = 0 if states["ledger"] == "ok" else self._unanswered + 1
            await asyncio.sleep(EVERY)

    async def look(self) -> dict[str, str]:
        """Return the state of each part now, in `LOOK_SECONDS` at the latest: `ok`, or what is wrong in a word."""
        probes = {"ledger": self._ledger, **self.probes}
        found = await asyncio.gather(*(self._state(name, probe) for name, probe in probes.items()))
        states = dict(zip(probes, found, strict=True))
        for name, state in states.items():
            if self.states.get(name, "ok") != state:
                get_logger().warning("engine.changed", engine=name, state=state)
        self.states = states
        return states

    async def _state(self, name: str, probe: Probe) -> str:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                state = await probe()
        except (Refusal, TimeoutError):
            return "away"
        self.seconds[name] = clock() - began
        return state

    async def _ledger(self) -> str:
        await self.ledger.size()
        return "ok"
