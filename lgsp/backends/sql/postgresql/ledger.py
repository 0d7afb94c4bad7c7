"""The ports on a PostgreSQL database that several gateways share: one connection writes, a few read.

The head of the log is read inside each transaction under a lock and never remembered, so no gateway can fork it. What a commit does is left to
`transaction`, what a read does to `queries`, limits and connections to `pool`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Concatenate, Final, ParamSpec, Self, TypeVar

import asyncpg

from lgsp.backends.sql.complaints import Complaints
from lgsp.backends.sql.postgresql import making, queries, transaction
from lgsp.backends.sql.postgresql import statements as sql
from lgsp.backends.sql.postgresql.pool import (
    PASSING,
    READERS,
    TROUBLES,
    Connection,
    close_pool,
    held,
    is_open,
    open_pool,
)
from lgsp.backends.sql.rows import milliseconds
from lgsp.domain.exchange import Delivery, Exchange, ExchangeKey, State
from lgsp.domain.mentions import By
from lgsp.domain.records import Lane
from lgsp.domain.withholding import Withholding
from lgsp.ports.bodies import DayHeld, SealedBody
from lgsp.ports.directory import SignedRecords
from lgsp.ports.inboxes import Depth, Parcel
from lgsp.ports.ledger import Operation, Result, SignReceipts, SubjectLink
from lgsp.ports.persons import Place, Use
from lgsp.ports.retention import Evidence
from lgsp.ports.search import Kept

P = ParamSpec("P")
T = TypeVar("T")
Query = Callable[Concatenate[Connection, P], Awaitable[T]]

COMMIT_SECONDS: Final = 20.0
"""How long a commit may take, waiting for its turn and trying again included."""
ATTEMPTS: Final = 3


class PostgresLedger:
    """Ledger, inboxes and directory store in one object; open it with `open` and end it with `close`."""

    def __init__(self, writer: asyncpg.Pool, readers: asyncpg.Pool) -> None:
        self._writer = writer
        self._readers = readers
        self._complaints = Complaints()

    @classmethod
    async def open(cls, dsn: str, *, create: bool = False) -> Self:
        """Connect, with `create` after making the tables where there are none.

        Refuses (`Unusable`) as `database_away`, `data_missing`, `schema_old`, `data_newer`, `data_unusable` or `config_invalid`.
        """
        async with making.told_plainly():
            writer = await open_pool(dsn, size=1)
        try:
            await making.prepare(writer, create=create)
            async with making.told_plainly():
                return cls(writer, await open_pool(dsn, size=READERS))
        except BaseException:
            writer.terminate()
            raise

    async def close(self) -> None:
        """Finish what is under way and disconnect; later calls are refused as `unavailable`."""
        await asyncio.gather(close_pool(self._writer), close_pool(self._readers))

    async def commit(self, operations: Sequence[Operation], sign: SignReceipts) -> Sequence[Result]:
        """Apply the operations in order in one transaction; what `sign` raises leaves nothing behind.

        When the answer to the COMMIT itself is lost it may have been applied all the same: whoever repeats it is told so, as `duplicate`.
        """
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                results = await self._patiently(operations, sign)
        except TROUBLES as error:
            raise self._complaints.refused(
                "commit.failed", error, "the ledger cannot be written", operations=len(operations)
            ) from None
        self._complaints.over("commit.failed")
        return results

    async def _patiently(self, operations: Sequence[Operation], sign: SignReceipts) -> list[Result]:
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._commit(operations, sign)
            except PASSING:
                continue
        return await self._commit(operations, sign)

    async def _commit(self, operations: Sequence[Operation], sign: SignReceipts) -> list[Result]:
        async with held(self._writer) as connection:
            try:
                await connection.execute(sql.BEGIN_APPENDING if transaction.appends(operations) else sql.BEGIN)
                results = await transaction.run(connection, operations, sign)
                await connection.execute("COMMIT")
            except Exception:
                if is_open(connection):
                    await connection.execute("ROLLBACK")
                raise
            return results

    async def exchanges(self, keys: Sequence[ExchangeKey]) -> dict[ExchangeKey, Exchange]:
        """Return the exchanges among these keys that are held."""
        return await self._read(queries.exchanges, keys)

    async def exchange_of(self, env: str) -> Exchange | None:
        """Return the exchange of an env hash."""
        return await self._read(queries.exchange_by_env, env)

    async def exchanges_of(self, envs: Sequence[str]) -> list[Exchange]:
        """Return the exchanges of those among these env hashes that are held, in no order."""
        return await self._read(queries.exchanges_of, envs)

    async def deliveries_of(self, envs: Sequence[str]) -> list[Delivery]:
        """Return all deliveries of these envelopes that are held, in no order."""
        return await self._read(queries.deliveries, sql.DELIVERIES_OF, {"envs": list(envs)})

    async def evidence_of(self, envs: Sequence[str]) -> list[Evidence]:
        """Return what stays of those among these env hashes whose exchanges are forgotten, in no order."""
        return await self._read(queries.evidence_of, envs)

    async def persons_of(self, envs: Sequence[str]) -> dict[str, list[SubjectLink]]:
        """Return the persons that these envelopes name, as pseudonyms, by env hash."""
        return await self._read(queries.persons_of, envs)

    async def oldest(self) -> datetime | None:
        """Return when the oldest exchange that is held was accepted."""
        return await self._read(queries.oldest)

    async def size(self) -> int:
        """Return the number of committed entries."""
        return await self._read(queries.size)

    async def leaves(self, start: int, stop: int) -> list[bytes]:
        """Return the leaf hashes of entries start..stop-1."""
        return await self._read(queries.column, sql.LEAVES, {"start": start, "stop": stop})

    async def entries(self, start: int, stop: int) -> list[bytes]:
        """Return the bytes of entries start..stop-1."""
        return await self._read(queries.column, sql.ENTRIES, {"start": start, "stop": stop})

    async def hashed(self, start: int, stop: int) -> list[tuple[bytes, bytes]]:
        """Return the bytes of entries start..stop-1, each with its leaf hash."""
        return await self._read(queries.hashed, start, stop)

    async def checkpoint(self) -> str:
        """Return the last kept checkpoint, or ""."""
        return await self._read(queries.note, sql.CHECKPOINT)

    async def cosigned(self) -> str:
        """Return the last kept checkpoint that a witness has co-signed, or ""."""
        return await self._read(queries.note, sql.COSIGNED)

    async def subtree_count(self, level: int) -> int:
        """Return how many hashes of a level are stored."""
        [count] = await self._read(queries.column, sql.SUBTREE_COUNT, {"level": level})
        return int(count)

    async def subtrees(self, level: int, start: int, stop: int) -> list[bytes]:
        """Return the stored hashes start..stop-1 of a level."""
        return await self._read(queries.column, sql.SUBTREES, {"level": level, "start": start, "stop": stop})

    async def used_since(self, moment: datetime, until: datetime | None = None) -> dict[str, int]:
        """Return how many exchanges were accepted under each grant since a moment, and before `until`."""
        return await self._read(queries.used_since, moment, until)

    async def queued(self, inbox: str, lane: Lane, limit: int, skip: Sequence[str] = ()) -> list[Parcel]:
        """Return the first `limit` queued deliveries of one lane in the order of acceptance."""
        return await self._read(queries.queued, inbox, lane, limit, skip)

    async def parcel(self, env: str, to: str) -> Parcel | None:
        """Return one delivery with its content, while the body is held."""
        found = await self._read(queries.parcels, sql.PARCEL, {"env": env, "inbox": to})
        return found[0] if found else None

    async def deliveries(self, env: str) -> list[Delivery]:
        """Return all deliveries of an envelope, by receiver."""
        return await self._read(queries.deliveries, sql.DELIVERIES, {"env": env})

    async def held(self, to: str, envs: Sequence[str]) -> dict[str, Delivery]:
        """Return the deliveries of these envelopes to one inbox, by env hash."""
        return await self._read(queries.held, to, envs)

    async def due(self, now: datetime, limit: int) -> list[Delivery]:
        """Return open deliveries that somebody must look at again at `now`, those that are due for longest first."""
        values = {"now": milliseconds(now), "limit": max(limit, 0)}
        return await self._read(queries.deliveries, sql.DUE, values)

    async def in_state(self, state: State, limit: int, *, but: Sequence[str] = ()) -> list[Delivery]:
        """Return the first `limit` deliveries in one open state, in the order of acceptance; without those that one of `but` holds."""
        values = {"state": state, "limit": max(limit, 0), "but": list(but)}
        return await self._read(queries.deliveries, sql.IN_STATE, values)

    async def outcomes(self, source: str, limit: int) -> list[Delivery]:
        """Return what `source` sent, has an outcome, and was not yet seen by it, in the order of acceptance."""
        values = {"source": source, "limit": max(limit, 0)}
        return await self._read(queries.deliveries, sql.OUTCOMES, values)

    async def depths(self) -> list[Depth]:
        """Return what is open, by inbox, sender, lane and state in this order."""
        return await self._read(queries.depths)

    async def over(self, before: datetime, limit: int) -> list[str]:
        """Return env hashes of settled exchanges whose time ended before a moment, the oldest first."""
        values = {"before": milliseconds(before), "limit": max(limit, 0)}
        return await self._read(queries.column, sql.OVER, values)

    async def evidence(self, env: str) -> Evidence | None:
        """Return what is kept of a forgotten exchange."""
        return await self._read(queries.evidence, env)

    async def head_version(self) -> int:
        """Return the number of the latest version of the directory, 0 before the first."""
        return await self._read(queries.head_version)

    async def head(self) -> SignedRecords | None:
        """Return the latest version of the directory, or None before the first."""
        return await self._read(queries.head)

    async def at(self, version: int) -> SignedRecords | None:
        """Return one version of the directory."""
        return await self._read(queries.version, version)

    async def documents(self) -> dict[str, bytes]:
        """Return every schema document by URN."""
        return await self._read(queries.pairs, sql.DOCUMENTS)

    async def body_keys(self) -> dict[str, bytes]:
        """Return the wrapped body key of each day."""
        return await self._read(queries.pairs, sql.BODY_KEYS)

    async def body_of(self, env: str) -> SealedBody | None:
        """Return the body of an envelope while it is held, after its exchange is forgotten too."""
        return await self._read(queries.body_of, env)

    async def bodies_by_day(self) -> list[DayHeld]:
        """Return how many bodies are held of each day of which there are any, the oldest day first."""
        return await self._read(queries.bodies_by_day)

    async def undelivered(self, day: str, limit: int) -> list[Delivery]:
        """Return the first `limit` open deliveries of bodies of a day that nobody has leased, in the order of acceptance."""
        return await self._read(queries.deliveries, sql.UNDELIVERED, {"day": day, "limit": max(limit, 0)})

    async def archived(self, day: str, limit: int) -> list[str]:
        """Return the env hashes of up to `limit` bodies of a day that are archived and of which nothing is open, in no order."""
        return await self._read(queries.column, sql.ARCHIVED, {"day": day, "limit": max(limit, 0)})

    async def archive_over(self, now: datetime, limit: int) -> list[str]:
        """Return the env hashes of up to `limit` bodies whose time in the archive is over, the oldest first."""
        values = {"now": milliseconds(now), "limit": max(limit, 0)}
        return await self._read(queries.column, sql.ARCHIVE_OVER, values)

    async def uses(self, pseudonym: bytes, after: Place, limit: int) -> list[Use]:
        """Return the first `limit` uses of one person behind a place, in the order of their places."""
        return await self._read(queries.uses, pseudonym, after, limit)

    async def subject_keys(self) -> dict[str, bool]:
        """Return the names of all keys that pseudonyms were made with, and of each whether it was retired."""
        return await self._read(queries.subject_keys)

    async def withholdings(self) -> list[Withholding]:
        """Return every withholding rule, in the order in which they were made."""
        return await self._read(queries.withholdings)

    async def catalogued(self) -> int:
        """Return how many entries the catalogue covers, from the first on."""
        [count] = await self._read(queries.column, sql.CATALOGUED, {})
        return int(count)

    async def kept(self, envs: Sequence[str]) -> dict[str, Kept]:
        """Return what is kept of accepted envelopes by env hash, those of forgotten exchanges too."""
        return await self._read(queries.kept, envs)

    async def entries_of(self, env: str) -> list[int]:
        """Return the numbers of all catalogued entries that name an env hash."""
        return await self._read(queries.column, sql.ENTRIES_OF, {"env": env})

    async def mentioning(self, by: By, value: str, start: int, stop: int, limit: int) -> list[int]:
        """Return the numbers of the first `limit` catalogued entries in start..stop-1 that mention this."""
        values = {"value": value, "start": start, "stop": stop, "limit": max(limit, 0)}
        return await self._read(queries.column, sql.MENTIONING[by], values)

    async def mentioning_person(self, pseudonym: bytes, start: int, stop: int, limit: int) -> list[int]:
        """Return the numbers of the first `limit` catalogued entries in start..stop-1 of exchanges that name a person."""
        values = {"pseudonym": pseudonym, "start": start, "stop": stop, "limit": max(limit, 0)}
        return await self._read(queries.column, sql.MENTIONING_PERSON, values)

    async def envs_of_person(self, pseudonym: bytes) -> list[str]:
        """Return the env hashes of all exchanges that name a person, in no order."""
        return await self._read(queries.column, sql.ENVS_OF_PERSON, {"pseudonym": pseudonym})

    async def entries_at(self, numbers: Sequence[int]) -> list[bytes]:
        """Return the bytes of these entries in the order of their numbers, each once."""
        return await self._read(queries.column, sql.ENTRIES_AT, {"numbers": list(numbers)})

    async def _read(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            async with held(self._readers) as connection:
                found = await query(connection, *args, **kwargs)
        except TROUBLES as error:
            raise self._complaints.refused("read.failed", error, "the ledger cannot be read") from None
        self._complaints.over("read.failed")
        return found
