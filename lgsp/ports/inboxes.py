"""Reading the rows of deliveries: what is queued for whom, what is due, what became of what was sent. Changes go through `Ledger.commit`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from lgsp.domain.exchange import Delivery, State
from lgsp.domain.records import Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A delivery with all that is handed over."""

    delivery: Delivery
    compact: bytes
    receipt: str
    sealed: bytes
    day: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How much of one sender is in one state and lane of an inbox: deliveries, and the bytes of their envelopes."""

    inbox: str
    source: str
    lane: Lane
    state: State
    count: int
    size: int


class Inboxes(Protocol):
    """The rows of deliveries."""

    async def queued(self, inbox: str, lane: Lane, limit: int, skip: Sequence[str] = ()) -> list[Parcel]:
        """Return the first `limit` queued deliveries of one lane in the order of acceptance, without the env hashes in `skip`."""

    async def parcel(self, env: str, to: str) -> Parcel | None:
        """Return one delivery with its content, while the body is held."""

    async def deliveries(self, env: str) -> list[Delivery]:
        """Return all deliveries of an envelope."""

    async def held(self, to: str, envs: Sequence[str]) -> dict[str, Delivery]:
        """Return the deliveries of these envelopes to one inbox, by env hash, as far as they are there."""

    async def due(self, now: datetime, limit: int) -> list[Delivery]:
        """Return open deliveries whose lease, pause or expiry is over at `now`, and those accepted and not queued in time.

        Those due for longest come first, then in the order of acceptance: what cannot be placed goes behind all that waits to be looked at.
        One that is leased is due when its lease is over, whatever its expiry (`exchange.next_due`).
        """

    async def in_state(self, state: State, limit: int, *, but: Sequence[str] = ()) -> list[Delivery]:
        """Return the first `limit` deliveries in one open state, in the order of acceptance; without those whose lease one of `but` holds."""

    async def outcomes(self, source: str, limit: int) -> list[Delivery]:
        """Return what `source` sent, is settled or parked, and was not yet seen by it; in the order of acceptance."""

    async def depths(self) -> list[Depth]:
        """Return what is open, by inbox, sender, lane and state in this order."""
