"""A database's ledger as one SQLite file, and an empty database filled from such a file: the same tables, row by row, through the driver alone.

A copy is one snapshot of the server (REPEATABLE READ), taken beside running gateways. Filling is one transaction: all of it or nothing. A few
thousand rows are in memory at a time.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
import sqlalchemy as sa

from lgsp.backends.sql import tables
from lgsp.backends.sql.postgresql import making
from lgsp.backends.sql.postgresql import statements as sql
from lgsp.backends.sql.sqlite import files
from lgsp.backends.sql.sqlite import statements as sqlite_sql
from lgsp.errors import Unusable
from lgsp.machine import sync

ROWS_AT_ONCE: Final = 2_000
COPY_SECONDS: Final = 24 * 3_600.0
"""How long one step may take: a year's log is not loaded in minutes."""
SETTLING_SECONDS: Final = 60.0
"""How long a filling whose connection was lost may take to end."""
HAS_LOG: Final = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'entry'"
FAST: Final = ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF")
"""For a file that is thrown away unless it is complete."""


async def copy_database(dsn: str, target: Path) -> None:
    """Write one state of the whole ledger to a new SQLite file, while gateways go on; refuse as `form_at` and as opening the ledger does."""
    files.make_private(target)
    async with making.connected(dsn, seconds=COPY_SECONDS) as connection, making.told_plainly():
        form = await making.form_of(connection)
        if form is None:
            raise Unusable("data_missing", "the database holds no ledger yet")
        form.check("the database")
        with files.told_plainly(target), _new_file(target) as file:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                for table in tables.METADATA.sorted_tables:
                    await _copy_table(connection, table, file)
    sync(target)


@contextmanager
def _new_file(target: Path) -> Iterator[sqlite3.Connection]:
    """Give a file with the tables; their indexes are made when the rows are in."""
    with closing(sqlite3.connect(target, isolation_level=None, check_same_thread=False)) as file:
        for pragma in FAST:
            file.execute(pragma)
        made, indexes = _tables_first(sqlite_sql.creation())
        for statement in made:
            file.execute(statement)
        yield file
        for statement in indexes:
            file.execute(statement)


def _tables_first(creation: Iterable[str]) -> tuple[list[str], list[str]]:
    statements = list(creation)
    indexes = [each for each in statements if "INDEX" in each.partition("(")[0]]
    return [each for each in statements if each not in indexes], indexes


async def _copy_table(connection: asyncpg.Connection, table: sa.Table, file: sqlite3.Connection) -> None:
    names = [column.name for column in table.c]
    places = ", ".join("?" * len(names))
    insert = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places})"  # noqa: S608 - names of ours
    cursor = await connection.cursor(f"SELECT {', '.join(names)} FROM {table.name}")  # noqa: S608 - names of ours
    while rows := await cursor.fetch(ROWS_AT_ONCE):
        await asyncio.to_thread(_insert, file, insert, rows)


def _insert(file: sqlite3.Connection, insert: str, rows: Sequence[Sequence[Any]]) -> None:
    file.execute("BEGIN")
    file.executemany(insert, [tuple(row) for row in rows])
    file.execute("COMMIT")


async def fill_database(dsn: str, source: Path) -> None:
    """Bring a copy of this program's form into a database without tables, whole or not at all; refuse (`file_exists`) one that has tables."""
    with files.told_plainly(source), closing(files.connect_to_copy(source)) as file:
        form = files.form_of(file, source)
        form.check(source.name)
        async with making.connected(dsn, seconds=COPY_SECONDS) as connection, _told(source), making.alone(connection):
            if await making.form_of(connection) is not None:
                raise Unusable("file_exists", "the database holds tables already; name an empty one")
            made, indexes = _tables_first(sql.creation())
            for statement in made:
                await connection.execute(statement)
            for table in tables.METADATA.sorted_tables:
                await _fill_table(connection, table, file)
            for statement in indexes:
                await connection.execute(statement)


async def was_filled(dsn: str, source: Path) -> bool:
    """Tell whether the database holds the log of a copy, once nobody fills it any more; refuse (`database_away`) when that cannot be known."""
    with files.told_plainly(source), closing(files.connect_to_copy(source)) as file:
        [(size, leaf)] = file.execute("SELECT seq, leaf FROM entry ORDER BY seq DESC LIMIT 1").fetchall()
    # Under the lock of the log: a filling whose connection was lost may still be committing.
    async with making.connected(dsn, seconds=SETTLING_SECONDS) as connection, making.alone(connection):
        if not await connection.fetchval(HAS_LOG):
            return False
        return bool(await connection.fetchval("SELECT leaf FROM entry WHERE seq = $1", size) == leaf)


@asynccontextmanager
async def _told(source: Path) -> AsyncIterator[None]:
    """Tell what the tables do not take from what is wrong with the database."""
    async with making.told_plainly():
        try:
            yield
        except (TypeError, asyncpg.DataError, asyncpg.InterfaceError, asyncpg.IntegrityConstraintViolationError):
            raise Unusable("data_unusable", f"{source.name}: a row of it fits into no table") from None


async def _fill_table(connection: asyncpg.Connection, table: sa.Table, file: sqlite3.Connection) -> None:
    names = [column.name for column in table.c]
    async with aclosing(_rows_of(file, table.name, names)) as rows:
        await connection.copy_records_to_table(table.name, records=rows, columns=names)


async def _rows_of(file: sqlite3.Connection, table: str, names: Sequence[str]) -> AsyncGenerator[tuple[Any, ...], None]:
    with closing(file.execute(f"SELECT {', '.join(names)} FROM {table}")) as cursor:  # noqa: S608 - names of ours
        while rows := await asyncio.to_thread(cursor.fetchmany, ROWS_AT_ONCE):
            for row in rows:
                yield row
