"""What a commit decides, for both engines: each operation on what the ones before it left, without a word to the database.

What the tables held when the transaction began is asked of `Known`; what is to be written is gathered in `Writes`, each row once however often
it changed. Receipts are signed before anything is written. Reading, writing, beginning and committing are left to the engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Protocol, assert_never

from lgsp.backends.sql.rows import (
    Row,
    body_row,
    delivery_row,
    exchange_row,
    mention_row,
    milliseconds,
    standing_row,
    withholding_row,
)
from lgsp.domain import merkle
from lgsp.domain.entries import Draft
from lgsp.domain.exchange import SETTLED, ExchangeKey
from lgsp.domain.statements import BATCH_MAX
from lgsp.domain.values import fixed
from lgsp.ports.ledger import (
    Accept,
    Catalogue,
    DestroyBodyKey,
    Done,
    DropArchived,
    EndWithholding,
    ErasePerson,
    Forget,
    KeepBodyKey,
    KeepCheckpoint,
    KeepCosigned,
    KeepSubjectKey,
    Lost,
    Move,
    Note,
    Operation,
    Publish,
    ReceiptItem,
    Refuse,
    Result,
    RetireSubjectKey,
    Seen,
    SignReceipts,
    Spend,
    Withhold,
)

Place = tuple[str, str]
"""(env, inbox): one delivery."""


@dataclass(slots=True, kw_only=True)
class Standing:
    """Where a delivery stands, as far as an operation asks; changed as the operations go on."""

    source: str
    state: str
    lease: str
    lease_until: int | None
    due_at: int | None
    expires: int


def standing_of(row: Sequence[Any]) -> Standing:
    """Return where a delivery stands by `selects.STANDING`."""
    source, state, lease, lease_until, due_at, expires = row
    return Standing(source=source, state=state, lease=lease, lease_until=lease_until, due_at=due_at, expires=expires)


def _standing_in(row: Row) -> Standing:
    """Return where a delivery stands that is not written yet."""
    return standing_of([row[name] for name in ("source", "state", "lease", "lease_until", "due_at", "expires")])


class Known(Protocol):
    """What the tables held when the transaction began."""

    @property
    def size(self) -> int:
        """The number of entries."""

    @property
    def head(self) -> int:
        """The latest version of the directory, 0 before the first."""

    def reply(self, key: ExchangeKey) -> str | None:
        """Return the env hash of an exchange's reply, "" when there is none, None when there is no such exchange."""

    def standing(self, place: Place) -> Standing | None:
        """Return where a delivery stands; one that is there is asked for once."""

    def spent_until(self, jti: str) -> int | None:
        """Return until when a `jti` is remembered, in milliseconds."""

    def records(self) -> set[bytes]:
        """Return the hashes of the records in the latest version of the directory."""

    def covered(self) -> int:
        """Return how many entries the kept checkpoint covers, -1 before the first."""

    def withholds(self, rule: str) -> bool:
        """Tell whether there is a withholding rule of this id that has not been ended."""

    def makes(self, key: str) -> bool:
        """Tell whether a subject key of this name is kept that was not retired."""

    def catalogued(self) -> int:
        """Return how many entries the catalogue covers."""

    def seals(self, day: str) -> bool:
        """Tell whether the body key of a day is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A version of the directory: its row, the records that are new, and the hashes of those that are gone."""

    version: Row
    added: list[Row]
    gone: list[Row]


@dataclass(slots=True, kw_only=True)
class Writes:
    """The rows to write, no row in two of them but for what goes: new ones, changes of old ones and sightings may be written in any order.

    A body is dropped after its deliveries are as they are to be, and one that is new after it was written.
    """

    entries: list[Row] = field(default_factory=list)
    exchanges: dict[ExchangeKey, Row] = field(default_factory=dict)
    deliveries: dict[Place, Row] = field(default_factory=dict)
    bodies: list[Row] = field(default_factory=list)
    subjects: list[Row] = field(default_factory=list)
    replies: dict[ExchangeKey, str] = field(default_factory=dict)
    seen: dict[Place, None] = field(default_factory=dict)
    """Old deliveries whose outcome was seen; those in `moves` say so themselves."""
    moves: dict[Place, Row] = field(default_factory=dict)
    settled: dict[str, None] = field(default_factory=dict)
    """Env hashes whose bodies go unless another delivery is open."""
    forget: int | None = None
    """The moment at which remembered `jti`s are over are forgotten, before `nonces` are written."""
    nonces: dict[str, int] = field(default_factory=dict)
    publications: list[Publication] = field(default_factory=list)
    documents: dict[str, bytes] = field(default_factory=dict)
    """Those that are there already keep their bytes, as do body keys."""
    checkpoint: Row | None = None
    cosigned: list[Row] = field(default_factory=list)
    """Of these and of what is there the one over the most entries stays, of two over as many the last."""
    subtrees: list[Row] = field(default_factory=list)
    """Those that are there already stay."""
    mentions: dict[int, Row] = field(default_factory=dict)
    """Those that are there already stay."""
    body_keys: dict[str, bytes] = field(default_factory=dict)
    destroyed: dict[str, None] = field(default_factory=dict)
    """Days whose old body keys go, before new ones are written."""
    unarchived: dict[str, None] = field(default_factory=dict)
    """Env hashes of archived bodies that go unless a delivery is open."""
    forgotten: dict[str, None] = field(default_factory=dict)
    """Env hashes of exchanges whose rows go, after everything else, unless something of them is open."""
    erased: dict[bytes, None] = field(default_factory=dict)
    """Pseudonyms whose old rows go, before new ones are written."""
    withholdings: list[Row] = field(default_factory=list)
    ended: dict[str, int] = field(default_factory=dict)
    """Withholding rules that end, and when; written after the new ones."""
    subject_keys: dict[str, int] = field(default_factory=dict)
    """Names of subject keys; those that are there already stay."""
    retired: dict[str, int] = field(default_factory=dict)
    """Names of subject keys that are retired, and when; written after the new ones."""


@fixed
class Unsigned:
    """A receipt's item that waits for its signature."""

    place: int
    """Of the result that gets the receipt."""
    index: int
    item: bytes
    exchange: Row | None


class Decisions:
    """The decisions of one commit; what they write is in `writes` once `run` has returned."""

    def __init__(self, known: Known, sign: SignReceipts) -> None:
        self.writes = Writes()
        self._known = known
        self._sign_receipts = sign
        self._head = known.head
        self._size = known.size
        self._results: list[Result] = []
        self._unsigned: list[Unsigned] = []
        self._standing: dict[Place, Standing] = {}
        self._records: set[bytes] | None = None

    def run(self, operations: Sequence[Operation]) -> list[Result]:
        """Decide the operations in order and return one result each."""
        for operation in operations:
            self._results.append(self._decide(operation))
            if len(self._unsigned) == BATCH_MAX:
                self._sign()
        self._sign()
        return self._results

    def _decide(self, operation: Operation) -> Result:  # noqa: PLR0911, PLR0912, C901 - one for each operation
        match operation:
            case Accept():
                return self._accept(operation)
            case Move():
                return self._move(operation)
            case Seen():
                return self._see(operation)
            case Refuse():
                return self._append_with_receipt(operation.entry, operation.item, None)
            case Note():
                return self._note(operation)
            case Spend():
                return self._spend(operation)
            case Publish():
                return self._publish(operation)
            case KeepCheckpoint():
                return self._keep_checkpoint(operation)
            case KeepCosigned():
                self.writes.cosigned.append({"size": operation.size, "note": operation.note})
                return Done()
            case KeepBodyKey():
                self.writes.body_keys.setdefault(operation.day, operation.wrapped)
                return Done()
            case DestroyBodyKey():
                return self._destroy_body_key(operation)
            case DropArchived():
                self.writes.unarchived.update(dict.fromkeys(operation.envs))
                return Done()
            case Forget():
                self.writes.forgotten.update(dict.fromkeys(operation.envs))
                return Done()
            case ErasePerson():
                return self._erase(operation)
            case Withhold():
                self.writes.withholdings.append(withholding_row(operation.rule))
                return Done(index=self._append(operation.entry))
            case EndWithholding():
                return self._end_withholding(operation)
            case KeepSubjectKey():
                self.writes.subject_keys.setdefault(operation.name, milliseconds(operation.at))
                return Done() if operation.entry is None else Done(index=self._append(operation.entry))
            case RetireSubjectKey():
                return self._retire(operation)
            case Catalogue():
                return self._catalogue(operation)
            case _:
                assert_never(operation)

    # The log

    def _append(self, entry: Draft) -> int:
        index = self._size
        data = entry.numbered(index)
        self.writes.entries.append({"seq": index, "data": data, "leaf": merkle.leaf_hash(data)})
        self._size = index + 1
        return index

    def _append_with_receipt(self, entry: Draft, item: ReceiptItem | None, exchange: Row | None) -> Done:
        index = self._append(entry)
        if item is not None:
            encoded = item.numbered(index, self.writes.entries[-1]["leaf"])
            place = len(self._results)
            self._unsigned.append(Unsigned(place=place, index=index, item=encoded, exchange=exchange))
        return Done(index=index)

    def _sign(self) -> None:
        """Give every receipt made so far its signature, and the exchanges their receipts."""
        waiting, self._unsigned = self._unsigned, []
        if not waiting:
            return
        signed = self._sign_receipts([each.item for each in waiting], self._head)
        for each, statement in zip(waiting, signed, strict=True):
            receipt = statement.text()
            self._results[each.place] = Done(index=each.index, receipt=receipt)
            if each.exchange is not None:
                each.exchange["receipt"] = receipt

    # Exchanges

    def _accept(self, operation: Accept) -> Result:
        key = operation.exchange.key
        lost = self._why_not(operation, key)
        if lost is not None:
            return lost
        if operation.answers is not None:
            self._answer(operation.answers, operation.exchange.env)
        row = self.writes.exchanges[key] = exchange_row(operation.exchange)
        done = self._append_with_receipt(operation.entry, operation.item, row)
        self._hold(operation, done.index)
        for entry in operation.handed:
            self._append(entry)
        return done

    def _why_not(self, operation: Accept, key: ExchangeKey) -> Lost | None:
        if self._reply_to(key) is not None:
            return "duplicate"
        if operation.head != self._head:
            return "stale"
        if operation.answers is None:
            return None
        reply = self._reply_to(operation.answers)
        if reply is None:
            return "stale"
        return "answered" if reply else None

    def _reply_to(self, key: ExchangeKey) -> str | None:
        reply = self.writes.replies.get(key)
        if reply is not None:
            return reply
        fresh = self.writes.exchanges.get(key)
        return self._known.reply(key) if fresh is None else str(fresh["reply"])

    def _answer(self, key: ExchangeKey, env: str) -> None:
        if key in self.writes.exchanges:
            self.writes.exchanges[key]["reply"] = env
        else:
            self.writes.replies[key] = env

    def _hold(self, operation: Accept, index: int) -> None:
        """Take in what hangs on a new exchange; a body only while somebody is to receive it."""
        env, is_wanted = operation.exchange.env, operation.kept_until is not None
        for delivery in operation.deliveries:
            self.writes.deliveries[env, delivery.to] = delivery_row(delivery, index)
            is_wanted = is_wanted or delivery.state not in SETTLED
        if is_wanted:
            self.writes.bodies.append(body_row(operation))
        for link in operation.subjects:
            self.writes.subjects.append(
                {
                    "env": env,
                    "pseudonym": link.pseudonym,
                    "salt": link.salt,
                    "commitment": link.commitment,
                    "seq": index,
                }
            )

    # Deliveries

    def _held(self, place: Place) -> Standing | None:
        held = self._standing.get(place)
        if held is None:
            fresh = self.writes.deliveries.get(place)
            held = self._known.standing(place) if fresh is None else _standing_in(fresh)
            if held is not None:
                self._standing[place] = held
        return held

    def _move(self, operation: Move) -> Result:
        place = operation.env, operation.to
        held = self._held(place)
        if held is None or held.state not in operation.expect or operation.held not in {None, held.lease}:
            return "moved"
        if operation.due is not None and milliseconds(operation.due) != held.due_at:
            return "moved"
        if operation.until is not None and milliseconds(operation.until) != held.lease_until:
            return "moved"
        row = standing_row(operation, held.expires)
        held.state, held.lease = operation.state, operation.lease
        held.lease_until, held.due_at = row["lease_until"], row["due_at"]
        fresh = self.writes.deliveries.get(place)
        if fresh is not None:
            fresh.update(row)
        else:
            row |= {"of_env": operation.env, "of_inbox": operation.to}
            self.writes.moves[place] = row
            self.writes.seen.pop(place, None)  # what was seen is not what it has become now
        if operation.state in SETTLED:
            self.writes.settled[operation.env] = None
        return Done() if operation.entry is None else Done(index=self._append(operation.entry))

    def _see(self, operation: Seen) -> Result:
        place = operation.env, operation.to
        held = self._held(place)
        if held is None or held.source != operation.source or operation.state not in {"", held.state}:
            return "moved"
        row = self.writes.deliveries.get(place) or self.writes.moves.get(place)
        if row is not None:
            row["unseen"] = 0
        else:
            self.writes.seen[place] = None
        return Done()

    # The rest

    def _note(self, operation: Note) -> Result:
        if operation.once is not None and self._spend(operation.once) == "spent":
            return "spent"
        return Done(index=self._append(operation.entry))

    def _spend(self, operation: Spend) -> Result:
        writes, now = self.writes, milliseconds(operation.now)
        writes.forget = now if writes.forget is None else max(writes.forget, now)
        # What is new is forgotten by what comes after it alone: the clock may have gone back in between.
        writes.nonces = {jti: until for jti, until in writes.nonces.items() if until > now}
        known = self._known.spent_until(operation.jti)
        if operation.jti in writes.nonces or (known is not None and known > writes.forget):
            return "spent"
        writes.nonces[operation.jti] = milliseconds(operation.until)
        return Done()

    def _publish(self, operation: Publish) -> Result:
        if operation.version != self._head + 1:
            return "stale"
        self._sign()
        self.writes.publications.append(self._publication(operation))
        for urn, document in operation.documents.items():
            self.writes.documents.setdefault(urn, document)
        self._head = operation.version
        index = -1
        for entry in operation.entries:
            index = self._append(entry)
        return Done(index=index)

    def _publication(self, operation: Publish) -> Publication:
        """Name the records that are new and those that are gone; the others stay as they are."""
        wanted = {sha256(record).digest(): record for record in operation.records}
        present = self._known.records() if self._records is None else self._records
        self._records = set(wanted)
        return Publication(
            version={"version": operation.version, "statement": operation.statement},
            added=[
                {"hash": each, "added": operation.version, "removed": None, "record": wanted[each]}
                for each in wanted.keys() - present
            ],
            gone=[{"of_hash": each, "version": operation.version} for each in present - wanted.keys()],
        )

    def _erase(self, operation: ErasePerson) -> Result:
        self.writes.erased.update(dict.fromkeys(operation.pseudonyms))
        # What this commit has accepted before goes as well, what it accepts after stays.
        self.writes.subjects = [row for row in self.writes.subjects if row["pseudonym"] not in operation.pseudonyms]
        return Done(index=self._append(operation.entry))

    def _destroy_body_key(self, operation: DestroyBodyKey) -> Result:
        is_new = self.writes.body_keys.pop(operation.day, None) is not None
        is_old = operation.day not in self.writes.destroyed and self._known.seals(operation.day)
        if not (is_new or is_old):
            return "moved"
        self.writes.destroyed[operation.day] = None
        return Done(index=self._append(operation.entry))

    def _retire(self, operation: RetireSubjectKey) -> Result:
        is_held = operation.name in self.writes.subject_keys or self._known.makes(operation.name)
        if not is_held or operation.name in self.writes.retired:
            return "moved"
        self.writes.retired[operation.name] = milliseconds(operation.at)
        return Done(index=self._append(operation.entry))

    def _end_withholding(self, operation: EndWithholding) -> Result:
        is_new = any(row["id"] == operation.id for row in self.writes.withholdings)
        if operation.id in self.writes.ended or not (is_new or self._known.withholds(operation.id)):
            return "moved"
        self.writes.ended[operation.id] = milliseconds(operation.at)
        return Done(index=self._append(operation.entry))

    def _keep_checkpoint(self, operation: KeepCheckpoint) -> Result:
        self.writes.subtrees += [
            {"level": each.level, "number": each.number, "root": each.root} for each in operation.subtrees
        ]
        kept = self.writes.checkpoint
        if operation.size >= (self._known.covered() if kept is None else kept["size"]):
            self.writes.checkpoint = {"size": operation.size, "note": operation.note}
        return Done()

    def _catalogue(self, operation: Catalogue) -> Result:
        if operation.start > max(self.writes.mentions, default=self._known.catalogued() - 1) + 1:
            return "stale"
        for each in operation.mentions:
            self.writes.mentions.setdefault(each.seq, mention_row(each))
        return Done()
