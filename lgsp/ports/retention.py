"""Reading what has had its time: exchanges that are to be forgotten, and the evidence that stays of them. Forgetting goes through `Ledger.commit`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is kept of a forgotten exchange for as long as the log (protocol section 7); it holds no personal data."""

    env: str
    compact: bytes
    acks: tuple[str, ...]
    """The receivers' acks as JSON text, in no order."""
    receipt: str
    """The receipt as JSON text; "" of what was forgotten before receipts were kept."""
    reply: str
    """The env hash of the accepted reply, or ""."""


class Retention(Protocol):
    """The old rows."""

    async def over(self, before: datetime, limit: int) -> list[str]:
        """Return env hashes of settled exchanges whose time (`exchange.term`) ended before a moment, the oldest first."""

    async def evidence(self, env: str) -> Evidence | None:
        """Return what is kept of a forgotten exchange."""
