"""The transport without a broker: the ledger's own rows are the queues, so nothing is carried and nothing can be lost on the way.

Which parcels are held is known to this process alone. A gateway that starts alone has nothing held; several gateways need a broker.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from lgsp.domain.exchange import Delivery
from lgsp.domain.records import Lane
from lgsp.errors import Refusal
from lgsp.ports.inboxes import Inboxes, Parcel

LANES: Final[tuple[Lane, ...]] = ("request", "event", "bulk")
TURNS: Final[tuple[Lane, ...]] = (
    "request", "request", "event", "request", "request", "event", "request", "request", "event", "request", "request", "bulk",
)  # fmt: skip
"""Whose turn it is, one after the other: 8 for requests, 3 for events, 1 for bulk, spread evenly."""


class EmbeddedTransport:
    """Inboxes drawn from the rows of deliveries; for one event loop."""

    def __init__(self, inboxes: Inboxes) -> None:
        self._inboxes = inboxes
        self._held: defaultdict[str, set[str]] = defaultdict(set)
        self._turn: Counter[str] = Counter()
        self._watchers: defaultdict[str, dict[object, Callable[[], None]]] = defaultdict(dict)

    @property
    def embedded(self) -> bool:
        """Whether the queue is the ledger's own rows: it is."""
        return True

    async def publish(self, parcels: Sequence[Parcel]) -> None:
        """Tell the receivers; the rows are durable already."""
        self.wake([parcel.delivery for parcel in parcels])

    async def take(self, inbox: str, limit: int) -> list[Parcel]:
        """Return up to `limit` parcels that nobody holds, drawn from the lanes by turns; what a lane leaves unused goes to the others."""
        taken: list[Parcel] = []
        try:
            shares = self._shares(inbox, limit)
            full = [lane for lane in LANES if not shares[lane]]
            for lane in LANES:
                found = await self._draw(inbox, lane, shares[lane], taken)
                if shares[lane] and found == shares[lane]:
                    full.append(lane)
            for lane in sorted(full, key=LANES.index):
                await self._draw(inbox, lane, limit - len(taken), taken)
        except BaseException:
            self._held[inbox].difference_update(parcel.delivery.env for parcel in taken)
            raise
        return taken

    def _shares(self, inbox: str, limit: int) -> Counter[Lane]:
        """Return how many of the next turns are whose."""
        start = self._turn[inbox]
        turns = max(limit, 0)
        self._turn[inbox] = (start + turns) % len(TURNS)
        return Counter(TURNS[(start + turn) % len(TURNS)] for turn in range(turns))

    async def _draw(self, inbox: str, lane: Lane, limit: int, taken: list[Parcel]) -> int:
        """Hold up to `limit` more parcels of a lane and return how many."""
        if limit <= 0:
            return 0
        held = self._held[inbox]
        found = await self._inboxes.queued(inbox, lane, limit, tuple(held))
        # While the rows were read somebody else may have taken the same ones.
        fresh = [parcel for parcel in found if parcel.delivery.env not in held]
        held.update(parcel.delivery.env for parcel in fresh)
        taken.extend(fresh)
        return len(fresh)

    async def release(self, env: str, inbox: str) -> None:
        """Let go of a parcel; if its row is queued (again), those who watch the inbox are told."""
        self._held[inbox].discard(env)
        try:
            delivery = await self._inboxes.delivery(env, inbox)
        except Refusal:
            # The rows are away: whoever watches looks again, and finds them back or is refused there.
            self._ring(inbox)
            return
        if delivery is not None and delivery.state == "queued":
            self._ring(inbox)

    def wake(self, deliveries: Sequence[Delivery]) -> None:
        """Call those who watch the inboxes of these deliveries, each once; to be called on the event loop's thread."""
        for inbox in {delivery.to for delivery in deliveries}:
            self._ring(inbox)

    def _ring(self, inbox: str) -> None:
        for call in tuple(self._watchers[inbox].values()):
            call()

    def watch(self, inbox: str, call: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever the inbox may hold something new; `call` must neither block nor raise. Return what ends the watch."""
        watch = object()
        self._watchers[inbox][watch] = call

        def end() -> None:
            # Ending twice is harmless: both sides of a connection that breaks may do it.
            self._watchers[inbox].pop(watch, None)

        return end
