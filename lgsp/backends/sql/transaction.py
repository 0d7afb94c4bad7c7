"""The work of one commit between BEGIN and COMMIT: each operation is decided on what it finds, the writing is done in groups.

An operation that meets a row still waiting to be written has the group written first, so the outcome is that of one operation after the other.
Receipts are signed before their exchanges are written. Beginning, committing and rolling back are left to the ledger.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, assert_never

from lgsp.backends.sql import statements as sql
from lgsp.backends.sql.rows import Row, delivery_row, exchange_row, milliseconds, moved_row
from lgsp.domain import merkle
from lgsp.domain.entries import Draft
from lgsp.domain.exchange import SETTLED, ExchangeKey
from lgsp.domain.statements import BATCH_MAX
from lgsp.ports.ledger import (
    Accept,
    Done,
    KeepBodyKey,
    KeepCheckpoint,
    Lost,
    Move,
    Note,
    Operation,
    Publish,
    ReceiptItem,
    Refuse,
    Result,
    Seen,
    SignReceipts,
    Spend,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsigned:
    """A receipt's item that waits for its signature."""

    place: int
    """Of the result that gets the receipt."""
    index: int
    item: bytes
    exchange: Row | None


class Transaction:
    """One commit's work; needs the write lock from before its first look at the data."""

    def __init__(self, connection: sqlite3.Connection, sign: SignReceipts) -> None:
        self._connection = connection
        self._sign_receipts = sign
        self._head: int = self._value(sql.HEAD)
        self._size: int = self._value(sql.SIZE)
        self._results: list[Result] = []
        self._unsigned: list[Unsigned] = []
        self._fresh: dict[ExchangeKey, Row] = {}
        self._replies: dict[ExchangeKey, str] = {}
        self._entries: list[Row] = []
        self._deliveries: list[Row] = []
        self._bodies: list[Row] = []
        self._subjects: list[Row] = []
        self._moves: list[Row] = []
        self._settled: list[Row] = []
        self._touched: set[tuple[str, str]] = set()

    def run(self, operations: Sequence[Operation]) -> list[Result]:
        """Apply the operations in order and return one result each."""
        for operation in operations:
            self._results.append(self._apply(operation))
            if len(self._unsigned) == BATCH_MAX:
                self._sign()
        self._sign()
        self._write_deliveries()
        self._write(sql.INSERT_ENTRY, self._entries)
        self._write(sql.INSERT_SUBJECT, self._subjects)
        answers = [{"asker": key[0], "asked": key[1], "env": env} for key, env in self._replies.items()]
        self._write(sql.SET_REPLY, answers)
        return self._results

    def _apply(self, operation: Operation) -> Result:  # noqa: PLR0911 - one for each operation
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
                return Done(index=self._append(operation.entry))
            case Spend():
                return self._spend(operation)
            case Publish():
                return self._publish(operation)
            case KeepCheckpoint():
                return self._keep_checkpoint(operation)
            case KeepBodyKey():
                return self._keep_body_key(operation)
            case _:
                assert_never(operation)

    # The log

    def _append(self, entry: Draft) -> int:
        index = self._size
        data = entry.numbered(index)
        self._entries.append({"seq": index, "data": data, "leaf": merkle.leaf_hash(data)})
        self._size += 1
        return index

    def _append_with_receipt(self, entry: Draft, item: ReceiptItem | None, exchange: Row | None) -> Done:
        index = self._append(entry)
        if item is not None:
            encoded = item.numbered(index, self._entries[-1]["leaf"])
            place = len(self._results)
            self._unsigned.append(Unsigned(place=place, index=index, item=encoded, exchange=exchange))
        return Done(index=index)

    def _sign(self) -> None:
        """Give every receipt made so far its signature, and write the exchanges that waited for it."""
        waiting, self._unsigned = self._unsigned, []
        if not waiting:
            return
        signed = self._sign_receipts([each.item for each in waiting], self._head)
        for each, statement in zip(waiting, signed, strict=True):
            self._results[each.place] = Done(index=each.index, receipt=statement)
            if each.exchange is not None:
                each.exchange["receipt"] = statement.text()
        self._write(sql.INSERT_EXCHANGE, list(self._fresh.values()))
        self._fresh.clear()

    # Exchanges

    def _accept(self, operation: Accept) -> Result:
        key = operation.exchange.key
        lost = self._why_not(operation)
        if lost is not None:
            return lost
        if operation.answers is not None:
            self._answer(operation.answers, operation.exchange.env)
        row = self._fresh[key] = exchange_row(operation.exchange)
        done = self._append_with_receipt(operation.entry, operation.item, row)
        self._hold(operation, done.index)
        for entry in operation.handed:
            self._append(entry)
        return done

    def _why_not(self, operation: Accept) -> Lost | None:
        if self._reply_to(operation.exchange.key) is not None:
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
        """Return the env hash of an exchange's reply, "" when there is none, None when there is no such exchange."""
        if key in self._replies:
            return self._replies[key]
        if key in self._fresh:
            return str(self._fresh[key]["reply"])
        found = self._row(sql.REPLY, {"source": key[0], "id": key[1]})
        return None if found is None else str(found[0])

    def _answer(self, key: ExchangeKey, env: str) -> None:
        if key in self._fresh:
            self._fresh[key]["reply"] = env
        else:
            self._replies[key] = env

    def _hold(self, operation: Accept, index: int) -> None:
        """Take in what hangs on a new exchange; a body only while somebody is to receive it."""
        env = operation.exchange.env
        for delivery in operation.deliveries:
            self._deliveries.append(delivery_row(delivery, index))
            self._touched.add((delivery.env, delivery.to))
        if any(delivery.state not in SETTLED for delivery in operation.deliveries):
            self._bodies.append({"env": env, "sealed": operation.sealed, "day": operation.day})
        for link in operation.subjects:
            self._subjects.append(
                {"env": env, "pseudonym": link.pseudonym, "salt": link.salt, "commitment": link.commitment}
            )

    # Deliveries

    def _move(self, operation: Move) -> Result:
        place = operation.env, operation.to
        if place in self._touched:
            self._write_deliveries()
        held = self._row(sql.STANDING, {"env": operation.env, "inbox": operation.to})
        if held is None:
            return "moved"
        state, lease, due_at, expires = held
        if state not in operation.expect or operation.held not in {None, lease}:
            return "moved"
        if operation.due is not None and milliseconds(operation.due) != due_at:
            return "moved"
        self._moves.append(moved_row(operation, expires))
        self._touched.add(place)
        if operation.state in SETTLED:
            self._settled.append({"env": operation.env})
        return Done() if operation.entry is None else Done(index=self._append(operation.entry))

    def _see(self, operation: Seen) -> Result:
        if (operation.env, operation.to) in self._touched:
            self._write_deliveries()
        where = {"of_env": operation.env, "of_inbox": operation.to, "of_source": operation.source}
        where["of_state"] = operation.state
        return Done() if self._connection.execute(sql.SEE, where).rowcount else "moved"

    def _write_deliveries(self) -> None:
        self._write(sql.INSERT_DELIVERY, self._deliveries)
        self._write(sql.INSERT_BODY, self._bodies)
        self._write(sql.MOVE, self._moves)
        self._write(sql.DROP_BODY, self._settled)
        self._touched.clear()

    # The rest

    def _spend(self, operation: Spend) -> Result:
        self._connection.execute(sql.FORGET_NONCES, {"now": milliseconds(operation.now)})
        if self._row(sql.NONCE, {"jti": operation.jti}) is not None:
            return "spent"
        row = {"jti": operation.jti, "until": milliseconds(operation.until)}
        self._connection.execute(sql.INSERT_NONCE, row)
        return Done()

    def _publish(self, operation: Publish) -> Result:
        if operation.version != self._head + 1:
            return "stale"
        self._sign()
        self._connection.execute(sql.INSERT_VERSION, {"version": operation.version, "statement": operation.statement})
        self._write_records(operation)
        for urn, document in operation.documents.items():
            if self._row(sql.DOCUMENT, {"urn": urn}) is None:
                self._connection.execute(sql.INSERT_DOCUMENT, {"urn": urn, "document": document})
        self._head = operation.version
        index = -1
        for entry in operation.entries:
            index = self._append(entry)
        return Done(index=index)

    def _write_records(self, operation: Publish) -> None:
        """Write the records that are new and close those that are gone; the others stay as they are."""
        wanted = {sha256(record).digest(): record for record in operation.records}
        present = {row[0] for row in self._connection.execute(sql.PRESENT_RECORDS)}
        gone = [{"of_hash": each, "version": operation.version} for each in present - wanted.keys()]
        added = [
            {"hash": each, "added": operation.version, "removed": None, "record": wanted[each]}
            for each in wanted.keys() - present
        ]
        self._write(sql.REMOVE_RECORD, gone)
        self._write(sql.INSERT_RECORD, added)

    def _keep_checkpoint(self, operation: KeepCheckpoint) -> Result:
        if self._row(sql.LARGER_CHECKPOINT, {"size": operation.size}) is None:
            self._connection.execute(sql.DROP_CHECKPOINTS)
            self._connection.execute(sql.INSERT_CHECKPOINT, {"size": operation.size, "note": operation.note})
        return Done()

    def _keep_body_key(self, operation: KeepBodyKey) -> Result:
        if self._row(sql.BODY_KEY, {"day": operation.day}) is None:
            self._connection.execute(sql.INSERT_BODY_KEY, {"day": operation.day, "wrapped": operation.wrapped})
        return Done()

    # The driver

    def _row(self, text: str, values: Row) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._connection.execute(text, values).fetchone()
        return row

    def _value(self, text: str) -> int:
        return int(self._connection.execute(text).fetchone()[0])

    def _write(self, group: sql.Group, rows: list[Row]) -> None:
        """Write a group of rows and forget them."""
        if rows:
            self._connection.executemany(group.text, group.values(rows))
            rows.clear()
