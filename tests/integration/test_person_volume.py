"""The uses of one person in a log of a million entries are told in a tenth of a second, on both engines."""

import sqlite3
import time
from contextlib import closing

import asyncpg
import pytest

from lgsp.backends.sql import PostgresLedger, SqliteLedger
from lgsp.domain.usages import usage_of
from lgsp.ports.persons import BEFORE_ALL
from lgsp.testing.samples import accept, link

ENTRIES = 1_000_000
NAMING = 300_000
"""Exchanges that name somebody, all of them forgotten: their envelopes are evidence."""
EVERY = 3_000
"""One in so many names the person who asks: a page of a hundred uses."""
WITHIN = 0.1
"""Seconds."""
PERSON = link(7).pseudonym
SAMPLE = accept(1)
DATA, COMPACT = SAMPLE.entry.numbered(1), SAMPLE.exchange.compact

IN_A_FILE = f"""
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {ENTRIES} - 1) INSERT INTO entry SELECT i, randomblob(32), :data FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {NAMING} - 1) INSERT INTO subject (env, pseudonym, salt, commitment, seq)
  SELECT 'sha-256:' || hex(randomblob(16)) || i, iif(i % {EVERY} = 0, :person, randomblob(32)), randomblob(16), hex(randomblob(16)), i * 3 FROM n;
INSERT INTO evidence (env, term, compact, acks) SELECT env, 1794000000000, :compact, '' FROM subject
"""
IN_A_DATABASE = (
    f"INSERT INTO entry SELECT i, sha256(i::text::bytea), $1::bytea FROM generate_series(0, {ENTRIES} - 1) i",
    f"""INSERT INTO subject SELECT 'sha-256:' || md5(i::text), CASE WHEN i % {EVERY} = 0 THEN $1::bytea ELSE sha256(i::text::bytea) END,
    '\\x00', md5(i::text), i * 3 FROM generate_series(0, {NAMING} - 1) i""",
    "INSERT INTO evidence (env, term, compact, acks) SELECT env, 1794000000000, $1::bytea, '' FROM subject",
)


async def in_a_file(folder):
    path = folder / "bus.sqlite"
    await SqliteLedger.open(path, create=True).close()
    values = {"data": DATA, "person": PERSON, "compact": COMPACT}
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in IN_A_FILE.split(";\n"):
            connection.execute(statement, values)
    return SqliteLedger.open(path)


async def in_a_database(dsn):
    await (await PostgresLedger.open(dsn, create=True)).close()
    connection = await asyncpg.connect(dsn, timeout=60)
    for statement, value in zip(IN_A_DATABASE, (DATA, PERSON, COMPACT), strict=True):
        await connection.execute(statement, value, timeout=300)
    await connection.execute("ANALYZE", timeout=300)
    await connection.close()
    return await PostgresLedger.open(dsn)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("engine", ["file", "database"])
async def test_the_uses_of_one_person_among_a_million_entries_are_told_at_once(engine, tmp_path, emptied):
    store = await (in_a_file(tmp_path) if engine == "file" else in_a_database(await emptied()))
    took = []
    for _ in range(7):
        began = time.perf_counter()
        uses = await store.uses(PERSON, BEFORE_ALL, 2 * NAMING // EVERY)
        told = [
            usage_of(env=each.env, index=each.index, commitment=each.commitment, entry=each.entry, compact=each.compact)
            for each in uses
        ]
        took.append(time.perf_counter() - began)
        assert len(told) == NAMING // EVERY
    await store.close()
    assert sorted(took)[len(took) // 2] < WITHIN, took
