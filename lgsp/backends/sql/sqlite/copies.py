"""Copies of a ledger, each one SQLite file of its own: taken from a file that is in use, and read without changing a byte of them.

A copy is never opened for writing where it lies. What it is checked against, and where it goes, is left to others.
"""

from __future__ import annotations

import asyncio
import errno
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from lgsp.backends.sql.schema import VERSION, Form
from lgsp.backends.sql.sqlite import files, queries
from lgsp.backends.sql.sqlite import statements as sql
from lgsp.domain.exchange import Delivery, Exchange
from lgsp.errors import Unusable, not_usable
from lgsp.machine import sync
from lgsp.ports.directory import SignedRecords
from lgsp.ports.ledger import SubjectLink
from lgsp.ports.retention import Evidence

FIRST_THAT_FORGETS: Final = 3
"""The first form in which exchanges are forgotten."""
FIRST_WITH_NODES: Final = 4
"""The first form that stores nodes of the tree, what a witness has co-signed, and receipts of forgotten exchanges."""


def copy_file(source: Path, target: Path) -> None:
    """Write one state of the whole file to a new one; a gateway may write meanwhile, and nothing of what was deleted comes along."""
    if not source.is_file():
        raise Unusable("data_missing", f"{source.name} is not there")
    files.make_private(target)
    with files.told_plainly(source), closing(files.open_reader(source)) as connection:
        connection.execute("PRAGMA query_only = OFF")  # else not even another file is written
        try:
            connection.execute("VACUUM INTO ?", (str(target),))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & files.PRIMARY_CODE != sqlite3.SQLITE_FULL:
                raise
            raise not_usable(target, OSError(errno.ENOSPC, "")) from None  # it is the copy's disk, not the ledger's
    sync(target)


def place_file(copy: Path, target: Path) -> None:
    """Move a copy to where a ledger is to be, on the same disk; refuse (`file_exists`) to take the place of anything."""
    if target.exists():
        raise Unusable("file_exists", f"{target}")
    if files.has_writes_beside(target):
        raise Unusable("file_exists", f"{target}-wal: it is of the ledger that was there; move it along with that file")
    sync(copy)
    copy.rename(target)
    sync(target.parent)


def was_placed(copy: Path) -> bool:
    """Tell whether a copy has become the ledger, after placing it failed: it was moved."""
    return not copy.exists()


class SqliteCopy:
    """What a copy holds, for whoever checks it; of any form up to this program's."""

    def __init__(self, connection: sqlite3.Connection, form: Form) -> None:
        self._connection = connection
        self.form = form

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a copy; refuse as `data_missing`, `data_newer` or `data_unusable` what is none."""
        if not path.is_file():
            raise Unusable("data_missing", f"{path.name} is not there")
        with files.told_plainly(path), files.closed_on_failure(files.connect_to_copy(path)) as connection:
            form = files.form_of(connection, path)
            if form.version > VERSION:
                raise Unusable("data_newer", f"{path.name} has version {form.version}, this program knows {VERSION}")
            return cls(connection, form)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    async def size(self) -> int:
        """Return the number of entries."""
        return queries.size(self._connection)

    async def leaves(self, start: int, stop: int) -> list[bytes]:
        """Return the leaf hashes of entries start..stop-1."""
        return await asyncio.to_thread(queries.column, self._connection, sql.LEAVES, {"start": start, "stop": stop})

    async def entries(self, start: int, stop: int) -> list[bytes]:
        """Return the bytes of entries start..stop-1."""
        return await asyncio.to_thread(queries.column, self._connection, sql.ENTRIES, {"start": start, "stop": stop})

    async def hashed(self, start: int, stop: int) -> list[tuple[bytes, bytes]]:
        """Return the bytes of entries start..stop-1, each with its leaf hash."""
        return await asyncio.to_thread(queries.rows, self._connection, sql.HASHED, {"start": start, "stop": stop})

    async def checkpoint(self) -> str:
        """Return the last kept checkpoint, or ""."""
        return queries.note(self._connection, sql.CHECKPOINT)

    async def cosigned(self) -> str:
        """Return the last kept checkpoint that a witness has co-signed, or ""."""
        if self.form.version < FIRST_WITH_NODES:
            return ""
        return queries.note(self._connection, sql.COSIGNED)

    async def subtree_count(self, level: int) -> int:
        """Return how many hashes of a level of the tree are stored; none before form 4."""
        if self.form.version < FIRST_WITH_NODES:
            return 0
        [count] = queries.column(self._connection, sql.SUBTREE_COUNT, {"level": level})
        return int(count)

    async def subtrees(self, level: int, start: int, stop: int) -> list[bytes]:
        """Return the stored hashes start..stop-1 of a level."""
        return queries.column(self._connection, sql.SUBTREES, {"level": level, "start": start, "stop": stop})

    async def exchanges_of(self, envs: Sequence[str]) -> list[Exchange]:
        """Return the exchanges of those among these env hashes that are held, in no order."""
        return await asyncio.to_thread(queries.exchanges_of, self._connection, envs)

    async def deliveries_of(self, envs: Sequence[str]) -> list[Delivery]:
        """Return all deliveries of these envelopes that are held, in no order."""
        return await asyncio.to_thread(
            queries.deliveries, self._connection, sql.DELIVERIES_OF, {"envs": json.dumps(list(envs))}
        )

    async def evidence_of(self, envs: Sequence[str]) -> list[Evidence]:
        """Return what stays of those among these env hashes whose exchanges are forgotten, in no order; receipts since form 4."""
        if self.form.version < FIRST_THAT_FORGETS:
            return []
        text = sql.EVIDENCE_OF if self.form.version >= FIRST_WITH_NODES else sql.EVIDENCE_WITHOUT_RECEIPTS
        return await asyncio.to_thread(queries.evidence_of, self._connection, envs, text)

    async def persons_of(self, envs: Sequence[str]) -> dict[str, list[SubjectLink]]:
        """Return the persons that these envelopes name, as pseudonyms, by env hash."""
        return await asyncio.to_thread(queries.persons_of, self._connection, envs)

    async def oldest(self) -> datetime | None:
        """Return when the oldest exchange that is held was accepted."""
        return await asyncio.to_thread(queries.oldest, self._connection)

    async def exchange_of(self, env: str) -> Exchange | None:
        """Return the exchange of an env hash."""
        return queries.exchange_by_env(self._connection, env)

    async def documents(self) -> dict[str, bytes]:
        """Return every schema document by URN."""
        return queries.pairs(self._connection, sql.DOCUMENTS)

    async def head(self) -> SignedRecords | None:
        """Return the latest version of the directory, or None before the first."""
        return queries.head(self._connection)

    async def at(self, version: int) -> SignedRecords | None:
        """Return one version of the directory."""
        return queries.version(self._connection, version)
