"""What becomes of an accepted envelope: the exchange, its deliveries, their states and legal moves (protocol section 5)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Literal

from lgsp.domain.records import Lane
from lgsp.domain.values import fixed

State = Literal["accepted", "queued", "leased", "waiting", "acked", "rejected", "parked", "expired"]

MOVES: Final[dict[State, frozenset[State]]] = {
    "accepted": frozenset({"accepted", "queued", "leased", "acked", "rejected", "parked", "expired"}),
    "queued": frozenset({"accepted", "leased", "acked", "rejected", "parked", "expired"}),
    "leased": frozenset({"accepted", "queued", "leased", "waiting", "acked", "rejected", "parked", "expired"}),
    "waiting": frozenset({"accepted", "queued", "acked", "rejected", "expired"}),
    "parked": frozenset({"accepted", "queued", "acked", "rejected", "expired"}),
    "acked": frozenset(),
    "rejected": frozenset(),
    "expired": frozenset(),
}
"""Which state may follow which. An ack counts from any state that is not settled: a late one is still the receiver's word.

`accepted` is what a broker has yet to confirm: at first, and each time a delivery is to go out again. A message that arrives before that is noted
is leased all the same.
"""

SETTLED: Final[frozenset[State]] = frozenset({"acked", "rejected", "expired"})
"""States from which nothing moves."""

OPEN: Final[frozenset[State]] = frozenset(MOVES) - SETTLED
"""States that can still change."""

UNHELD: Final[frozenset[State]] = frozenset({"accepted", "queued"})
"""States of a delivery that is to go out and that nobody holds."""

OUTCOMES: Final[frozenset[State]] = frozenset({"acked", "rejected", "expired", "parked"})
"""States that the sender is told of."""

AT_ONCE: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When something is due that waits for nothing."""

ExchangeKey = tuple[str, str]
"""(`source`, `id`): what makes an envelope the same one again."""


@fixed
class Exchange:
    """An accepted envelope as the ledger keeps it."""

    source: str
    id: str
    env: str
    type: str
    audience: str
    receivers: tuple[str, ...]
    """The systems (principals) it was addressed to in the end: who may answer."""
    accepted_at: datetime
    expires: datetime
    reply_until: datetime | None
    """Until when an answer is taken; None when none is awaited."""
    cause: str
    """The env hash of the request that this answers, or ""."""
    reply: str
    """The env hash of the accepted reply, or ""."""
    policy: int
    rule: str
    compact: bytes
    receipt: str
    """The first receipt, as JSON text, given again byte for byte."""

    @property
    def key(self) -> ExchangeKey:
        """What makes an envelope the same one again."""
        return self.source, self.id

    @property
    def term(self) -> datetime:
        """Until when it lives, the time for its reply included."""
        return self.expires if self.reply_until is None else self.expires + (self.reply_until - self.accepted_at)


@fixed
class Delivery:
    """One receiver's part of an exchange: the authority on where it stands."""

    env: str
    to: str
    """The system whose inbox holds it: the receiver or its bridge."""
    source: str
    id: str
    lane: Lane
    state: State
    attempts: int
    """Attempts that counted: alone in flight and failed, or put back by the receiver."""
    lease: str
    lease_until: datetime | None
    due_at: datetime | None
    expires: datetime
    code: str
    ack: str
    """The receiver's ack as JSON text, or ""."""
    final: bool
    """Whether it was handed out in the answer to a waiting call, and so is settled when the lease ends."""
    order: int
    """Position in the log of the entry that accepted it: the order of the inbox."""
    size: int
    """Bytes of the envelope: compact JWS and sealed body."""
    subscriptions: tuple[str, ...] = ()
    """The subscriptions that made it, by the ids of their records; empty for what is addressed to the receiver itself."""

    def moved(
        self,
        state: State,
        *,
        attempts: int | None = None,
        lease: str = "",
        lease_until: datetime | None = None,
        due_at: datetime | None = None,
        code: str = "",
        ack: str = "",
    ) -> Delivery:
        """Return it as it stands after a move; its attempts are what they were unless they are said, all else as in nobody's hand."""
        # Written out, for every delivery is moved twice: `replace` looks at all fields and takes twice as long.
        return Delivery(
            env=self.env,
            to=self.to,
            source=self.source,
            id=self.id,
            lane=self.lane,
            state=state,
            attempts=self.attempts if attempts is None else attempts,
            lease=lease,
            lease_until=lease_until,
            due_at=due_at,
            expires=self.expires,
            code=code,
            ack=ack,
            final=False,
            order=self.order,
            size=self.size,
            subscriptions=self.subscriptions,
        )


def may_move(old: State, new: State) -> bool:
    """Tell whether a delivery may go from one state to the other."""
    return new in MOVES[old]


def next_due(
    state: State, *, lease_until: datetime | None, due_at: datetime | None, expires: datetime
) -> datetime | None:
    """Return when somebody must look at a delivery again though nobody asked; None once it is settled.

    A lease outlives the expiry: what was handed over in time may still be acknowledged.
    """
    match state:
        case "leased":
            return lease_until or AT_ONCE
        case "accepted" | "waiting":
            return min(due_at or AT_ONCE, expires)
        case "queued" | "parked":
            return expires
        case _:
            return None
