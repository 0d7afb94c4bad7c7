"""Tables made anew and tables brought up to date step by step are the same, on both engines."""

import sqlite3
from contextlib import closing

import asyncpg
import pytest

from lgsp.backends.sql import PostgresLedger, SqliteLedger, postgresql, schema, sqlite, steps
from lgsp.backends.sql.postgresql import statements as postgresql_statements
from lgsp.backends.sql.sqlite import statements as sqlite_statements

COLUMNS = """
SELECT table_name, column_name, data_type, collation_name, is_nullable, column_default
FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2
"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2
"""
META = "SELECT name, value FROM meta ORDER BY 1"


async def shape_of(connection):
    return [[tuple(row) for row in await connection.fetch(query)] for query in (COLUMNS, INDEXES, CONSTRAINTS, META)]


async def test_a_database_made_anew_is_the_one_that_all_steps_make(database):
    await (await PostgresLedger.open(database, create=True)).close()
    connection = await asyncpg.connect(database)
    fresh = await shape_of(connection)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await postgresql.upgrade(database)
    assert await shape_of(connection) == fresh
    assert len(fresh[0]) >= 60
    await connection.close()
    await (await PostgresLedger.open(database)).close()


def tables_of(connection):
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
    found = {}
    for name in names:
        options = connection.execute(f"SELECT wr, strict FROM pragma_table_list WHERE name = '{name}'").fetchone()
        columns = connection.execute(f"PRAGMA table_info({name})").fetchall()
        indexes = connection.execute(f"PRAGMA index_list({name})").fetchall()
        parts = {row[1]: connection.execute(f"PRAGMA index_info('{row[1]}')").fetchall() for row in indexes}
        keys = connection.execute(f"PRAGMA foreign_key_list({name})").fetchall()
        kinds = sorted(row[1:] for row in indexes)
        found[name] = (options, [row[1:] for row in columns], kinds, parts, keys)
    indexes = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY 1").fetchall()
    return found, indexes


def test_a_file_made_anew_is_the_one_that_all_steps_make():
    fresh, stepped = sqlite3.connect(":memory:"), sqlite3.connect(":memory:")
    for statement in sqlite_statements.creation():
        fresh.execute(statement)
    for step in steps.steps(sqlite_statements.DIALECT, above=0):
        for statement in step.statements:
            stepped.execute(statement)
    assert tables_of(stepped) == tables_of(fresh)
    fresh.close()
    stepped.close()


def of_form_2(path):
    """Make a file as it was before there were steps, with one exchange and a person that it names."""
    first, *_ = steps.steps(sqlite_statements.DIALECT, above=0)
    with closing(sqlite3.connect(path)) as connection:
        for statement in first.statements:
            connection.execute(statement)
        connection.execute("INSERT INTO meta VALUES ('schema', '2')")
        connection.execute(
            "INSERT INTO exchange VALUES ('env', 's', 'i', 't', 'a', '[]', 1, 2, NULL, '', '', 0, 'r', x'00', '')"
        )
        connection.execute(
            "INSERT INTO delivery VALUES ('env', 'i', 's', 'i', 'request', 'acked', 0, '', NULL, NULL, 2, '', '', 0, 7, 1, '', NULL, 0)"
        )
        connection.execute("INSERT INTO subject VALUES ('env', x'01', x'02', 'c')")
        connection.commit()


async def test_a_file_of_the_first_form_is_brought_up_to_date_with_what_it_holds(tmp_path):
    old, new = tmp_path / "old.sqlite", tmp_path / "new.sqlite"
    of_form_2(old)
    sqlite.upgrade(old)
    await SqliteLedger.open(new, create=True).close()
    with closing(sqlite3.connect(old)) as stepped, closing(sqlite3.connect(new)) as fresh:
        assert tables_of(stepped) == tables_of(fresh)
        assert stepped.execute("SELECT * FROM subject").fetchall() == [("env", b"\x01", b"\x02", "c", 7)]
        assert stepped.execute("PRAGMA foreign_key_check").fetchall() == []
    assert sqlite.form_at(old) == schema.Form(version=schema.VERSION, compatible=schema.COMPATIBLE)
    await SqliteLedger.open(old).close()


@pytest.mark.parametrize("dialect", [sqlite_statements.DIALECT, postgresql_statements.DIALECT])
def test_the_last_step_makes_the_form_that_this_program_knows(dialect):
    *_, last = steps.steps(dialect, above=0)
    assert last.meta == schema.FRESH
    assert list(steps.steps(dialect, above=schema.VERSION)) == []
