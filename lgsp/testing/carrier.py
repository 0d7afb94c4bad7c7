"""A broker in memory: carries deliveries beside their rows as a real one does, and fails on command."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from lgsp.backends.watchers import Watchers
from lgsp.domain.exchange import UNHELD, Delivery
from lgsp.domain.lanes import LANES, Turns
from lgsp.domain.records import Lane
from lgsp.ports.inboxes import Inboxes, Parcel
from lgsp.ports.transport import Placed, left_of

Queues = dict[Lane, deque[Parcel]]


class MemoryCarrier:
    """A transport whose messages are not the ledger's rows; for one event loop."""

    def __init__(self, inboxes: Inboxes) -> None:
        self.away = False
        """Whether nothing reaches it."""
        self.full: set[str] = set()
        """Inboxes that take nothing more."""
        self.published = 0
        self._inboxes = inboxes
        self._queues: defaultdict[str, Queues] = defaultdict(lambda: {lane: deque() for lane in LANES})
        self._held: defaultdict[str, dict[str, Parcel]] = defaultdict(dict)
        self._turns: defaultdict[str, Turns] = defaultdict(Turns)
        self._watchers = Watchers()

    def lose(self) -> None:
        """Lose every message, as a broker whose disk is gone."""
        self._queues.clear()
        self._held.clear()

    def lose_lane(self, inbox: str, lane: Lane) -> None:
        """Lose what waits in one lane of an inbox, as a broker of which a queue was purged."""
        self._queues[inbox][lane].clear()

    @property
    def embedded(self) -> bool:
        """Whether the queue is the ledger's own rows: it is not."""
        return False

    async def publish(self, parcels: Sequence[Parcel]) -> list[Placed]:
        """Queue what there is room for, while it can be reached."""
        placed = [self._place(parcel) for parcel in parcels]
        self.wake([parcel.delivery for parcel, word in zip(parcels, placed, strict=True) if word == "queued"])
        return placed

    def _place(self, parcel: Parcel) -> Placed:
        if self.away:
            return "unavailable"
        if parcel.delivery.to in self.full:
            return "inbox_full"
        self._queues[parcel.delivery.to][parcel.delivery.lane].append(parcel)
        self.published += 1
        return "queued"

    async def take(self, inbox: str, limit: int, *, bulk: int | None = None) -> list[Parcel]:
        """Return up to `limit` parcels whose rows are to go out; the others are forgotten."""
        taken: list[Parcel] = []
        while not self.away and (drawn := self._draw(inbox, limit - len(taken), left_of(bulk, taken))):
            rows = await self._inboxes.held(inbox, [parcel.delivery.env for parcel in drawn])
            for parcel in drawn:
                row = rows.get(parcel.delivery.env)
                if row is not None and row.state in UNHELD and row.env not in self._held[inbox]:
                    self._held[inbox][row.env] = parcel
                    taken.append(replace(parcel, delivery=row))
        return taken

    def _draw(self, inbox: str, limit: int, bulk: int | None) -> list[Parcel]:
        queues, drawn = self._queues[inbox], list[Parcel]()
        shares = self._turns[inbox].shares(limit, bulk=bulk)
        for lane, share in shares.items():
            drawn += [queues[lane].popleft() for _ in range(min(share, len(queues[lane])))]
        for lane in LANES:  # what a lane leaves unused goes to the others
            most = limit if lane != "bulk" or bulk is None else bulk - shares[lane]
            drawn += [queues[lane].popleft() for _ in range(min(limit - len(drawn), len(queues[lane]), most))]
        return drawn

    async def drop(self, inbox: str, envs: Sequence[str]) -> None:
        """Forget parcels that were taken."""
        for env in envs:
            self._held[inbox].pop(env, None)

    async def put_back(self, inbox: str, envs: Sequence[str]) -> None:
        """Put parcels back in front of their lanes."""
        back = [parcel for env in envs if (parcel := self._held[inbox].pop(env, None)) is not None]
        for parcel in reversed(back):
            self._queues[inbox][parcel.delivery.lane].appendleft(parcel)
        self.wake([parcel.delivery for parcel in back])

    def wake(self, deliveries: Sequence[Delivery]) -> None:
        """Call those who watch the inboxes of these deliveries."""
        self._watchers.wake(deliveries)

    def watch(self, inbox: str, call: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever the inbox may hold something new; return what ends the watch."""
        return self._watchers.watch(inbox, call)

    async def carried(self, inbox: str) -> dict[Lane, int] | None:
        """Return how many messages wait in each lane, None while it is away."""
        return None if self.away else {lane: len(queue) for lane, queue in self._queues[inbox].items()}
