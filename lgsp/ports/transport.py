"""The transport: carries accepted deliveries to the gateway that serves the receiver. The row is the authority, the message a carrier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from lgsp.domain.exchange import Delivery
from lgsp.ports.inboxes import Parcel


class Transport(Protocol):
    """A durable queue per inbox, with a lane for each kind of traffic."""

    @property
    def embedded(self) -> bool:
        """Whether the queue is the ledger's own rows, so that what is committed as queued needs no publishing."""

    async def publish(self, parcels: Sequence[Parcel]) -> None:
        """Put parcels into their inboxes and return when each is durable; refuse as `inbox_full` or `unavailable`."""

    async def take(self, inbox: str, limit: int) -> list[Parcel]:
        """Return up to `limit` parcels that nobody holds, drawn from the lanes by weight; each is held until `release`."""

    async def release(self, env: str, inbox: str) -> None:
        """Let go of a parcel that was taken: its row decides whether it comes again."""

    def wake(self, deliveries: Sequence[Delivery]) -> None:
        """Tell that these deliveries have become queued."""

    def watch(self, inbox: str, call: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever the inbox may hold something new; return what ends the watch."""
