"""The outbox's rows: what was signed and is sent until the bus has receipted it, and what became of it.

Functions named for a change are operations of the box's thread; the others read. When to send is `sender`'s.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from lgsp.domain import statements, strictjson
from lgsp.domain.statements import Statement
from lgsp.domain.values import fixed
from lgsp.sdk.box import Outgoing, Writing

Keeps = Literal["outcome", "reply", "expiry"]
OutcomeState = Literal["refused", "acked", "rejected", "parked", "expired"]

KNOWN_AFTER: Final = timedelta(days=29)
"""How long after its end an envelope is surely known to the bus, which keeps it for 30 days (protocol section 4, step 11). What was receipted
before it may live for longer, so its own end does not end the questions about it."""
INDEX: Final = re.compile(r'\\"index\\":([0-9]{1,18})')
"""The index within the text of a verified receipt, whose item is a string within it."""
COLUMNS: Final = "seq, id, env, source, type, audience, compact, body, key"
"""In the order in which `_outgoing` takes them."""


@fixed
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
    keeps: Keeps = "outcome"
    """Until when its body is kept, should the bus have to be told of it again: until its outcome, its reply, or `until`."""


@fixed
class Sent:
    """An envelope that is durable in the outbox; `receipt` is None until the bus has given it."""

    id: str
    env: str
    key: str | None
    state: Literal["queued", "receipted", "refused"]
    receipt: Statement | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipted:
    """A receipt of the outbox; `state` is what became of the envelope, `repeated` where the bus has given another receipt since."""

    id: str
    env: str
    receipt: str
    state: str


@fixed
class Posted:
    """What was said about an envelope of the outbox when it was posted."""

    id: str
    key: str | None
    type: str
    audience: str


@fixed
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
    row = (letter.id, letter.env, letter.source, letter.type, letter.audience, letter.compact, letter.body, letter.key)
    found = writing.connection.execute(
        "INSERT INTO lgsp_outbox (id, env, source, type, audience, compact, body, key, until, keeps)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*row, letter.until.timestamp(), letter.keeps),
    )
    writing.queued.append(_outgoing((found.lastrowid, *row)))
    return Sent(id=letter.id, env=letter.env, key=letter.key, state="queued", receipt=None)


def receipted(writing: Writing, receipts: Sequence[tuple[int, str]]) -> None:
    """Store receipts by position. The bodies stay: should the bus lose what it receipted last, they are sent to it again."""
    writing.connection.executemany(
        "UPDATE lgsp_outbox SET state = 'receipted', receipt = ? WHERE seq = ? AND state = 'queued'",
        [(receipt, seq) for seq, receipt in receipts],
    )
    _remember_newest(writing, [receipt for _, receipt in receipts])


def _remember_newest(writing: Writing, receipts: Sequence[str]) -> None:
    """Remember whose receipt names the highest index: a log that was rolled back does not know that one."""
    position, newest = max((int(INDEX.findall(receipt)[-1]), receipt) for receipt in receipts)
    item = strictjson.parse_object(statements.from_text(newest).item.encode())
    writing.connection.execute(
        "INSERT INTO lgsp_newest (one, position, env) VALUES (1, ?, ?) ON CONFLICT (one) DO UPDATE"
        " SET position = excluded.position, env = excluded.env WHERE excluded.position > position",
        (position, item["env"]),
    )


def refused(writing: Writing, seq: int, outcome: Outcome) -> None:
    """Store the bus's final "no"; the key is free again, since nothing took effect under it."""
    writing.connection.execute("UPDATE lgsp_outbox SET state = 'refused', body = NULL WHERE seq = ?", (seq,))
    tell(writing, [outcome])


def settled(writing: Writing, outcomes: Sequence[Outcome]) -> None:
    """Store what became of envelopes at their receivers; a settled outcome stays, a parked one may still change."""
    tell(writing, outcomes)
    over = [(outcome.env, outcome.state) for outcome in outcomes if outcome.state != "parked"]
    writing.connection.executemany(
        "UPDATE lgsp_outbox SET body = NULL WHERE env = ?1 AND state = 'receipted'"
        " AND (keeps = 'outcome' OR (keeps = 'reply' AND ?2 <> 'acked'))",
        over,
    )


def answered(writing: Writing, identifier: str) -> None:
    """Take note that the reply to an envelope is settled: nobody has to be told of the request again."""
    writing.connection.execute("UPDATE lgsp_outbox SET body = NULL WHERE id = ? AND state = 'receipted'", (identifier,))


def tell(writing: Writing, outcomes: Sequence[Outcome]) -> None:
    """Store outcomes of what is in the outbox; one that may no longer change stays."""
    writing.connection.executemany(
        "INSERT INTO lgsp_outcomes (seq, receiver, state, code, pointer, ack, noticed)"
        " SELECT seq, ?2, ?3, ?4, ?5, ?6, ?7 FROM lgsp_outbox WHERE env = ?1"
        " ON CONFLICT (seq, receiver) DO UPDATE SET state = excluded.state, code = excluded.code,"
        " pointer = excluded.pointer, ack = excluded.ack, noticed = excluded.noticed WHERE state = 'parked'",
        [_told(outcome) for outcome in outcomes],
    )


def _told(outcome: Outcome) -> tuple[str | int | None, ...]:
    ack = outcome.ack.text() if outcome.ack else None
    needs_nobody = outcome.state == "acked"
    return (outcome.env, outcome.to, outcome.state, outcome.code, outcome.pointer, ack, int(needs_nobody))


def notice(writing: Writing, outcome: Outcome) -> None:
    """Remember that the adapter has acted on an outcome; another one that came meanwhile is still to be shown."""
    writing.connection.execute(
        "UPDATE lgsp_outcomes SET noticed = 1 WHERE receiver = ?2 AND state = ?3"
        " AND seq = (SELECT seq FROM lgsp_outbox WHERE env = ?1)",
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
    seq, id_, env, source, type_, audience, compact, body, key = row
    return Outgoing(
        seq=seq, id=id_, env=env, source=source, type=type_, audience=audience, compact=compact, body=body, key=key
    )


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
        "SELECT o.id, o.key, o.type, o.env, c.receiver, c.state, c.code, c.pointer, c.ack"  # noqa: S608 - the texts above
        f" FROM lgsp_outcomes c JOIN lgsp_outbox o USING (seq) WHERE {where}",
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


def receipts(reader: sqlite3.Connection) -> Iterator[Receipted]:
    """Yield every receipt, those of a log that was rolled back since first."""
    rows = reader.execute(
        "SELECT id, env, s.receipt, CASE o.state WHEN 'receipted' THEN 'repeated' ELSE o.state END"
        " FROM lgsp_superseded s JOIN lgsp_outbox o USING (id, env) UNION ALL"
        " SELECT id, env, receipt, coalesce((SELECT max(state) FROM lgsp_outcomes c WHERE c.seq = o.seq), 'open')"
        " FROM lgsp_outbox o WHERE state = 'receipted'"
    )
    for identifier, env, receipt, state in rows:
        yield Receipted(id=identifier, env=env, receipt=receipt, state=state)


def newest(reader: sqlite3.Connection, now: datetime) -> str | None:
    """Return the env hash whose receipt names the highest index, while the bus still has to know it."""
    row = reader.execute(
        "SELECT env FROM lgsp_newest JOIN lgsp_outbox USING (env) WHERE until > ?", ((now - KNOWN_AFTER).timestamp(),)
    ).fetchone()
    return str(row[0]) if row else None


def forget(writing: Writing, before: datetime, now: datetime) -> None:
    """Drop what was over before a moment, any answer included, and is no longer on its way; bodies as soon as it is over."""
    moment = (before.timestamp(),)
    writing.connection.execute(
        "UPDATE lgsp_outbox SET body = NULL WHERE until < ? AND state <> 'queued' AND body IS NOT NULL",
        (now.timestamp(),),
    )
    gone = "FROM lgsp_outbox WHERE until < ? AND state <> 'queued'"
    for table, name in (("lgsp_outcomes", "seq"), ("lgsp_superseded", "env")):
        writing.connection.execute(f"DELETE FROM {table} WHERE {name} IN (SELECT {name} {gone})", moment)  # noqa: S608 - the texts above
    writing.connection.execute(f"DELETE {gone}", moment)
