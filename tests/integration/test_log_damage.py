"""What somebody changes in a database's tables is found by the check of the log, as it is in a file."""

import asyncio
from dataclasses import dataclass

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgsp.backends.sql import PostgresLedger
from lgsp.cli.log_checks.log import audit
from tests.property.test_log_damage import (
    CHANGES,
    COLUMNS,
    KEPT_CHANGES,
    TRUST,
    WORLD,
    changed,
    fill,
    forget,
    named_by,
)

BYTES = [
    "UPDATE entry SET data = set_byte(data, 40, get_byte(data, 40) # 1) WHERE seq = 5",
    "UPDATE entry SET leaf = set_byte(leaf, 31, get_byte(leaf, 31) # 128) WHERE seq = 5",
    "UPDATE subtree SET root = set_byte(root, 0, get_byte(root, 0) # 1)",
    "UPDATE checkpoint SET note = overlay(note placing '9' from 1)",
    "UPDATE exchange SET compact = set_byte(compact, 300, get_byte(compact, 300) # 1)",
    "UPDATE exchange SET receipt = overlay(receipt placing 'x' from 30)",
    "UPDATE delivery SET ack = overlay(ack placing 'x' from 30) WHERE ack <> ''",
    "UPDATE subject SET salt = set_byte(salt, 3, get_byte(salt, 3) # 1)",
    "UPDATE directory_record SET record = set_byte(record, 20, get_byte(record, 20) # 1)",
    "UPDATE schema_document SET document = set_byte(document, 9, get_byte(document, 9) # 1)",
]


@pytest.fixture
async def ledger(database):
    store = await PostgresLedger.open(database, create=True)
    await fill(store)
    yield store
    await store.close()


async def index_of(database, event):
    """Return the number of the first entry in which this stands."""
    connection = await asyncpg.connect(database)
    statement = "SELECT seq FROM entry WHERE position(convert_to($1, 'UTF8') IN data) > 0 ORDER BY seq LIMIT 1"
    index = await connection.fetchval(statement, event)
    await connection.close()
    return index


async def finding_after(database, ledger, statement):
    connection = await asyncpg.connect(database)
    changed = await connection.execute(statement)
    await connection.close()
    assert not changed.endswith(" 0")
    return (await audit(ledger, **TRUST)).finding


async def test_an_unharmed_database_verifies(ledger):
    assert (await audit(ledger, **TRUST)).finding is None


@pytest.mark.parametrize(("statement", "event", "words"), CHANGES)
async def test_a_larger_change_is_named_by_the_first_index_that_it_concerns(database, ledger, statement, event, words):
    expected = await index_of(database, event)
    finding = await finding_after(database, ledger, statement)
    assert words in finding.words
    if event:
        assert finding.index == expected


@pytest.mark.parametrize("statement", BYTES)
async def test_one_changed_byte_is_found(database, ledger, statement):
    assert await finding_after(database, ledger, statement) is not None


@pytest.fixture
async def forgotten(ledger):
    await forget(ledger)
    return ledger


async def test_each_change_to_what_stays_of_forgotten_exchanges_is_found(database, forgotten):
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE saved AS SELECT * FROM evidence")
    found = {}
    for statement, event, words in KEPT_CHANGES:
        assert not (await connection.execute(statement)).endswith(" 0")
        found[words, await index_of(database, event), statement] = (await audit(forgotten, **TRUST)).finding
        await connection.execute("DELETE FROM evidence")
        await connection.execute("INSERT INTO evidence SELECT * FROM saved")
    await connection.close()
    missed = [
        (told, finding)
        for told, finding in found.items()
        if finding is None or told[0] not in finding.words or told[1] != finding.index
    ]
    assert missed == []


async def test_an_unharmed_database_whose_exchanges_are_forgotten_verifies_and_a_year_may_be_moved_off(
    database, forgotten
):
    verdict = await audit(forgotten, **TRUST)
    assert (verdict.finding, verdict.receipts > 3) == (None, True)
    years = f"ALTER TABLE evidence DETACH PARTITION evidence_{WORLD.now.year}"
    connection = await asyncpg.connect(database)
    await connection.execute(years)
    await connection.close()
    assert (await audit(forgotten, **TRUST)).finding.words == "the envelope is not kept"
    assert (await audit(forgotten, **TRUST, moved_off={WORLD.now.year})).finding is None


@dataclass
class Row:
    """A row as it was found, and where it lies: elsewhere after each change."""

    place: tuple[int, int]
    found: asyncpg.Record


async def cells_of(connection):
    """Return (column, its row) of every cell that has something in it, by table."""
    found = {}
    for table, columns in COLUMNS.items():
        for record in await connection.fetch(f"SELECT ctid, * FROM {table} ORDER BY 1"):
            row = Row(record["ctid"], record)
            found.setdefault(table, []).extend((each, row) for each in columns if record[each] not in (None, "", b""))
    return {table: cells for table, cells in found.items() if cells}


async def finding_of(connection, ledger, table, cell, how):
    """Return what is found while one cell is another, or that the database does not take such a change."""
    column, row = cell
    change = f"UPDATE {table} SET {column} = $2 WHERE ctid = $1 RETURNING ctid"
    value = await connection.fetchval(f"SELECT {column} FROM {table} WHERE ctid = $1", row.place)
    try:
        row.place = await connection.fetchval(change, row.place, changed(value, *how))
    except asyncpg.IntegrityConstraintViolationError as refused:
        return refused
    try:
        return (await audit(ledger, **TRUST)).finding
    finally:
        row.place = await connection.fetchval(change, row.place, value)


async def test_any_changed_byte_is_found(database, ledger):
    connection, loop = await asyncpg.connect(database), asyncio.get_running_loop()
    cells = await cells_of(connection)

    @settings(max_examples=60, deadline=None, database=None)
    @given(data=st.data(), place=st.integers(0, 2_000), to=st.integers(0, 254))
    def found(data, place, to):
        table = data.draw(st.sampled_from(sorted(cells)))
        column, row = cell = cells[table][data.draw(st.integers(0, len(cells[table]) - 1))]
        running = finding_of(connection, ledger, table, cell, (place, to))
        finding = asyncio.run_coroutine_threadsafe(running, loop).result(30)
        assert finding is not None, (table, cell)
        expected = named_by(table, column, row.found)
        assert expected is None or finding.index == expected, (table, cell, finding)

    try:
        await asyncio.to_thread(found)
        assert (await audit(ledger, **TRUST)).finding is None  # each change was taken back
    finally:
        await connection.close()
