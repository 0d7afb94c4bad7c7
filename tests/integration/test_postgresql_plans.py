"""The hot statements of PostgreSQL use their indexes on tables of some size, and read no table whole."""

import asyncio
from datetime import UTC, datetime
from hashlib import md5

import asyncpg
import pytest

from lgsp.backends.sql import PostgresLedger, years
from lgsp.backends.sql.postgresql import statements as sql
from lgsp.backends.sql.postgresql.pool import SETTINGS

ROWS = 50_000
FIRST = int(datetime(years.FIRST, 1, 1, tzinfo=UTC).timestamp()) * 1_000
YEARS = int(datetime(years.LAST + 2, 1, 1, tzinfo=UTC).timestamp()) * 1_000 - FIRST
"""Milliseconds: what stays of exchanges is spread over all years and one more."""
SEED = f"""
INSERT INTO entry SELECT n, '\\x00', '\\x00' FROM generate_series(0, {ROWS - 1}) n;
INSERT INTO exchange SELECT 'env-' || n, 'urn:source:' || n % 50, 'id-' || n, 'type', 'audience', '[]', n, n, NULL, '', '', 1, 'rule-' || n % 20,
  '\\x00', '' FROM generate_series(1, {ROWS}) n;
INSERT INTO delivery SELECT 'env-' || n, 'urn:inbox:' || CASE WHEN n % 10 = 0 THEN 0 ELSE n % 40 END, 'urn:source:' || n % 50, 'id-' || n, 'request',
  CASE WHEN n % 10 = 0 THEN 'queued' ELSE 'acked' END, 0, '', NULL, NULL, n, '', '', 0, n, 100, '',
  CASE WHEN n % 10 = 0 THEN n END, CASE WHEN n % 100 = 1 THEN 1 ELSE 0 END FROM generate_series(1, {ROWS}) n;
INSERT INTO body SELECT 'env-' || n, convert_to(repeat(md5(n::text), 40), 'UTF8'), '2026-11-22' FROM generate_series(1, {ROWS}) n WHERE n % 10 = 0;
INSERT INTO body SELECT 'kept-' || n, '\\x00', 'day-' || n % 100, n FROM generate_series(1, {ROWS} / 100) n;
INSERT INTO evidence SELECT 'gone-' || n, {FIRST} + n * {YEARS} / {ROWS}, '\\x00', '' FROM generate_series(1, {ROWS}) n;
INSERT INTO nonce SELECT 'jti-' || n, n FROM generate_series(1, {ROWS}) n;
INSERT INTO subject SELECT 'env-' || n, decode(md5((n / 10)::text), 'hex'), '\\x00', 'c', n FROM generate_series(1, {ROWS}) n;
INSERT INTO mention SELECT n, 'env-' || n, 'case-' || n / 10, CASE WHEN n % 2 = 0 THEN 'procedure-' || n % 7 ELSE '' END, 'officer-' || n % 50
  FROM generate_series(1, {ROWS}) n;
INSERT INTO directory_version SELECT n, convert_to(repeat(md5(n::text), 20), 'UTF8') FROM generate_series(1, 500) n;
ANALYZE;
"""
ENVS = [f"env-{n}" for n in range(10, 1300, 10)]
PERSON = md5(b"7").digest()
CASES = {
    "LOOK": (
        [["urn:source:1"] * 128, ENVS[:128], ENVS, ["urn:inbox:0"] * len(ENVS)],
        {"entry_pkey", "directory_version_pkey", "exchange_key", "delivery_key"},
    ),
    "NONCES": ([["jti-1", "jti-2"]], {"nonce_pkey"}),
    "FORGET_NONCES": ([10], {"nonce_until"}),
    "DROP_BODIES": ([ENVS], {"body_env"}),
    "BODY_OF": (["env-10"], {"body_env"}),
    "ARCHIVED": (["day-7", 50], {"body_day", "delivery_key"}),
    "ARCHIVE_OVER": ([10, 50], {"body_kept", "delivery_key"}),
    "LEAVES": ([100, 200], {"entry_pkey"}),
    "ENTRIES": ([100, 200], {"entry_pkey"}),
    "EXCHANGES": ([["urn:source:1"] * 8, ENVS[:8]], {"exchange_key"}),
    "EXCHANGE_OF": (["env-1"], {"exchange_env"}),
    "USED_SINCE": ([ROWS - 100, ROWS], {"exchange_used"}),
    "DELIVERIES": (["env-1"], {"delivery_key"}),
    "HELD": (["urn:inbox:0", ENVS[:64]], {"delivery_key"}),
    "PARCEL": (["env-10", "urn:inbox:0"], {"delivery_key", "exchange_env", "body_env"}),
    "QUEUED": (["urn:inbox:0", "request", ENVS[:64], 16], {"delivery_queued", "exchange_env", "body_env"}),
    "DUE": ([500, 100], {"delivery_due"}),
    "OVER": ([30 + ROWS // 2, 100], {"exchange_over", "delivery_key"}),
    "EVIDENCE": (["env-1"], {"evidence_2026_env_term_key"}),
    "KEEP_EVIDENCE": ([ENVS], {"exchange_env", "delivery_key"}),
    "OUTCOMES": (["urn:source:1", 100], {"delivery_news"}),
    "PERSONS_OF": ([ENVS[:4]], {"subject_env"}),
    "EVIDENCE_OF": ([ENVS[:4]], {"evidence_2026_env_term_key"}),
    "USES": (
        [PERSON, 10, "env-1", 100],
        {"subject_person", "entry_pkey", "exchange_env", "evidence_2026_env_term_key"},
    ),
    "ERASE": ([[PERSON]], {"subject_person"}),
    "ENTRIES_OF": (["env-1"], {"mention_env"}),
    "ENVS_OF_PERSON": ([PERSON], {"subject_person"}),
    "MENTIONING_PERSON": ([PERSON, 0, ROWS, 100], {"subject_person", "mention_env"}),
    "KEPT": ([ENVS[:100]], {"exchange_env"}),
    "KEPT_FORGOTTEN": ([ENVS[:4]], {"evidence_2026_env_term_key"}),
    "ENTRIES_AT": ([[1, 10, 100]], {"entry_pkey"}),
    "CATALOGUED": ([], {"mention_pkey"}),
}


@pytest.fixture(scope="module")
def seeded(postgresql):
    asyncio.run(seed(postgresql.url(), postgresql.url("plans")))
    return postgresql.url("plans")


async def seed(beside, dsn):
    connection = await asyncpg.connect(beside, timeout=30)
    await connection.execute("CREATE DATABASE plans")
    await connection.close()
    await (await PostgresLedger.open(dsn, create=True)).close()
    connection = await asyncpg.connect(dsn, timeout=30)
    await connection.execute(SEED)
    await connection.close()


async def plan_of(dsn, statement, values):
    connection = await asyncpg.connect(dsn, timeout=30, server_settings=SETTINGS)
    try:
        return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement.text}", *values))
    finally:
        await connection.close()


@pytest.mark.parametrize("name", sorted(CASES))
async def test_a_hot_statement_uses_its_index_and_reads_no_table_whole(seeded, name):
    values, indexes = CASES[name]
    plan = await plan_of(seeded, getattr(sql, name), values)
    assert "Seq Scan" not in plan, plan
    assert all(index in plan for index in indexes), plan


@pytest.mark.parametrize(
    ("by", "value"), [("env", "env-1"), ("casefile", "case-1"), ("procedure", "procedure-2"), ("officer", "officer-1")]
)
async def test_a_search_walks_its_index_in_order(seeded, by, value):
    plan = await plan_of(seeded, sql.MENTIONING[by], [value, 100, ROWS, 100])
    assert f"mention_{by}" in plan, plan
    assert "Seq Scan" not in plan, plan
    assert "Sort" not in plan, plan


async def test_the_one_statement_that_writes_finds_old_rows_by_their_keys(seeded):
    values = [[] for _ in sql.WRITE.names]
    plan = await plan_of(seeded, sql.WRITE, values)
    assert "Seq Scan" not in plan, plan
    assert plan.count("Index Scan using delivery_key") == 2
    assert "Index Scan using exchange_key" in plan


@pytest.mark.parametrize("place", range(len(sql.FORGET)))
async def test_forgetting_finds_its_rows_by_their_keys(seeded, place):
    plan = await plan_of(seeded, sql.FORGET[place], [ENVS])
    assert "Seq Scan" not in plan, plan


async def test_a_lane_is_read_in_its_order_without_sorting(seeded):
    assert "Sort" not in await plan_of(seeded, sql.QUEUED, CASES["QUEUED"][0])
