"""Reading the statements that were given out, for whoever compares them with the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol


class Statements(Protocol):
    """Receipts and acks by their envelopes."""

    async def receipts(self, envs: Sequence[str]) -> dict[str, str]:
        """Return the receipts of those among these envelopes that are held, as JSON text by env hash."""

    async def acks(self, envs: Sequence[str]) -> dict[tuple[str, str], str]:
        """Return the acks of these envelopes that are held, as JSON text by env hash and receiver."""

    async def oldest(self) -> datetime | None:
        """Return when the oldest exchange that is held was accepted; older ones have neither receipt nor ack here."""
