"""The production shape of the floor, its rows: PostgreSQL, one statement (so one transaction) for each group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg

from tests.bench.floor.ledger import Ledger, Operation, Rows
from tests.bench.floor.names import RECEIVER

TABLES: Final = """
CREATE TABLE entry (seq bigint PRIMARY KEY, leaf bytea NOT NULL, data bytea NOT NULL);
CREATE TABLE exchange (env text PRIMARY KEY, source text NOT NULL, id text NOT NULL, compact bytea NOT NULL, receipt text NOT NULL,
  UNIQUE (source, id));
CREATE TABLE delivery (env text PRIMARY KEY, inbox text NOT NULL, state text NOT NULL, ack text NOT NULL);
CREATE TABLE body (env text PRIMARY KEY, sealed bytea NOT NULL);
"""
WRITE: Final = """
WITH e AS (INSERT INTO entry SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[])),
x AS (INSERT INTO exchange SELECT * FROM unnest($4::text[], $5::text[], $6::text[], $7::bytea[], $8::text[])),
d AS (INSERT INTO delivery SELECT env, $10, 'queued', '' FROM unnest($4::text[]) AS env),
b AS (INSERT INTO body SELECT * FROM unnest($4::text[], $9::bytea[])),
s AS (UPDATE delivery SET state = 'acked', ack = said.ack FROM unnest($11::text[], $12::text[]) AS said (env, ack)
  WHERE delivery.env = said.env AND delivery.state = 'queued')
DELETE FROM body WHERE env = ANY ($11::text[])
"""
CALL_SECONDS: Final = 30.0


class PostgresStore:
    """One database, one connection: one log has one writer at a time."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._size = 0

    @classmethod
    async def open(cls, url: str) -> PostgresStore:
        connection = await asyncpg.connect(url, timeout=CALL_SECONDS, command_timeout=CALL_SECONDS)
        await connection.execute(TABLES)
        return cls(connection)

    async def commit(self, group: Sequence[Operation], ledger: Ledger) -> Rows:
        rows = ledger.rows(group, self._size)
        accepted, settled = rows.accepted, rows.settled
        await self._connection.execute(
            WRITE,
            [entry[0] for entry in rows.entries],
            [entry[1] for entry in rows.entries],
            [entry[2] for entry in rows.entries],
            [each.env for each, _ in accepted],
            [each.manifest.source for each, _ in accepted],
            [each.manifest.id for each, _ in accepted],
            [each.wire.compact for each, _ in accepted],
            [receipt.text() for _, receipt in accepted],
            [each.sealed for each, _ in accepted],
            RECEIVER,
            [each.env for each in settled],
            [each.ack.text() for each in settled],
        )
        self._size = rows.size
        return rows

    async def counts(self) -> dict[str, int]:
        return {
            "exchanges": await self._count("SELECT count(*) FROM exchange"),
            "settled": await self._count("SELECT count(*) FROM delivery WHERE state = 'acked'"),
            "bodies": await self._count("SELECT count(*) FROM body"),
            "entries": await self._count("SELECT count(*) FROM entry"),
        }

    async def _count(self, query: str) -> int:
        return int(await self._connection.fetchval(query))

    async def close(self) -> None:
        await self._connection.close()
