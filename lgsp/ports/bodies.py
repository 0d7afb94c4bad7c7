"""Reading the sealed bodies that are held: in flight, parked, or archived. Changes go through `Ledger.commit`, keys are `DirectoryStore`'s."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from lgsp.domain.exchange import Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedBody:
    """A body as it is held, and the day whose key sealed it, `YYYY-MM-DD`."""

    day: str
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DayHeld:
    """How many bodies of one day are held: for a receiver yet, for a person's decision alone, or archived alone."""

    day: str
    in_flight: int
    parked: int
    archived: int


class Bodies(Protocol):
    """The sealed bodies."""

    async def body_of(self, env: str) -> SealedBody | None:
        """Return the body of an envelope while it is held, after its exchange is forgotten too."""

    async def bodies_by_day(self) -> list[DayHeld]:
        """Return how many bodies are held of each day of which there are any, the oldest day first."""

    async def undelivered(self, day: str, limit: int) -> list[Delivery]:
        """Return the first `limit` open deliveries of bodies of a day that nobody has leased, in the order of acceptance."""

    async def archived(self, day: str, limit: int) -> list[str]:
        """Return the env hashes of up to `limit` bodies of a day that are archived and of which nothing is open, in no order."""

    async def archive_over(self, now: datetime, limit: int) -> list[str]:
        """Return the env hashes of up to `limit` bodies whose time in the archive is over and of which nothing is open, the oldest first."""
