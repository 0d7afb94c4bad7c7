"""SQLite files of the floor: one writing connection on one thread, write-ahead log, synced at each commit."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")
PAGES_KEPT: Final = 4_000
"""Pages of the write-ahead log after which SQLite copies them into the file."""

OUTBOX: Final = """
CREATE TABLE outbox (env TEXT PRIMARY KEY, id TEXT NOT NULL, compact BLOB NOT NULL, body BLOB NOT NULL, receipt TEXT) STRICT;
CREATE TABLE outcome (env TEXT PRIMARY KEY, ack TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""
INBOX: Final = """
CREATE TABLE inbox (env TEXT PRIMARY KEY, source TEXT NOT NULL, id TEXT NOT NULL, ack TEXT NOT NULL, UNIQUE (source, id)) STRICT;
"""
LEDGER: Final = """
CREATE TABLE entry (seq INTEGER PRIMARY KEY, leaf BLOB NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE exchange (env TEXT PRIMARY KEY, source TEXT NOT NULL, id TEXT NOT NULL, compact BLOB NOT NULL, receipt TEXT NOT NULL,
  UNIQUE (source, id)) STRICT;
CREATE TABLE delivery (env TEXT PRIMARY KEY, inbox TEXT NOT NULL, state TEXT NOT NULL, ack TEXT NOT NULL) STRICT;
CREATE TABLE body (env TEXT PRIMARY KEY, sealed BLOB NOT NULL) STRICT;
"""


class BoxFile:
    """A new file with its tables."""

    def __init__(self, path: Path, tables: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {PAGES_KEPT}")
        self._connection.executescript(tables)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=path.name)

    async def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Return the result of a change once it is durable."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._change, change)

    def _change(self, change: Callable[[sqlite3.Connection], T]) -> T:
        self._connection.execute("BEGIN IMMEDIATE")
        result = change(self._connection)
        self._connection.execute("COMMIT")
        return result

    async def count(self, query: str) -> int:
        """Return the one number that a query gives."""
        return int(await self.write(lambda connection: connection.execute(query).fetchone()[0]))
