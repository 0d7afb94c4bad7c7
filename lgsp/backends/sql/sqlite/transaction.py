"""One commit on SQLite, between BEGIN and COMMIT: looks up what the decisions ask for, then writes what they gathered, in groups.

Beginning, committing and rolling back are left to the ledger.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lgsp.backends.sql.decisions import Decisions, Place, Publication, Standing, Writes, standing_of
from lgsp.backends.sql.rows import Row
from lgsp.backends.sql.sqlite import statements as sql
from lgsp.domain.exchange import ExchangeKey
from lgsp.ports.ledger import Operation, Result, SignReceipts


class LookUp:
    """What the tables hold, looked up when asked: a row costs microseconds. Needs the write lock from before the first look."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        # One for all look-ups: making one takes as long as a tenth of what it looks up.
        self._cursor = connection.cursor()
        self.size: int = self._value(sql.SIZE)
        self.head: int = self._value(sql.HEAD)

    def reply(self, key: ExchangeKey) -> str | None:
        """Return the env hash of an exchange's reply, "" when there is none, None when there is no such exchange."""
        found = self._row(sql.REPLY, key)
        return None if found is None else str(found[0])

    def standing(self, place: Place) -> Standing | None:
        """Return where a delivery stands."""
        found = self._row(sql.STANDING, place)
        return None if found is None else standing_of(found)

    def spent_until(self, jti: str) -> int | None:
        """Return until when a `jti` is remembered."""
        found = self._row(sql.NONCE, (jti,))
        return None if found is None else int(found[0])

    def records(self) -> set[bytes]:
        """Return the hashes of the records in the latest version of the directory."""
        return {row[0] for row in self._cursor.execute(sql.PRESENT_RECORDS)}

    def covered(self) -> int:
        """Return how many entries the kept checkpoint covers, -1 before the first."""
        return self._value(sql.COVERED)

    def withholds(self, rule: str) -> bool:
        """Tell whether there is a withholding rule of this id that has not been ended."""
        return self._row(sql.WITHHOLDS, (rule,)) is not None

    def makes(self, key: str) -> bool:
        """Tell whether a subject key of this name is kept that was not retired."""
        return self._row(sql.MAKES, (key,)) is not None

    def catalogued(self) -> int:
        """Return how many entries the catalogue covers."""
        return self._value(sql.CATALOGUED)

    def seals(self, day: str) -> bool:
        """Tell whether the body key of a day is kept."""
        return self._row(sql.SEALS, (day,)) is not None

    def _row(self, text: str, values: tuple[str, ...]) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._cursor.execute(text, values).fetchone()
        return row

    def _value(self, text: str) -> int:
        return int(self._cursor.execute(text).fetchone()[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What became of the operations, and whether bytes were destroyed of which no copy may stay beside the file."""

    results: list[Result]
    wiped: bool


def run(connection: sqlite3.Connection, operations: Sequence[Operation], sign: SignReceipts) -> Ran:
    """Decide the operations and write what follows from them; the connection is in a transaction that may write."""
    decisions = Decisions(LookUp(connection), sign)
    results = decisions.run(operations)
    _write(connection, decisions.writes)
    return Ran(results=results, wiped=bool(decisions.writes.destroyed))


def _write(connection: sqlite3.Connection, writes: Writes) -> None:
    def write(group: sql.Group, rows: Iterable[Row]) -> None:
        if rows:
            connection.executemany(group.text, group.values(rows))

    # Bodies go first: the pages that they leave are taken by what is new, and so are written once.
    write(sql.MOVE, writes.moves.values())
    write(sql.DROP_BODY, [{"env": env} for env in writes.settled])
    write(sql.INSERT_EXCHANGE, writes.exchanges.values())
    write(sql.INSERT_DELIVERY, writes.deliveries.values())
    write(sql.INSERT_BODY, writes.bodies)
    write(sql.INSERT_ENTRY, writes.entries)
    write(sql.ERASE, [{"pseudonym": pseudonym} for pseudonym in writes.erased])
    write(sql.INSERT_SUBJECT, writes.subjects)
    write(sql.SET_REPLY, [{"asker": key[0], "asked": key[1], "env": env} for key, env in writes.replies.items()])
    write(sql.SEE, [{"of_env": env, "of_inbox": inbox} for env, inbox in writes.seen])
    # What was accepted and settled by the same commit.
    write(sql.DROP_BODY, [row for row in writes.bodies if row["env"] in writes.settled])
    write(sql.DROP_ARCHIVED, [{"env": env} for env in writes.unarchived])
    if writes.forget is not None:
        connection.execute(sql.FORGET_NONCES, {"now": writes.forget})
    write(sql.INSERT_NONCE, [{"jti": jti, "until": until} for jti, until in writes.nonces.items()])
    for each in writes.publications:
        _publish(connection, each)
    write(sql.INSERT_DOCUMENT, [{"urn": urn, "document": found} for urn, found in writes.documents.items()])
    if writes.destroyed:
        _wipe_body_keys(connection, writes.destroyed)
    write(sql.INSERT_BODY_KEY, [{"day": day, "wrapped": key} for day, key in writes.body_keys.items()])
    keys = [{"name": name, "since": at, "retired": None} for name, at in writes.subject_keys.items()]
    write(sql.INSERT_SUBJECT_KEY, keys)
    write(sql.RETIRE, [{"of_name": name, "at": at} for name, at in writes.retired.items()])
    write(sql.INSERT_WITHHOLDING, writes.withholdings)
    write(sql.END_WITHHOLDING, [{"of_id": id_, "at": at} for id_, at in writes.ended.items()])
    forgotten = [{"env": env} for env in writes.forgotten]
    for group in (sql.KEEP_EVIDENCE, *sql.FORGET):
        write(group, forgotten)
    write(sql.INSERT_SUBTREE, writes.subtrees)
    write(sql.INSERT_MENTION, writes.mentions.values())
    if writes.checkpoint is not None:
        connection.execute(sql.DROP_CHECKPOINTS)
        connection.execute(sql.INSERT_CHECKPOINT, writes.checkpoint)
    for row in writes.cosigned:
        connection.execute(sql.KEEP_COSIGNED, row)
        connection.execute(sql.DROP_OLDER_COSIGNED)


def _wipe_body_keys(connection: sqlite3.Connection, days: Collection[str]) -> None:
    """Write the table of body keys anew without some days, every page that held it filled with zeros before.

    A deleted row alone would not do: its bytes may also lie in a page from which it was moved when the table grew.
    """
    (was,) = connection.execute("PRAGMA secure_delete").fetchone()
    connection.execute("PRAGMA secure_delete = ON")
    kept = [row for row in connection.execute(sql.BODY_KEYS).fetchall() if row[0] not in days]
    connection.execute(sql.EMPTY_BODY_KEYS)
    connection.execute(f"PRAGMA secure_delete = {int(was)}")
    rows = [{"day": day, "wrapped": wrapped} for day, wrapped in kept]
    connection.executemany(sql.INSERT_BODY_KEY.text, sql.INSERT_BODY_KEY.values(rows))


def _publish(connection: sqlite3.Connection, publication: Publication) -> None:
    connection.execute(sql.INSERT_VERSION, publication.version)
    connection.executemany(sql.REMOVE_RECORD.text, sql.REMOVE_RECORD.values(publication.gone))
    connection.executemany(sql.INSERT_RECORD.text, sql.INSERT_RECORD.values(publication.added))
