"""Forgetting: an exchange is kept for its life, the time for its reply and 30 days (protocol section 4, step 11), then its rows are dropped.

Entries of the log, envelopes and acks stay; what is parked stays until somebody decides. Any gateway may run it, several do no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from lgsp.bus.rhythm import is_due
from lgsp.bus.sequencer import Sequencer
from lgsp.logs import get_logger
from lgsp.ports.ledger import Forget
from lgsp.ports.retention import Retention

KEPT: Final = timedelta(days=30)
AT_ONCE: Final = 50
"""Exchanges in one step: some milliseconds of the ledger, for which a look-up may have to wait."""
EVERY: Final = timedelta(minutes=1)
"""How often is looked when nothing more is to be forgotten; else each sweep makes a step."""


@dataclass(slots=True, kw_only=True)
class Forgetting:
    """One step at a time."""

    store: Retention
    sequencer: Sequencer
    _looked: datetime | None = None

    async def step(self, now: datetime) -> None:
        """Forget up to `AT_ONCE` exchanges whose time is over."""
        if not is_due(self._looked, now, EVERY):
            return
        envs = await self.store.over(now - KEPT, AT_ONCE)
        if envs:
            await self.sequencer.submit(Forget(envs=tuple(envs)), order="bulk")
            get_logger().info("sweep.forgot", count=len(envs))
        self._looked = now if len(envs) < AT_ONCE else None
