"""The embedded shape of the floor: everything in one SQLite file, one transaction and one fsync for each group."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from tests.bench.floor import boxes
from tests.bench.floor.boxes import BoxFile
from tests.bench.floor.ledger import Ledger, Operation, Rows
from tests.bench.floor.names import RECEIVER


class SqliteStore:
    """One file."""

    def __init__(self, path: Path) -> None:
        self._file = BoxFile(path, boxes.LEDGER)
        self._size = 0

    async def commit(self, group: Sequence[Operation], ledger: Ledger) -> Rows:
        rows = await self._file.write(lambda connection: self._write(connection, ledger.rows(group, self._size)))
        self._size = rows.size
        return rows

    def _write(self, connection: sqlite3.Connection, rows: Rows) -> Rows:
        connection.executemany("INSERT INTO entry VALUES (?, ?, ?)", rows.entries)
        connection.executemany(
            "INSERT INTO exchange VALUES (?, ?, ?, ?, ?)",
            [
                (each.env, each.manifest.source, each.manifest.id, each.wire.compact, receipt.text())
                for each, receipt in rows.accepted
            ],
        )
        connection.executemany(
            "INSERT INTO delivery VALUES (?, ?, 'queued', '')", [(each.env, RECEIVER) for each, _ in rows.accepted]
        )
        connection.executemany("INSERT INTO body VALUES (?, ?)", [(each.env, each.sealed) for each, _ in rows.accepted])
        connection.executemany(
            "UPDATE delivery SET state = 'acked', ack = ? WHERE env = ? AND state = 'queued'",
            [(each.ack.text(), each.env) for each in rows.settled],
        )
        connection.executemany("DELETE FROM body WHERE env = ?", [(each.env,) for each in rows.settled])
        return rows

    async def counts(self) -> dict[str, int]:
        return {
            "exchanges": await self._file.count("SELECT count(*) FROM exchange"),
            "settled": await self._file.count("SELECT count(*) FROM delivery WHERE state = 'acked'"),
            "bodies": await self._file.count("SELECT count(*) FROM body"),
            "entries": await self._file.count("SELECT count(*) FROM entry"),
        }

    async def close(self) -> None:
        """Nothing is held that the process's end would not let go of."""
