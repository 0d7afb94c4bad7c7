"""One commit of the memory backend: the operations, one after the other, on staged rows. Taking the stage over is left to the ledger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import assert_never

from lgsp.backends.memory.tables import Body, Place, Rows
from lgsp.domain import merkle
from lgsp.domain.entries import Draft
from lgsp.domain.exchange import OUTCOMES, SETTLED, Delivery, Exchange, ExchangeKey
from lgsp.domain.statements import BATCH_MAX
from lgsp.domain.withholding import Withholding
from lgsp.ports.directory import SignedRecords
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


def cut(moment: datetime) -> datetime:
    """Return the UTC time to the millisecond, the rest cut."""
    return moment.astimezone(UTC).replace(microsecond=moment.microsecond // 1000 * 1000)


def _cut(moment: datetime | None) -> datetime | None:
    return None if moment is None else cut(moment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsigned:
    """A receipt's item that waits for its signature."""

    place: int
    """Of the result that gets the receipt."""
    index: int
    item: bytes
    key: ExchangeKey | None


class Transaction:
    """The work of one commit on staged rows."""

    def __init__(self, rows: Rows, size: int, sign: SignReceipts) -> None:
        self.rows = rows
        self.entries: list[bytes] = []
        self.leaves: list[bytes] = []
        self.results: list[Result] = []
        self.touched: set[Place] = set()
        self.forgotten: list[str] = []
        self._size = size
        self._sign = sign
        self._unsigned: list[Unsigned] = []

    def run(self, operation: Operation) -> None:
        """Apply one operation to what the ones before it left."""
        self.results.append(self._apply(operation))
        if len(self._unsigned) == BATCH_MAX:
            self.sign()

    def sign(self) -> None:
        """Give every receipt that is made so far its signature."""
        waiting, self._unsigned = self._unsigned, []
        if not waiting:
            return
        signed = self._sign([each.item for each in waiting], self._head())
        for each, statement in zip(waiting, signed, strict=True):
            receipt = statement.text()
            self.results[each.place] = Done(index=each.index, receipt=receipt)
            if each.key is not None:
                held = self.rows.exchanges[each.key]
                self.rows.exchanges[each.key] = replace(held, receipt=receipt)

    def _apply(self, operation: Operation) -> Result:  # noqa: PLR0911, PLR0912, C901 - one for each operation
        match operation:
            case Accept():
                return self._accept(operation)
            case Refuse():
                return self._append_with_receipt(operation.entry, operation.item, None)
            case Move():
                return self._move(operation)
            case Seen():
                return self._see(operation)
            case Note():
                return self._note(operation)
            case Spend():
                return self._spend(operation)
            case Publish():
                return self._publish(operation)
            case KeepCheckpoint():
                return self._keep_checkpoint(operation)
            case KeepCosigned():
                self.rows.cosigned[operation.size] = operation.note
                return Done()
            case KeepBodyKey():
                if self.rows.body_keys.get(operation.day) is None:
                    self.rows.body_keys[operation.day] = operation.wrapped
                return Done()
            case DestroyBodyKey():
                return self._destroy_body_key(operation)
            case DropArchived():
                return self._drop_archived(operation)
            case Forget():
                self.forgotten += operation.envs
                return Done()
            case ErasePerson():
                return self._erase(operation)
            case Withhold():
                self.rows.withholdings[operation.rule.id] = _timed_rule(operation.rule)
                return Done(index=self._append(operation.entry))
            case EndWithholding():
                return self._end_withholding(operation)
            case KeepSubjectKey():
                self.rows.subject_keys.setdefault(operation.name, False)
                return Done() if operation.entry is None else Done(index=self._append(operation.entry))
            case RetireSubjectKey():
                return self._retire(operation)
            case Catalogue():
                return self._catalogue(operation)
            case _:
                assert_never(operation)

    def _head(self) -> int:
        return max(self.rows.versions, default=0)

    def _append(self, entry: Draft) -> int:
        index = self._size + len(self.entries)
        data = entry.numbered(index)
        self.entries.append(data)
        self.leaves.append(merkle.leaf_hash(data))
        return index

    def _append_with_receipt(self, entry: Draft, item: ReceiptItem | None, key: ExchangeKey | None) -> Done:
        index = self._append(entry)
        if item is not None:
            encoded = item.numbered(index, self.leaves[-1])
            self._unsigned.append(Unsigned(place=len(self.results), index=index, item=encoded, key=key))
        return Done(index=index)

    def _accept(self, operation: Accept) -> Result:
        lost = self._why_not(operation)
        if lost is not None:
            return lost
        exchange = operation.exchange
        if operation.answers is not None:
            asked = self.rows.exchanges[operation.answers]
            self.rows.exchanges[operation.answers] = replace(asked, reply=exchange.env)
        done = self._append_with_receipt(operation.entry, operation.item, exchange.key)
        self._keep_exchange(exchange)
        for delivery in operation.deliveries:
            self._put(_timed(replace(delivery, order=done.index)))
        self.rows.places[exchange.env] = [(delivery.env, delivery.to) for delivery in operation.deliveries]
        kept_until = _cut(operation.kept_until)
        if kept_until or any(delivery.state not in SETTLED for delivery in operation.deliveries):
            body = Body(sealed=operation.sealed, day=operation.day, kept_until=kept_until)
            self.rows.bodies[exchange.env] = body
        if operation.subjects:
            self.rows.subjects[exchange.env] = operation.subjects
            self.rows.indexes[exchange.env] = done.index
        for entry in operation.handed:
            self._append(entry)
        return done

    def _why_not(self, operation: Accept) -> Lost | None:
        if operation.exchange.key in self.rows.exchanges:
            return "duplicate"
        if operation.head != self._head():
            return "stale"
        if operation.answers is None:
            return None
        asked = self.rows.exchanges.get(operation.answers)
        if asked is None:
            return "stale"
        return "answered" if asked.reply else None

    def _keep_exchange(self, exchange: Exchange) -> None:
        self.rows.keys[exchange.env] = exchange.key
        self.rows.exchanges[exchange.key] = replace(
            exchange,
            accepted_at=cut(exchange.accepted_at),
            expires=cut(exchange.expires),
            reply_until=_cut(exchange.reply_until),
        )

    def _move(self, operation: Move) -> Result:
        held = self.rows.deliveries.get((operation.env, operation.to))
        if held is None or held.state not in operation.expect or operation.held not in {None, held.lease}:
            return "moved"
        if _cut(operation.due) not in {None, held.due_at} or _cut(operation.until) not in {None, held.lease_until}:
            return "moved"
        moved = replace(
            held,
            state=operation.state,
            attempts=operation.attempts,
            lease=operation.lease,
            lease_until=operation.lease_until,
            due_at=operation.due_at,
            code=operation.code,
            ack=operation.ack,
            final=operation.final,
        )
        self._put(_timed(moved))
        body = self.rows.bodies.get(moved.env)
        if body is not None and body.kept_until is None and self._is_settled(moved.env):
            self.rows.bodies[moved.env] = None
        return Done() if operation.entry is None else Done(index=self._append(operation.entry))

    def _is_settled(self, env: str) -> bool:
        return all(self.rows.deliveries[place].state in SETTLED for place in self.rows.places.get(env, ()))

    def _drop_archived(self, operation: DropArchived) -> Result:
        for env in operation.envs:
            body = self.rows.bodies.get(env)
            if body is not None and body.kept_until is not None and self._is_settled(env):
                self.rows.bodies[env] = None
        return Done()

    def _destroy_body_key(self, operation: DestroyBodyKey) -> Result:
        if self.rows.body_keys.get(operation.day) is None:
            return "moved"
        self.rows.body_keys[operation.day] = None
        return Done(index=self._append(operation.entry))

    def _put(self, delivery: Delivery) -> None:
        """Write a delivery; what became of it is news to its sender."""
        place = delivery.env, delivery.to
        self.rows.deliveries[place] = delivery
        self.rows.unseen[place] = delivery.state in OUTCOMES
        self.touched.add(place)

    def _see(self, operation: Seen) -> Result:
        place: Place = operation.env, operation.to
        held = self.rows.deliveries.get(place)
        if held is None or held.source != operation.source or operation.state not in {"", held.state}:
            return "moved"
        self.rows.unseen[place] = False
        self.touched.add(place)
        return Done()

    def _note(self, operation: Note) -> Result:
        if operation.once is not None and self._spend(operation.once) == "spent":
            return "spent"
        return Done(index=self._append(operation.entry))

    def _spend(self, operation: Spend) -> Result:
        now = cut(operation.now)
        for jti, until in list(self.rows.nonces.items()):
            if until is not None and until <= now:
                self.rows.nonces[jti] = None
        if self.rows.nonces.get(operation.jti) is not None:
            return "spent"
        self.rows.nonces[operation.jti] = cut(operation.until)
        return Done()

    def _publish(self, operation: Publish) -> Result:
        if operation.version != self._head() + 1:
            return "stale"
        self.sign()
        self.rows.versions[operation.version] = SignedRecords(
            version=operation.version, statement=operation.statement, records=tuple(sorted(operation.records))
        )
        for urn, document in operation.documents.items():
            self.rows.documents.setdefault(urn, document)
        index = -1
        for entry in operation.entries:
            index = self._append(entry)
        return Done(index=index)

    def _erase(self, operation: ErasePerson) -> Result:
        gone = set(operation.pseudonyms)
        for env, links in list(self.rows.subjects.items()):
            if any(link.pseudonym in gone for link in links):
                self.rows.subjects[env] = tuple(link for link in links if link.pseudonym not in gone)
        return Done(index=self._append(operation.entry))

    def _retire(self, operation: RetireSubjectKey) -> Result:
        if self.rows.subject_keys.get(operation.name) is not False:
            return "moved"
        self.rows.subject_keys[operation.name] = True
        return Done(index=self._append(operation.entry))

    def _end_withholding(self, operation: EndWithholding) -> Result:
        held = self.rows.withholdings.get(operation.id)
        if held is None or held.ended is not None:
            return "moved"
        self.rows.withholdings[operation.id] = replace(held, ended=cut(operation.at))
        return Done(index=self._append(operation.entry))

    def _keep_checkpoint(self, operation: KeepCheckpoint) -> Result:
        for each in operation.subtrees:
            self.rows.subtrees.setdefault((each.level, each.number), each.root)
        if operation.size >= max(self.rows.checkpoints, default=0):
            self.rows.checkpoints[operation.size] = operation.note
        return Done()

    def _catalogue(self, operation: Catalogue) -> Result:
        if operation.start > max(self.rows.mentions, default=-1) + 1:
            return "stale"
        for each in operation.mentions:
            self.rows.mentions.setdefault(each.seq, each)
        return Done()


def _timed_rule(rule: Withholding) -> Withholding:
    return replace(rule, since=cut(rule.since), until=cut(rule.until), ended=_cut(rule.ended))


def _timed(delivery: Delivery) -> Delivery:
    return replace(
        delivery,
        lease_until=_cut(delivery.lease_until),
        due_at=_cut(delivery.due_at),
        expires=cut(delivery.expires),
    )
