"""What is in flight from this gateway to one receiver: who is attached, how much it may be given, and whether it is tried with care."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import takewhile
from typing import Final, Literal, Protocol

from lgsp.domain.envelope import Wire
from lgsp.domain.exchange import Delivery
from lgsp.domain.limits import LIMITS
from lgsp.domain.records import Lane
from lgsp.domain.values import fixed

BULK_IN_HAND: Final = 8
"""Deliveries of bulk that a receiver has in hand at most while people ask it something."""
ASKED_LATELY: Final = 60.0
"""Seconds after a request during which places are left for others."""

Waits = Literal["anything", "bulk", "nothing"]
"""`bulk`: nothing but bulk, which has its share in flight."""


@fixed
class Handover:
    """One delivery as it is handed to its receiver; `receipt` is JSON text."""

    wire: Wire
    env: str
    to: str
    """The system whose inbox it came from."""
    receipt: str
    lease: str
    lease_until: datetime
    attempt: int

    @property
    def size(self) -> int:
        """Bytes that it takes from the receiver's credit."""
        return len(self.wire.body) + len(self.wire.compact)


class Receiver(Protocol):
    """A stream as the courier sees it; neither call may block."""

    def hand_over(self, handover: Handover) -> None:
        """Take one delivery."""

    def outcome(self, delivery: Delivery) -> None:
        """Learn what became of something this system sent."""


@dataclass(slots=True, kw_only=True, eq=False)
class Attached:
    """One receiver with the credit it gave: deliveries and bytes it is ready to take."""

    receiver: Receiver
    deliveries: int = 0
    size: int = 0
    closed: bool = False

    def give(self, deliveries: int, size: int) -> None:
        """Add credit, up to the most that one stream may hold."""
        if self.closed:
            return
        self.deliveries = min(self.deliveries + max(deliveries, 0), LIMITS.credit)
        self.size = min(self.size + max(size, 0), LIMITS.credit * LIMITS.body_bytes)

    def close(self) -> None:
        """Take all credit away: whatever is handed over from now on would reach nobody."""
        self.closed = True
        self.deliveries = self.size = 0

    @property
    def ready(self) -> bool:
        """Whether one delivery more may be handed over."""
        return self.deliveries > 0 and self.size > 0


@fixed
class Reservation:
    """A place in flight that is kept for a delivery before it is committed; `size` was charged to the holder."""

    inbox: Inbox
    holder: Attached
    source: str
    lane: Lane
    size: int


@dataclass(slots=True, kw_only=True)
class Flight:
    """A leased delivery and who holds it; None for a pull."""

    delivery: Delivery
    holder: Attached | None
    alone: bool = True
    """Whether nothing else was in flight to this receiver since it took off: only then is a failure its own."""


@dataclass(slots=True, kw_only=True)
class Inbox:
    """One system's inbox at this gateway."""

    system: str
    attached: list[Attached] = field(default_factory=list)
    flights: dict[str, Flight] = field(default_factory=dict)
    pumping: bool = False
    cautious: bool = False
    """After an abnormal end with several in flight they go out one at a time, until one is settled."""
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    pulls: set[asyncio.Event] = field(default_factory=set)
    """The bells of pulls that wait."""
    waits: Waits = "anything"
    """What may be waiting in the queue behind this inbox, as far as this gateway knows."""
    asked_at: float = float("-inf")
    """When a request was last in flight, on the loop's clock."""
    _reserved: int = 0
    _coming: Counter[Lane] = field(default_factory=Counter)
    """Deliveries that are being committed and go into the queue: what comes later does not overtake them."""
    _flying: Counter[tuple[str, Lane]] = field(default_factory=Counter)
    """Flights and places that are kept, by sender and lane."""
    _bulk: int = 0
    """How many of these are bulk."""
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    def stir(self) -> None:
        """Learn that something may have been queued."""
        self.waits = "anything"
        self.bell.set()

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Return what is held from looking for room until what is handed out is in flight: while it is tried with care, by one at a time."""
        return self._one if self.cautious else nullcontext()

    def ring(self) -> None:
        """Wake whoever hands out of this inbox: there may be room again."""
        for bell in (self.bell, *self.pulls):
            bell.set()

    def flight(self, env: str, lease: str) -> Flight | None:
        """Return what is in flight under a lease, None when it has ended here or never began."""
        found = self.flights.get(env)
        return found if found is not None and found.delivery.lease == lease else None

    def land(self, env: str, lease: str) -> None:
        """Forget a flight that ended, unless the same delivery is on its way again under another lease."""
        flight = self.flight(env, lease)
        if flight is not None:
            del self.flights[env]
            self._count(flight.delivery.source, flight.delivery.lane, -1)
        self.ring()

    def take_off(self, delivery: Delivery, holder: Attached | None) -> None:
        """Note a flight."""
        if len(self.flights) == 1:  # of more than one, each is known to have company
            for other in self.flights.values():
                other.alone = False
        if delivery.env not in self.flights:
            self._count(delivery.source, delivery.lane, 1)
        self.flights[delivery.env] = Flight(delivery=delivery, holder=holder, alone=not self.flights)

    def _count(self, source: str, lane: Lane, by: int) -> None:
        self._flying[source, lane] += by
        if not self._flying[source, lane]:
            del self._flying[source, lane]
        if lane == "bulk":
            self._bulk += by
        elif lane == "request":
            self.asked_at = asyncio.get_running_loop().time()

    def asked_by(self, source: str) -> int:
        """Return how many requests of a sender are in flight in the lane of requests."""
        return self._flying[source, "request"]

    def reserve(self, source: str, lane: Lane, size: int) -> Reservation | None:
        """Keep a place for a delivery that is about to be committed, when nothing that waits is to go before it and there is credit."""
        passes = self.waits == "nothing" or (self.waits == "bulk" and lane == "request")
        passes = passes and not (self.cautious and self._one.locked())
        if not passes or self._coming[lane] or not self.room(1) or (lane == "bulk" and self.room_for_bulk() == 0):
            return None
        holder = self.next_holder(size)
        if holder is None:
            return None
        self._reserved += 1
        self._count(source, lane, 1)
        return Reservation(inbox=self, holder=holder, source=source, lane=lane, size=size)

    def release(self, kept: Reservation, *, used: bool) -> None:
        """Give up a place that was kept; what was not used goes back to the holder's credit."""
        self._reserved -= 1
        self._count(kept.source, kept.lane, -1)
        if not used:
            kept.holder.give(1, kept.size)
            self.ring()

    def await_coming(self, lane: Lane) -> None:
        """Learn that a delivery is being committed that goes into the queue."""
        self._coming[lane] += 1

    def come(self, lane: Lane) -> None:
        """Learn that it is there, or was not accepted."""
        self._coming[lane] -= 1
        self.stir()

    def learn(self, lanes: Sequence[Lane], *, room: int, bulk: int | None) -> None:
        """Learn from what was taken of the queue when there was room for so many, of bulk for so many, what may still wait there."""
        if self.waits == "anything":  # it was stirred meanwhile
            return
        if len(lanes) >= room:
            self.waits = "anything"
        elif bulk is not None and lanes.count("bulk") >= bulk:
            self.waits = "bulk"

    def room_for_bulk(self) -> int | None:
        """Return how many deliveries of bulk may be taken, None when all may be.

        While people ask this receiver something, bulk holds at most half of what it handles at once, so that a question finds a place, and few,
        for the question is handled after what is in its hands already.
        """
        if asyncio.get_running_loop().time() - self.asked_at > ASKED_LATELY:
            return None
        window = len(self.flights) + self._reserved + sum(each.deliveries for each in self.attached)
        return max(min(max(window // 2, 1), BULK_IN_HAND) - self._bulk, 0)

    def covered(self, sizes: Iterable[int]) -> int:
        """Return how many deliveries of these sizes, in this order, the receivers' credit covers."""
        trial = Inbox(system=self.system, attached=[replace(each) for each in self.attached])
        return sum(1 for _ in takewhile(lambda size: trial.next_holder(size) is not None, sizes))

    def room(self, limit: int) -> int:
        """Return how many deliveries may be taken for those who are attached, at most `limit`."""
        return min(self.room_for_pull(limit), sum(each.deliveries for each in self.attached if each.ready))

    def room_for_pull(self, limit: int) -> int:
        """Return how many deliveries may be taken now, at most `limit`."""
        if self.cautious:
            return 0 if self.flights or self._reserved else min(1, limit)
        return limit

    def next_holder(self, size: int) -> Attached | None:
        """Charge a delivery of `size` bytes to a receiver with credit and return it, or None when all have gone."""
        holder = max((each for each in self.attached if each.ready), key=lambda each: each.deliveries, default=None)
        if holder is not None:
            holder.deliveries -= 1
            holder.size -= size
        return holder
