"""The transport: carries accepted deliveries to the gateway that serves the receiver. The row is the authority, the message a carrier.

Whoever takes a parcel leases its row and drops the parcel; from then on only the row says what becomes of the delivery. One that is to go out
again is published again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from lgsp.domain.exchange import Delivery
from lgsp.domain.records import Lane
from lgsp.ports.inboxes import Parcel

Placed = Literal["queued", "inbox_full", "unavailable"]
"""What became of a parcel that was published; after `unavailable` it may be there all the same, and publishing it again is harmless."""


def left_of(bulk: int | None, taken: Sequence[Parcel]) -> int | None:
    """Return how many more parcels of the bulk lane may be taken after these."""
    return None if bulk is None else bulk - sum(parcel.delivery.lane == "bulk" for parcel in taken)


class Transport(Protocol):
    """A durable queue per inbox, with a lane for each kind of traffic."""

    @property
    def embedded(self) -> bool:
        """Whether the queue is the ledger's own rows, so that what is committed as queued needs no publishing."""

    async def publish(self, parcels: Sequence[Parcel]) -> list[Placed]:
        """Put parcels into their inboxes and return what became of each: durable, or why not; a carrier that is away raises nothing."""

    async def take(self, inbox: str, limit: int, *, bulk: int | None = None) -> list[Parcel]:
        """Return up to `limit` parcels that nobody holds, drawn from the lanes by weight; each is held until it is dropped or put back.

        At most `bulk` of them are of the bulk lane, if that is given. Empty while the carrier is away.
        """

    async def drop(self, inbox: str, envs: Sequence[str]) -> None:
        """Forget parcels that were taken: their rows have moved on. What is not held is passed over."""

    async def put_back(self, inbox: str, envs: Sequence[str]) -> None:
        """Give back parcels that were taken and not touched: they come again, before what came later."""

    def wake(self, deliveries: Sequence[Delivery]) -> None:
        """Tell that these deliveries have become queued."""

    def watch(self, inbox: str, call: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever the inbox may hold something new; `call` neither blocks nor raises. Return what ends the watch."""

    async def carried(self, inbox: str) -> dict[Lane, int] | None:
        """Return how many parcels each lane of the inbox holds, those that are taken not counted; None while that cannot be told."""
