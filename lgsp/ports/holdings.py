"""What is held of exchanges, and what stays of them, by the hundred: for whoever compares it with the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from lgsp.domain.exchange import Delivery, Exchange
from lgsp.ports.ledger import SubjectLink
from lgsp.ports.retention import Evidence


class Holdings(Protocol):
    """Exchanges with all that hangs on them."""

    async def exchanges_of(self, envs: Sequence[str]) -> list[Exchange]:
        """Return the exchanges of those among these env hashes that are held, in no order."""

    async def deliveries_of(self, envs: Sequence[str]) -> list[Delivery]:
        """Return all deliveries of these envelopes that are held, in no order."""

    async def evidence_of(self, envs: Sequence[str]) -> list[Evidence]:
        """Return what stays of those among these env hashes whose exchanges are forgotten, in no order."""

    async def persons_of(self, envs: Sequence[str]) -> Mapping[str, Sequence[SubjectLink]]:
        """Return the persons that these envelopes name, as pseudonyms, by env hash."""

    async def oldest(self) -> datetime | None:
        """Return when the oldest exchange that is held was accepted."""
