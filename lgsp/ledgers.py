"""A ledger, its form and its copies, whichever engine it is on: the other module that names backends, for those who run no gateway.

A copy is one SQLite file. How it is packed, checked and brought back is the commands'. Only the engine of the settings is loaded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from lgsp.backends import sql
from lgsp.backends.sql import Form, SqliteCopy, SqliteLedger, sqlite
from lgsp.config import Settings
from lgsp.domain.entries import Draft
from lgsp.domain.statements import Statement
from lgsp.errors import Defect
from lgsp.ports.ledger import Note
from lgsp.ports.store import Store


@asynccontextmanager
async def open_ledger(settings: Settings, *, create: bool = False, write: bool = False) -> AsyncIterator[Store]:
    """Open the ledger of these settings until the block ends, if need be for reading unless it is to `write`; `create` makes an empty one."""
    storage = settings.storage
    store = (
        await sql.PostgresLedger.open(storage.address, create=create)
        if storage.kind == "postgresql"
        else SqliteLedger.open(storage.path, create=create, write=write)
    )
    try:
        yield store
    finally:
        await store.close()


async def ledger_form(settings: Settings) -> Form | None:
    """Return which form the ledger's tables have, None where there are none yet; refuse as opening the ledger does."""
    storage = settings.storage
    if storage.kind == "postgresql":
        return await sql.postgresql.form_at(storage.address)
    return sqlite.form_at(storage.path)


async def upgrade_ledger(settings: Settings) -> None:
    """Bring the ledger's tables to this program's form; for SQLite the caller holds the data folder."""
    storage = settings.storage
    if storage.kind == "postgresql":
        await sql.postgresql.upgrade(storage.address)
    else:
        sqlite.upgrade(storage.path)


async def gateways_on(settings: Settings) -> int:
    """Return how many gateways run on a database; on a file none that would not hold its data folder."""
    storage = settings.storage
    return await sql.postgresql.count_gateways(storage.address) if storage.kind == "postgresql" else 0


async def copy_ledger(settings: Settings, target: Path) -> None:
    """Write one state of the ledger to a new SQLite file, beside running gateways or without any."""
    storage = settings.storage
    if storage.kind == "postgresql":
        await sql.postgresql.copy_database(storage.address, target)
    else:
        sqlite.copy_file(storage.path, target)


async def place_ledger(settings: Settings, copy: Path) -> None:
    """Make a copy of this program's form the ledger, where there is none, whole or not at all; a file is moved, so it lies on the same disk."""
    storage = settings.storage
    if storage.kind == "postgresql":
        await sql.postgresql.fill_database(storage.address, copy)
    else:
        sqlite.place_file(copy, storage.path)


async def is_placed(settings: Settings, copy: Path) -> bool:
    """Tell whether a copy has become the ledger, after placing it failed; refuse (`database_away`) when that cannot be known."""
    storage = settings.storage
    if storage.kind == "postgresql":
        return await sql.postgresql.was_filled(storage.address, copy)
    return sqlite.was_placed(copy)


@contextmanager
def open_copy(path: Path) -> Iterator[SqliteCopy]:
    """Open a copy of a ledger for reading alone."""
    copy = SqliteCopy.open(path)
    try:
        yield copy
    finally:
        copy.close()


async def note_in_copy(path: Path, entry: Draft) -> None:
    """Bring a copy to this program's form and append an entry to its log, before it becomes the ledger."""
    sqlite.upgrade(path)
    ledger = SqliteLedger.open(path)
    try:
        await ledger.commit([Note(entry=entry)], _sign_nothing)
    finally:
        await ledger.close()


def _sign_nothing(items: Sequence[bytes], _version: int) -> Sequence[Statement]:
    raise Defect(f"{len(items)} receipts where none is made")
