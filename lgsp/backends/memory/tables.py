"""What the memory backend holds, and the stage on which one commit works: all of it is taken over, or nothing."""

from __future__ import annotations

from collections import ChainMap, defaultdict
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime

from lgsp.domain.exchange import SETTLED, Delivery, Exchange, ExchangeKey
from lgsp.domain.mentions import Mention
from lgsp.domain.records import Lane
from lgsp.domain.withholding import Withholding
from lgsp.ports.directory import SignedRecords
from lgsp.ports.ledger import SubjectLink
from lgsp.ports.retention import Evidence

Place = tuple[str, str]
"""(env, to): one delivery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A sealed body and the day of its key."""

    sealed: bytes
    day: str
    kept_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows by their keys; None stands for a row that was dropped."""

    exchanges: MutableMapping[ExchangeKey, Exchange] = field(default_factory=dict)
    keys: MutableMapping[str, ExchangeKey] = field(default_factory=dict)
    places: MutableMapping[str, Sequence[Place]] = field(default_factory=dict)
    deliveries: MutableMapping[Place, Delivery] = field(default_factory=dict)
    unseen: MutableMapping[Place, bool] = field(default_factory=dict)
    bodies: MutableMapping[str, Body | None] = field(default_factory=dict)
    subjects: MutableMapping[str, Sequence[SubjectLink]] = field(default_factory=dict)
    indexes: MutableMapping[str, int] = field(default_factory=dict)
    """Env hash -> the entry by which it was accepted, of exchanges that name a person."""
    withholdings: MutableMapping[str, Withholding] = field(default_factory=dict)
    subject_keys: MutableMapping[str, bool] = field(default_factory=dict)
    """Name -> whether it was retired."""
    nonces: MutableMapping[str, datetime | None] = field(default_factory=dict)
    versions: MutableMapping[int, SignedRecords] = field(default_factory=dict)
    documents: MutableMapping[str, bytes] = field(default_factory=dict)
    body_keys: MutableMapping[str, bytes | None] = field(default_factory=dict)
    checkpoints: MutableMapping[int, str] = field(default_factory=dict)
    cosigned: MutableMapping[int, str] = field(default_factory=dict)
    subtrees: MutableMapping[tuple[int, int], bytes] = field(default_factory=dict)
    mentions: MutableMapping[int, Mention] = field(default_factory=dict)

    def staged(self) -> Rows:
        """Return rows that show these and take changes without touching them."""
        return Rows(**{each.name: ChainMap({}, getattr(self, each.name)) for each in fields(self)})

    def take_over(self, staged: Rows) -> None:
        """Make what was changed in `staged` the truth."""
        for each in fields(self):
            rows = getattr(self, each.name)
            rows.update(getattr(staged, each.name).maps[0])
            for key in [key for key in getattr(staged, each.name).maps[0] if rows[key] is None]:
                del rows[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Everything that was committed: the log, the rows, and which deliveries are open, queued or news to whom."""

    entries: list[bytes] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    rows: Rows = field(default_factory=Rows)
    open: set[Place] = field(default_factory=set)
    queues: defaultdict[tuple[str, Lane], set[Place]] = field(default_factory=lambda: defaultdict(set))
    news: defaultdict[str, set[Place]] = field(default_factory=lambda: defaultdict(set))
    evidence: dict[str, Evidence] = field(default_factory=dict)

    def sort(self, place: Place) -> None:
        """Note where a delivery stands now."""
        delivery = self.rows.deliveries[place]
        _keep(self.open, place, wanted=delivery.state not in SETTLED)
        _keep(self.queues[delivery.to, delivery.lane], place, wanted=delivery.state == "queued")
        _keep(self.news[delivery.source], place, wanted=self.rows.unseen[place])

    def is_open(self, env: str) -> bool:
        """Tell whether something of an exchange can still change."""
        return any(place in self.open for place in self.rows.places.get(env, ()))

    def forget(self, env: str) -> None:
        """Drop the rows of an exchange and keep its envelope, receipt and acks, unless something of it is open."""
        if env not in self.rows.keys or self.is_open(env):
            return
        held = self.rows.exchanges.pop(self.rows.keys.pop(env))
        gone = [self.rows.deliveries.pop(place) for place in self.rows.places.pop(env, ())]
        acks = tuple(each.ack for each in gone if each.ack)
        self.evidence[env] = Evidence(env=env, compact=held.compact, acks=acks, receipt=held.receipt, reply=held.reply)
        for each in gone:
            self.rows.unseen.pop((env, each.to))
            self.news[each.source].discard((env, each.to))


def _keep(places: set[Place], place: Place, *, wanted: bool) -> None:
    if wanted:
        places.add(place)
    else:
        places.discard(place)
