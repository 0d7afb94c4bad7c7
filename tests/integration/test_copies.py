"""A copy of a ledger holds one state of all of it, whichever engine it comes from and whichever it goes to, while others write."""

import asyncio
import hashlib
import shutil
import sqlite3
from contextlib import closing

import asyncpg
import pytest

from lgsp.backends.sql import PostgresLedger, SqliteCopy, SqliteLedger, postgresql, sqlite
from lgsp.backends.sql.tables import METADATA
from lgsp.errors import Unusable
from lgsp.testing.bus import running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import World

TABLES = {table.name: [column.name for column in table.c] for table in METADATA.sorted_tables}
SELECT = {name: f"SELECT {', '.join(columns)} FROM {name}" for name, columns in TABLES.items()}


@pytest.fixture
async def second_database(postgresql):
    """The address of another database, made anew."""
    connection = await asyncpg.connect(postgresql.url(), timeout=30)
    try:
        await connection.execute("DROP DATABASE IF EXISTS second")
        await connection.execute("CREATE DATABASE second")
    finally:
        await connection.close()
    return postgresql.url("second")


def in_file(path):
    with closing(sqlite3.connect(path)) as file:
        return {name: sorted(map(repr, file.execute(select))) for name, select in SELECT.items()}


async def in_database(dsn):
    connection = await asyncpg.connect(dsn, timeout=30)
    try:
        return {
            name: sorted(repr(tuple(row)) for row in await connection.fetch(select)) for name, select in SELECT.items()
        }
    finally:
        await connection.close()


async def exchange(store, first, count, *, meanwhile=None):
    """Accept so many envelopes of a made-up province; `meanwhile` runs beside them."""
    world = World.make()
    clock = ManualClock(world.now)
    async with running_bus(world, store, clock=clock, entropy=SeededEntropy(first, clock)) as bus:
        writing = [
            asyncio.create_task(bus.ingress.submit(world.envelope(number=number), peer="test"))
            for number in range(first, first + count)
        ]
        if meanwhile is not None:
            await meanwhile()
        await asyncio.gather(*writing)


def hash_of(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


async def size_of(path):
    copy = SqliteCopy.open(path)
    try:
        return await copy.size()
    finally:
        copy.close()


async def test_a_database_goes_into_a_file_and_into_another_database_row_by_row(database, second_database, tmp_path):
    store = await PostgresLedger.open(database, create=True)
    await exchange(store, 1, 40)
    await store.close()
    await postgresql.copy_database(database, tmp_path / "copy.sqlite")
    await postgresql.fill_database(second_database, tmp_path / "copy.sqlite")
    kept = await in_database(database)
    assert in_file(tmp_path / "copy.sqlite") == kept
    assert await in_database(second_database) == kept
    assert len(kept["exchange"]) == 40


async def test_a_file_goes_into_a_database_and_back(database, tmp_path):
    store = SqliteLedger.open(tmp_path / "bus.sqlite", create=True)
    await exchange(store, 1, 40)
    await store.close()
    await postgresql.fill_database(database, tmp_path / "bus.sqlite")
    await postgresql.copy_database(database, tmp_path / "copy.sqlite")
    assert in_file(tmp_path / "copy.sqlite") == in_file(tmp_path / "bus.sqlite")


async def test_a_copy_taken_while_a_gateway_writes_to_a_database_is_one_state(database, tmp_path):
    store = await PostgresLedger.open(database, create=True)
    await exchange(store, 1, 200, meanwhile=lambda: postgresql.copy_database(database, tmp_path / "copy.sqlite"))
    await store.close()
    await check_one_state(tmp_path / "copy.sqlite")


async def test_a_copy_taken_while_a_gateway_writes_to_a_file_is_one_state(tmp_path):
    store = SqliteLedger.open(tmp_path / "bus.sqlite", create=True)
    await exchange(
        store,
        1,
        200,
        meanwhile=lambda: asyncio.to_thread(sqlite.copy_file, tmp_path / "bus.sqlite", tmp_path / "copy.sqlite"),
    )
    await store.close()
    await check_one_state(tmp_path / "copy.sqlite")


async def check_one_state(path):
    rows = in_file(path)
    assert len(rows["entry"]) == await size_of(path)
    accepted = sum("msg.accepted" in entry for entry in rows["entry"])
    assert accepted == len(rows["exchange"]) == len(rows["delivery"])


async def test_a_database_with_tables_is_not_filled_and_one_that_fails_stays_empty(database, second_database, tmp_path):
    await (await PostgresLedger.open(database, create=True)).close()
    await postgresql.copy_database(database, tmp_path / "copy.sqlite")
    with pytest.raises(Unusable, match="file_exists"):
        await postgresql.fill_database(database, tmp_path / "copy.sqlite")
    with closing(sqlite3.connect(tmp_path / "copy.sqlite")) as file:
        file.execute("INSERT INTO entry VALUES (0, x'00', x'00')")
        file.execute("INSERT INTO checkpoint VALUES (1, x'ff')")  # no text, which only the last of the tables shows
        file.commit()
    with pytest.raises(Unusable, match="data_unusable"):
        await postgresql.fill_database(second_database, tmp_path / "copy.sqlite")
    assert await postgresql.form_at(second_database) is None


async def test_what_a_killed_gateway_left_beside_its_file_is_read_and_not_taken_for_that_of_another(tmp_path):
    store, old = SqliteLedger.open(tmp_path / "bus.sqlite", create=True), tmp_path / "old.sqlite"
    await exchange(store, 1, 3)
    for end in ("", "-wal"):  # as the disk is when the process is gone
        shutil.copy(f"{tmp_path / 'bus.sqlite'}{end}", f"{old}{end}")
    entries = await store.size()
    await store.close()
    beside = tmp_path / "old.sqlite-wal"
    left = hash_of(beside)
    assert await size_of(old) == entries
    assert hash_of(beside) == left
    old.unlink()
    with pytest.raises(Unusable) as refused:
        sqlite.place_file(tmp_path / "bus.sqlite", old)
    assert refused.value.code == "file_exists"
    assert not old.exists()


async def test_a_file_is_not_copied_over_another(tmp_path):
    await SqliteLedger.open(tmp_path / "bus.sqlite", create=True).close()
    sqlite.copy_file(tmp_path / "bus.sqlite", tmp_path / "copy.sqlite")
    with pytest.raises(Unusable):
        sqlite.copy_file(tmp_path / "bus.sqlite", tmp_path / "copy.sqlite")
    with pytest.raises(Unusable, match="file_exists"):
        sqlite.place_file(tmp_path / "copy.sqlite", tmp_path / "bus.sqlite")
