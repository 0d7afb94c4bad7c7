"""The inbox's rows: which envelopes were dealt with, under which ack, so that a second delivery takes no effect a second time.

Functions named for a change are operations of the box's thread; the others read. A body is kept only for the reply to a request that was sent
under a key, because a rerun asks for it again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from lgsp.domain.envelope import Manifest, Wire
from lgsp.errors import Refusal
from lgsp.sdk import outbox
from lgsp.sdk.box import Writing


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What is remembered of a delivered envelope; `statement` is the ack as JSON text, "" while uncertain."""

    env: str
    state: Literal["uncertain", "done"]
    statement: str


def begin(writing: Writing, manifest: Manifest, env: str) -> None:
    """Mark that an effect outside of the box is about to begin: after a crash nobody knows whether it took place."""
    _mark(writing, manifest, env, "uncertain")


def withdraw(writing: Writing, env: str) -> None:
    """Take back the mark of an effect that did not take place."""
    writing.connection.execute("DELETE FROM lgsp_inbox WHERE env = ? AND state = 'uncertain'", (env,))


def settle(writing: Writing, manifest: Manifest, env: str, item: bytes) -> None:
    """Mark an envelope as dealt with and have its ack signed; refuse (`id_conflict`) another envelope of the same id."""
    _mark(writing, manifest, env, "done")
    writing.acks.append((env, item))
    if manifest.is_reply:
        outbox.answered(writing, manifest.text("causationid"))


def _mark(writing: Writing, manifest: Manifest, env: str, state: str) -> None:
    changed = writing.connection.execute(
        "INSERT INTO lgsp_inbox (source, id, env, state, until) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (source, id) DO UPDATE SET state = excluded.state WHERE env = excluded.env AND state = 'uncertain'",
        (manifest.source, manifest.id, env, state, manifest.expires.timestamp()),
    )
    if changed.rowcount != 1:
        raise Refusal("id_conflict", "an envelope of this source and id was dealt with before")


def keep_reply(writing: Writing, env: str, cause: str, wire: Wire) -> None:
    """Keep the reply to a request that was sent under a key."""
    writing.connection.execute(
        "UPDATE lgsp_inbox SET cause = ?, compact = ?, body = ? WHERE env = ?", (cause, wire.compact, wire.body, env)
    )


def settled(writing: Writing, envs: Sequence[str]) -> None:
    """Remember that the bus has these acks."""
    writing.connection.executemany("UPDATE lgsp_inbox SET settled = 1 WHERE env = ?", [(env,) for env in envs])


def find(reader: sqlite3.Connection, envs: Sequence[str]) -> dict[str, Mark]:
    """Return the marks of those among these env hashes that have one: by one query, for each look costs as much as all of them."""
    rows = reader.execute(
        "SELECT env, state, statement FROM lgsp_inbox WHERE env IN (SELECT value FROM json_each(?))",
        (json.dumps(envs),),
    )
    return {env: Mark(env=env, state=state, statement=statement or "") for env, state, statement in rows}


def unsettled(reader: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return the acks that the bus has not confirmed: env hash and JSON text."""
    rows = reader.execute("SELECT env, statement FROM lgsp_inbox WHERE settled = 0 AND state = 'done'")
    return [(env, statement) for env, statement in rows]


def kept_reply(reader: sqlite3.Connection, cause: str) -> Wire | None:
    """Return the kept reply to the request of an id."""
    row = reader.execute("SELECT compact, body FROM lgsp_inbox WHERE cause = ?", (cause,)).fetchone()
    return Wire(compact=row[0], body=row[1]) if row else None


def has(reader: sqlite3.Connection, source: str, identifier: str) -> bool:
    """Tell whether the envelope of a source and id was dealt with: the bus had accepted it."""
    row = reader.execute(
        "SELECT 1 FROM lgsp_inbox WHERE source = ? AND id = ? AND state = 'done'", (source, identifier)
    )
    return row.fetchone() is not None


def forget(writing: Writing, before: datetime) -> None:
    """Drop the marks of what expired before a moment: the bus delivers it no more."""
    writing.connection.execute("DELETE FROM lgsp_inbox WHERE until < ?", (before.timestamp(),))
