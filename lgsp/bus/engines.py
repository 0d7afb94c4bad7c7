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
FRESH: Final = 1.0
"""Seconds for which what a look saw is told to whoever asks: anybody may ask, and is to cost the engines nothing."""
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
    _looked_at: float = float("-inf")
    """When the last look ended, on the loop's clock."""
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)

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
            async with self._looking:
                states = await self._look()
            self._unanswered = 0 if states["ledger"] == "ok" else self._unanswered + 1
            await asyncio.sleep(EVERY)

    async def seen(self) -> dict[str, str]:
        """Return the state of each part, `ok` or what is wrong in a word, as it was at most `FRESH` seconds ago.

        There is one look at a time, and whoever asks meanwhile is told what it sees: `LOOK_SECONDS` later at the latest.
        """
        async with self._looking:
            if asyncio.get_running_loop().time() - self._looked_at >= FRESH:
                await self._look()
        return self.states

    async def _look(self) -> dict[str, str]:
        probes = {"ledger": self._ledger, **self.probes}
        found = await asyncio.gather(*(self._state(name, probe) for name, probe in probes.items()))
        states = dict(zip(probes, found, strict=True))
        for name, state in states.items():
            if self.states.get(name, "ok") != state:
                get_logger().warning("engine.changed", engine=name, state=state)
        self.states, self._looked_at = states, asyncio.get_running_loop().time()
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
