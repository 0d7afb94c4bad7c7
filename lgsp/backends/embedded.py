"""The transport without a broker: the ledger's own rows are the queues, so nothing is carried and nothing can be lost on the way.

What is held lies between a `take` and the lease of its row, and is known to this process alone; the row decides between processes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from lgsp.backends.watchers import Watchers
from lgsp.domain.exchange import Delivery
from lgsp.domain.lanes import LANES, Turns
from lgsp.domain.records import Lane
from lgsp.ports.inboxes import Inboxes, Parcel
from lgsp.ports.transport import Placed


class EmbeddedTransport:
    """Inboxes drawn from the rows of deliveries; for one event loop."""

    def __init__(self, inboxes: Inboxes) -> None:
        self._inboxes = inboxes
        self._held: defaultdict[str, set[str]] = defaultdict(set)
        self._turns: defaultdict[str, Turns] = defaultdict(Turns)
        self._watchers = Watchers()

    @property
    def embedded(self) -> bool:
        """Whether the queue is the ledger's own rows: it is."""
        return True

    async def publish(self, parcels: Sequence[Parcel]) -> list[Placed]:
        """Tell the receivers; the rows are durable already."""
        self.wake([parcel.delivery for parcel in parcels])
        return ["queued" for _ in parcels]

    async def take(self, inbox: str, limit: int, *, bulk: int | None = None) -> list[Parcel]:
        """Return up to `limit` parcels that nobody holds, drawn from the lanes by turns; what a lane leaves unused goes to the others."""
        taken: list[Parcel] = []
        most = {**dict.fromkeys(LANES, limit), "bulk": limit if bulk is None else bulk}
        try:
            shares = self._turns[inbox].shares(limit, bulk=bulk)
            full = [lane for lane in LANES if not shares[lane]]
            for lane in LANES:
                found = await self._draw(inbox, lane, shares[lane], taken)
                if shares[lane] and found == shares[lane]:
                    full.append(lane)
            for lane in sorted(full, key=LANES.index):
                await self._draw(inbox, lane, min(limit - len(taken), most[lane] - shares[lane]), taken)
        except BaseException:
            self._held[inbox].difference_update(parcel.delivery.env for parcel in taken)
            raise
        return taken

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

    async def drop(self, inbox: str, envs: Sequence[str]) -> None:
        """Let go of parcels; their rows are not queued any more, so they do not come again."""
        self._held[inbox].difference_update(envs)

    async def put_back(self, inbox: str, envs: Sequence[str]) -> None:
        """Let go of parcels whose rows are queued, and tell those who watch the inbox."""
        self._held[inbox].difference_update(envs)
        if envs:
            self._watchers.ring(inbox)

    def wake(self, deliveries: Sequence[Delivery]) -> None:
        """Call those who watch the inboxes of these deliveries, each once; to be called on the event loop's thread."""
        self._watchers.wake(deliveries)

    def watch(self, inbox: str, call: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever the inbox may hold something new; `call` must neither block nor raise. Return what ends the watch."""
        return self._watchers.watch(inbox, call)

    async def carried(self, inbox: str) -> dict[Lane, int] | None:
        """Return how many rows of each lane are queued and not held."""
        waiting: Counter[Lane] = Counter()
        for depth in await self._inboxes.depths():
            if depth.inbox == inbox and depth.state == "queued":
                waiting[depth.lane] += depth.count
        held = await self._inboxes.held(inbox, tuple(self._held[inbox]))
        waiting.subtract(row.lane for row in held.values() if row.state == "queued")
        return {lane: max(waiting[lane], 0) for lane in LANES}
