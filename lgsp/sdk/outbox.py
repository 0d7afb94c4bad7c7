"""The outbox's rows: what was signed and is sent until the bus has receipted it, and what became of it.

Functions named for a change are operations of the box's thread; the others read. When to send is `sender`'s.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from lgsp.domain import statements
from lgsp.domain.statements import Statement
from lgsp.sdk.box import Outgoing, Writing

OutcomeState = Literal["refused", "acked", "rejected", "parked", "expired"]

COLUMNS: Final = "seq, id, env, source, type, audience, compact, body, key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A signed envelope on its way into the outbox; with a `key` it goes in once, whatever the number of tries."""

    id: str
    key: str | None
    env: str
    source: str
    type: str
    audience: str
    compact: bytes
    body: bytes
    until: datetime
    """When it is delivered no more and its answer awaited no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """An envelope that is durable in the outbox; `receipt` is None until the bus has given it."""

    id: str
    env: str
    key: str | None
    state: Literal["queued", "receipted", "refused"]
    receipt: Statement | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What was said about an envelope of the outbox when it was posted."""

    id: str
    key: str | None
    type: str
    audience: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an envelope at one receiver; `refused` when the bus itself said no, with no receiver."""

    id: str
    key: str | None
    type: str
    env: str
    to: str
    state: OutcomeState
    code: str = ""
    pointer: str = ""
    ack: Statement | None = None


def add(writing: Writing, letter: Letter) -> Sent:
    """Put a letter into the outbox, or return the one that is there under its key."""
    first = by_key(writing.connection, letter.key) if letter.key is not None else None
    if first is not None:
        return first
    row = (letter.id, letter.env, letter.source, letter.type, letter.audience, letter.compact, letter.body)
    found = writing.connection.execute(
        "INSERT INTO lgsp_outbox (id, env, source, type, audience, compact, body, key, until)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*row, letter.key, letter.until.timestamp()),
    )
    writing.queued.append(_outgoing((found.lastrowid, *row, letter.key)))
    return Sent(id=letter.id, env=letter.env, key=letter.key, state="queued", receipt=None)


def receipted(writing: Writing, receipts: Sequence[tuple[int, str]]) -> None:
    """Store receipts by position; the bus holds the bodies now, so they are dropped here."""
    writing.connection.executemany(
        "UPDATE lgsp_outbox SET state = 'receipted', receipt = ?, body = NULL WHERE seq = ? AND state = 'queued'",
        [(receipt, seq) for seq, receipt in receipts],
    )


def refused(writing: Writing, seq: int, outcome: Outcome) -> None:
    """Store the bus's final "no"; the key is free again, since nothing took effect under it."""
    writing.connection.execute("UPDATE lgsp_outbox SET state = 'refused', body = NULL WHERE seq = ?", (seq,))
    _tell(writing, outcome)


def settled(writing: Writing, outcomes: Sequence[Outcome]) -> None:
    """Store what became of envelopes at their receivers; a settled outcome stays, a parked one may still change."""
    for outcome in outcomes:
        _tell(writing, outcome)


def _tell(writing: Writing, outcome: Outcome) -> None:
    ack = outcome.ack.text() if outcome.ack else None
    row = (outcome.env, outcome.to, outcome.state, outcome.code, outcome.pointer, ack, int(outcome.state == "acked"))
    writing.connection.execute(
        "INSERT INTO lgsp_outcomes (env, receiver, state, code, pointer, ack, noticed) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (env, receiver) DO UPDATE SET state = excluded.state, code = excluded.code,"
        " pointer = excluded.pointer, ack = excluded.ack, noticed = excluded.noticed WHERE state = 'parked'",
        row,
    )


def notice(writing: Writing, outcome: Outcome) -> None:
    """Remember that the adapter has acted on an outcome; another one that came meanwhile is still to be shown."""
    writing.connection.execute(
        "UPDATE lgsp_outcomes SET noticed = 1 WHERE env = ? AND receiver = ? AND state = ?",
        (outcome.env, outcome.to, outcome.state),
    )


def queued_after(reader: sqlite3.Connection, seq: int, limit: int) -> list[Outgoing]:
    """Return the next envelopes without a receipt, in order."""
    rows = reader.execute(
        f"SELECT {COLUMNS} FROM lgsp_outbox WHERE state = 'queued' AND seq > ? ORDER BY seq LIMIT ?",  # noqa: S608 - a constant of ours
        (seq, limit),
    )
    return [_outgoing(row) for row in rows]


def _outgoing(row: tuple[Any, ...]) -> Outgoing:
    return Outgoing(**dict(zip(COLUMNS.split(", "), row, strict=True)))


def by_key(reader: sqlite3.Connection, key: str) -> Sent | None:
    """Return the envelope that was sent under a key, unless the bus refused it."""
    return _sent_where(reader, "key = ? AND state <> 'refused'", key)


def by_id(reader: sqlite3.Connection, identifier: str) -> Sent | None:
    """Return the envelope of an id."""
    return _sent_where(reader, "id = ?", identifier)


def posted(reader: sqlite3.Connection, env: str) -> Posted | None:
    """Return what an outcome of the envelope of an env hash is judged by."""
    row = reader.execute("SELECT id, key, type, audience FROM lgsp_outbox WHERE env = ?", (env,)).fetchone()
    return Posted(id=row[0], key=row[1], type=row[2], audience=row[3]) if row else None


def _sent_where(reader: sqlite3.Connection, where: str, value: str) -> Sent | None:
    row = reader.execute(
        f"SELECT id, env, key, state, receipt FROM lgsp_outbox WHERE {where}",  # noqa: S608 - the texts above
        (value,),
    ).fetchone()
    if row is None:
        return None
    receipt = statements.from_text(row[4]) if row[4] else None
    return Sent(id=row[0], env=row[1], key=row[2], state=row[3], receipt=receipt)


def state_of(reader: sqlite3.Connection, identifier: str) -> str | None:
    """Return the state of the envelope of an id."""
    row = reader.execute("SELECT state FROM lgsp_outbox WHERE id = ?", (identifier,)).fetchone()
    return str(row[0]) if row else None


def outcome_of(reader: sqlite3.Connection, identifier: str) -> Outcome | None:
    """Return what became of the envelope of an id: a settled outcome before one that may still change."""
    found = _outcomes(reader, "o.id = ? ORDER BY c.state = 'parked' LIMIT 1", identifier)
    return found[0] if found else None


def unnoticed(reader: sqlite3.Connection) -> list[Outcome]:
    """Return the outcomes other than `acked` that nobody has acted on, in the order of the outbox."""
    return _outcomes(reader, "c.noticed = 0 ORDER BY o.seq")


def _outcomes(reader: sqlite3.Connection, where: str, *values: str) -> list[Outcome]:
    rows = reader.execute(
        "SELECT o.id, o.key, o.type, c.env, c.receiver, c.state, c.code, c.pointer, c.ack"  # noqa: S608 - the texts above
        f" FROM lgsp_outcomes c JOIN lgsp_outbox o USING (env) WHERE {where}",
        values,
    )
    return [
        Outcome(
            id=row[0],
            key=row[1],
            type=row[2],
            env=row[3],
            to=row[4],
            state=row[5],
            code=row[6],
            pointer=row[7],
            ack=statements.from_text(row[8]) if row[8] else None,
        )
        for row in rows
    ]


def forget(writing: Writing, before: datetime) -> None:
    """Drop what was over before a moment, any answer included, and is no longer on its way."""
    moment = (before.timestamp(),)
    gone = "SELECT env FROM lgsp_outbox WHERE until < ? AND state <> 'queued'"
    writing.connection.execute(f"DELETE FROM lgsp_outcomes WHERE env IN ({gone})", moment)  # noqa: S608 - the text above
    writing.connection.execute("DELETE FROM lgsp_outbox WHERE until < ? AND state <> 'queued'", moment)
