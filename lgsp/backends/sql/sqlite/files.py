"""SQLite files: made with safe modes, opened for the one writer or for reading alone, refused when they are not the bus's."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from lgsp import walkeeper
from lgsp.backends.sql.schema import FRESH, Form
from lgsp.backends.sql.sqlite import statements as sql
from lgsp.errors import Unusable

BUSY_SECONDS: Final = 5
"""How long a writer waits for another process's transaction."""

WRITER: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA cache_size = -16384",  # KiB
    f"PRAGMA wal_autocheckpoint = {walkeeper.BACKSTOP}",
    "PRAGMA journal_size_limit = 67108864",
)
READER: Final = ("PRAGMA query_only = ON", "PRAGMA cache_size = -4096")

PRIMARY_CODE: Final = 0xFF
"""The low byte of an SQLite result is the kind of error."""
KINDS: Final = {
    sqlite3.SQLITE_BUSY: ("data_locked", "another process writes to it"),
    sqlite3.SQLITE_LOCKED: ("data_locked", "another process writes to it"),
    sqlite3.SQLITE_READONLY: ("data_unusable", "it cannot be written"),
    sqlite3.SQLITE_CANTOPEN: ("data_unusable", "it cannot be opened; the folder must be writable too"),
    sqlite3.SQLITE_FULL: ("data_unusable", "the disk is full"),
    sqlite3.SQLITE_IOERR: ("data_unusable", "the disk fails"),
    sqlite3.SQLITE_CORRUPT: ("data_unusable", "it is damaged"),
    sqlite3.SQLITE_NOTADB: ("data_unusable", "it is not a database"),
}


def open_writer(path: Path, *, create: bool) -> sqlite3.Connection:
    """Return the writing connection, of autocommit; refuse (`data_missing`, `data_newer`, `data_locked`, `data_unusable`) a file that will not do."""
    if create:
        make_private(path)
    if not path.is_file():
        raise Unusable("data_missing", f"{path.name} is not there")
    with told_plainly(path), closed_on_failure(_connect(path, "rw")) as connection:
        for pragma in WRITER:
            connection.execute(pragma)
        if create:
            _create_tables(connection)
        form_of(connection, path).check(path.name)
        with suppress(sqlite3.OperationalError):  # a full disk, say: that is for those to tell who want to write
            # Whoever was killed may have left in the log beside the file what was destroyed before.
            walkeeper.empty_log(connection, 0)
        return connection


def check_writable(path: Path) -> None:
    """Refuse (`data_unusable`) a file that may be read alone: SQLite opens it all the same, and then no commit succeeds."""
    if not os.access(path, os.W_OK, effective_ids=True):
        raise Unusable("data_unusable", f"{path.name}: it cannot be written")


def open_reader(path: Path) -> sqlite3.Connection:
    """Return a connection that cannot write."""
    with told_plainly(path), closed_on_failure(_connect(path, "ro")) as connection:
        for pragma in READER:
            connection.execute(pragma)
        return connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # Each connection is used by one thread at a time, though not by the one that opens it.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def connect_to_copy(path: Path) -> sqlite3.Connection:
    """Return a connection to a file that nobody writes: it is only read, and nothing is put beside it.

    What a program that was killed has left beside it is read with it, and then SQLite puts its own index of that there.
    """
    if has_writes_beside(path):
        return _connect(path, "ro")
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def has_writes_beside(path: Path) -> bool:
    """Tell whether committed writes lie beside a file, in its `-wal`; they are taken for those of any file of that name."""
    beside = path.with_name(f"{path.name}-wal")
    return beside.is_file() and beside.stat().st_size > 0


def make_private(path: Path) -> None:
    """Make an empty file for its owner alone; SQLite gives its other files the same mode."""
    with suppress(FileExistsError):
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileNotFoundError:
            raise Unusable("data_missing", f"the folder of {path.name} is not there") from None
        except OSError as error:
            if isinstance(error, FileExistsError):
                raise
            raise Unusable("data_unusable", f"{path.name}: it cannot be made in this folder") from None


def _create_tables(connection: sqlite3.Connection) -> None:
    """Make the tables unless they are there; two processes that try at once do it one after the other."""
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
        for statement in sql.creation():
            connection.execute(statement)
        _set_meta(connection, FRESH)
    connection.execute("COMMIT")


def _set_meta(connection: sqlite3.Connection, meta: Mapping[str, str]) -> None:
    connection.executemany(sql.SET_META, [{"name": name, "value": value} for name, value in meta.items()])


def form_of(connection: sqlite3.Connection, path: Path) -> Form:
    """Return the form of a file's tables; refuse (`data_unusable`) what is no ledger."""
    try:
        return Form.of(dict(connection.execute(sql.ALL_META)))
    except sqlite3.OperationalError:
        raise Unusable("data_unusable", f"{path.name}: it is no ledger of the bus") from None


def form_at(path: Path) -> Form | None:
    """Return the form of a file's tables, None where there is no file."""
    if not path.is_file():
        return None
    with closing(open_reader(path)) as connection, told_plainly(path):
        return form_of(connection, path)


def upgrade(path: Path) -> None:
    """Bring a file's tables to this program's form, all steps or none."""
    from lgsp.backends.sql.steps import steps  # noqa: PLC0415 - Alembic takes long to load, and only an upgrade wants it

    with told_plainly(path), closing(_connect(path, "rw")) as connection:
        for pragma in WRITER:
            connection.execute(pragma)
        connection.execute("BEGIN IMMEDIATE")
        for step in steps(sql.DIALECT, above=form_of(connection, path).version):
            for statement in step.statements:
                connection.execute(statement)
            _set_meta(connection, step.meta)
        connection.execute("COMMIT")


@contextmanager
def closed_on_failure(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Close the connection if the block fails."""
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


@contextmanager
def told_plainly(path: Path) -> Iterator[None]:
    """Turn the driver's errors into refusals with words of our own."""
    try:
        yield
    except sqlite3.Error as error:
        code, words = KINDS.get(
            getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE, ("data_unusable", "it cannot be read")
        )
        raise Unusable(code, f"{path.name}: {words}") from None
