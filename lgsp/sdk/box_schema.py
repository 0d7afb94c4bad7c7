"""The tables of a system's box, and how its file is opened: private to its user, write-ahead logged, synced at each commit.

An adapter's own tables may live in the same file; the names of ours begin with `lgsp_`. What is written and read is `outbox`'s and `marks`'.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from lgsp import walkeeper
from lgsp.errors import Unusable, not_usable

VERSION: Final = 3
OF_LOST_RECEIPTS: Final = """\
CREATE TABLE lgsp_newest (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  position INTEGER NOT NULL,
  env TEXT NOT NULL
) STRICT;
CREATE TABLE lgsp_superseded (
  id TEXT NOT NULL,
  env TEXT NOT NULL,
  receipt TEXT NOT NULL
) STRICT;
"""
"""`lgsp_newest`: the receipt with the highest index; `lgsp_superseded`: those of a log that was rolled back."""
OUTCOMES: Final = """\
CREATE TABLE lgsp_outcomes (
  seq INTEGER NOT NULL,
  receiver TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('refused', 'acked', 'rejected', 'parked', 'expired')),
  code TEXT NOT NULL,
  pointer TEXT NOT NULL,
  ack TEXT,
  noticed INTEGER NOT NULL,
  PRIMARY KEY (seq, receiver)
) STRICT, WITHOUT ROWID;
CREATE INDEX lgsp_outcomes_unnoticed ON lgsp_outcomes (seq) WHERE noticed = 0;
"""
"""`seq` is the envelope's in the outbox: what is settled together stands together, where by env hash each outcome had a page of its own to write."""
TABLES: Final = f"""
CREATE TABLE lgsp_outbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  key TEXT,
  env TEXT NOT NULL UNIQUE,
  source TEXT NOT NULL,
  type TEXT NOT NULL,
  audience TEXT NOT NULL,
  compact BLOB NOT NULL,
  body BLOB,
  state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'receipted', 'refused')),
  receipt TEXT,
  until REAL NOT NULL,
  keeps TEXT NOT NULL DEFAULT 'outcome' CHECK (keeps IN ('outcome', 'reply', 'expiry'))
) STRICT;
CREATE UNIQUE INDEX lgsp_outbox_key ON lgsp_outbox (key) WHERE key IS NOT NULL AND state <> 'refused';
CREATE INDEX lgsp_outbox_queued ON lgsp_outbox (seq) WHERE state = 'queued';
{OUTCOMES}CREATE TABLE lgsp_inbox (
  source TEXT NOT NULL,
  id TEXT NOT NULL,
  env TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL CHECK (state IN ('uncertain', 'done')),
  statement TEXT,
  settled INTEGER NOT NULL DEFAULT 0,
  cause TEXT,
  compact BLOB,
  body BLOB,
  until REAL NOT NULL,
  PRIMARY KEY (source, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX lgsp_inbox_unsettled ON lgsp_inbox (env) WHERE settled = 0 AND state = 'done';
CREATE INDEX lgsp_inbox_cause ON lgsp_inbox (cause) WHERE cause IS NOT NULL;
CREATE TABLE lgsp_directories (
  version INTEGER PRIMARY KEY,
  statement BLOB NOT NULL,
  records TEXT NOT NULL
) STRICT;
{OF_LOST_RECEIPTS}"""
"""`keeps`: until when the body is."""
STEPS: Final = {
    1: f"""
ALTER TABLE lgsp_outbox ADD COLUMN
  keeps TEXT NOT NULL DEFAULT 'outcome' CHECK (keeps IN ('outcome', 'reply', 'expiry'));
{OF_LOST_RECEIPTS}""",
    2: f"""
ALTER TABLE lgsp_outcomes RENAME TO lgsp_outcomes_by_env;
DROP INDEX lgsp_outcomes_unnoticed;
{OUTCOMES}\
INSERT INTO lgsp_outcomes (seq, receiver, state, code, pointer, ack, noticed)
  SELECT seq, receiver, c.state, code, pointer, ack, noticed FROM lgsp_outcomes_by_env c JOIN lgsp_outbox USING (env);
DROP TABLE lgsp_outcomes_by_env;
""",  # noqa: S608 - the tables above
}
"""What makes of each version the next."""


def open_writer(path: Path) -> sqlite3.Connection:
    """Return the one writing connection, for use on another thread; refuse as `data_missing`, `data_newer` or `data_unusable`."""
    _create_private(path)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {walkeeper.BACKSTOP}")
        connection.execute("PRAGMA busy_timeout = 5000")
        _prepare(connection, path)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise Unusable("data_unusable", f"box {path}: {error}") from None
    except Unusable:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Return a connection that can only read."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.execute("PRAGMA busy_timeout = 5000")
    return connection


def open_to_look(path: Path) -> sqlite3.Connection:
    """Return a connection that can only read to the box of a system that may be running; refuse (`data_missing`) where there is none."""
    if not path.is_file():
        raise Unusable("data_missing", f"{path}")
    return open_reader(path)


def _create_private(path: Path) -> None:
    """Make the file before SQLite does: bodies pass through it, so nobody else may read it."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise not_usable(f"box {path}", error) from None


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        _bring_up(connection, path)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _bring_up(connection: sqlite3.Connection, path: Path) -> None:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > VERSION:
        raise Unusable("data_newer", f"box {path}")
    wanted = [TABLES] if found == 0 else [STEPS[version] for version in range(found, VERSION)]
    for step in wanted:
        for statement in step.split(";\n"):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
