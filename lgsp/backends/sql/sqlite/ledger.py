"""The ports on one SQLite file: one thread writes, reads that take microseconds run where they are asked, longer ones aside.

The head of the log is read inside each transaction and never remembered, so a second process that writes the same file cannot fork it.
What a commit does is left to `transaction`, what a read does to `queries`.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path
from typing import Concatenate, ParamSpec, Self, TypeVar

from lgsp.backends.sql.complaints import Complaints
from lgsp.backends.sql.rows import kept_of, milliseconds
from lgsp.backends.sql.sqlite import files, queries, transaction
from lgsp.backends.sql.sqlite import statements as sql
from lgsp.domain.exchange import Delivery, Exchange, ExchangeKey, State
from lgsp.domain.mentions import By
from lgsp.domain.records import Lane
from lgsp.domain.withholding import Withholding
from lgsp.errors import Refusal
from lgsp.ports.bodies import DayHeld, SealedBody
from lgsp.ports.directory import SignedRecords
from lgsp.ports.inboxes import Depth, Parcel
from lgsp.ports.ledger import Operation, Result, SignReceipts, SubjectLink
from lgsp.ports.persons import Place, Use
from lgsp.ports.retention import Evidence
from lgsp.ports.search import Kept
from lgsp.walkeeper import WalKeeper

P = ParamSpec("P")
T = TypeVar("T")
Query = Callable[Concatenate[sqlite3.Connection, P], T]


class SqliteLedger:
    """Ledger, inboxes and directory store in one object; open it with `open` and end it with `close`."""

    def __init__(
        self, writer: sqlite3.Connection, near: sqlite3.Connection, far: sqlite3.Connection, keeper: WalKeeper
    ) -> None:
        self._keeper = keeper
        self._writer = writer
        self._near = near
        self._far = far
        self._writing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-write")
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-read")
        self._complaints = Complaints()
        self._closed = False

    @classmethod
    def open(cls, path: Path, *, create: bool = False, write: bool = False) -> Self:
        """Open the file, with `create` after making it where it is missing; with `write` only one that can be written.

        Refuses (`Unusable`) as `data_missing`, `data_newer`, `data_locked` or `data_unusable`.
        """
        with ExitStack() as opened:
            writer = opened.enter_context(closing(files.open_writer(path, create=create)))
            if write:
                files.check_writable(path)
            near = opened.enter_context(closing(files.open_reader(path)))
            far = opened.enter_context(closing(files.open_reader(path)))
            opened.pop_all()
        keeper = WalKeeper(path)
        keeper.start()
        return cls(writer, near, far, keeper)

    async def close(self) -> None:
        """Finish what is under way and let go of the file; later calls are refused as `unavailable`."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._reading.shutdown()
        self._writing.shutdown()
        self._keeper.stop()
        # The writer goes last: who closes last moves what is still in the log beside the file into the file.
        for connection in (self._near, self._far, self._writer):
            connection.close()

    async def commit(self, operations: Sequence[Operation], sign: SignReceipts) -> Sequence[Result]:
        """Apply the operations in order in one transaction on the writing thread; what `sign` raises leaves nothing behind."""
        self._refuse_when_closed()
        return await asyncio.get_running_loop().run_in_executor(self._writing, self._commit, operations, sign)

    def _commit(self, operations: Sequence[Operation], sign: SignReceipts) -> list[Result]:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                ran = transaction.run(self._writer, operations, sign)
                self._writer.execute("COMMIT")
            finally:
                # Some failures, a full disk among them, end the transaction by themselves.
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise self._complaints.refused(
                "commit.failed", error, "the ledger cannot be written", operations=len(operations)
            ) from None
        self._complaints.over("commit.failed")
        self._keeper.begin_anew(self._writer, empty=ran.wiped)
        return ran.results

    async def exchanges(self, keys: Sequence[ExchangeKey]) -> dict[ExchangeKey, Exchange]:
        """Return the exchanges among these keys that are held."""
        return self._read(queries.exchanges, keys)

    async def exchange_of(self, env: str) -> Exchange | None:
        """Return the exchange of an env hash."""
        return self._read(queries.exchange_by_env, env)

    async def exchanges_of(self, envs: Sequence[str]) -> list[Exchange]:
        """Return the exchanges of those among these env hashes that are held, in no order."""
        return await self._read_aside(queries.exchanges_of, envs)

    async def deliveries_of(self, envs: Sequence[str]) -> list[Delivery]:
        """Return all deliveries of these envelopes that are held, in no order."""
        return await self._read_aside(queries.deliveries, sql.DELIVERIES_OF, {"envs": json.dumps(list(envs))})

    async def evidence_of(self, envs: Sequence[str]) -> list[Evidence]:
        """Return what stays of those among these env hashes whose exchanges are forgotten, in no order."""
        return await self._read_aside(queries.evidence_of, envs)

    async def persons_of(self, envs: Sequence[str]) -> dict[str, list[SubjectLink]]:
        """Return the persons that these envelopes name, as pseudonyms, by env hash."""
        return await self._read_aside(queries.persons_of, envs)

    async def oldest(self) -> datetime | None:
        """Return when the oldest exchange that is held was accepted."""
        return await self._read_aside(queries.oldest)

    async def size(self) -> int:
        """Return the number of committed entries."""
        return self._read(queries.size)

    async def leaves(self, start: int, stop: int) -> list[bytes]:
        """Return the leaf hashes of entries start..stop-1."""
        return await self._read_aside(queries.column, sql.LEAVES, {"start": start, "stop": stop})

    async def entries(self, start: int, stop: int) -> list[bytes]:
        """Return the bytes of entries start..stop-1."""
        return await self._read_aside(queries.column, sql.ENTRIES, {"start": start, "stop": stop})

    async def hashed(self, start: int, stop: int) -> list[tuple[bytes, bytes]]:
        """Return the bytes of entries start..stop-1, each with its leaf hash."""
        return await self._read_aside(queries.rows, sql.HASHED, {"start": start, "stop": stop})

    async def checkpoint(self) -> str:
        """Return the last kept checkpoint, or ""."""
        return self._read(queries.note, sql.CHECKPOINT)

    async def cosigned(self) -> str:
        """Return the last kept checkpoint that a witness has co-signed, or ""."""
        return self._read(queries.note, sql.COSIGNED)

    async def subtree_count(self, level: int) -> int:
        """Return how many hashes of a level are stored."""
        [count] = await self._read_aside(queries.column, sql.SUBTREE_COUNT, {"level": level})
        return int(count)

    async def subtrees(self, level: int, start: int, stop: int) -> list[bytes]:
        """Return the stored hashes start..stop-1 of a level."""
        return await self._read_aside(queries.column, sql.SUBTREES, {"level": level, "start": start, "stop": stop})

    async def used_since(self, moment: datetime, until: datetime | None = None) -> dict[str, int]:
        """Return how many exchanges were accepted under each grant since a moment, and before `until`."""
        return await self._read_aside(queries.used_since, moment, until)

    async def queued(self, inbox: str, lane: Lane, limit: int, skip: Sequence[str] = ()) -> list[Parcel]:
        """Return the first `limit` queued deliveries of one lane in the order of acceptance."""
        return self._read(queries.queued, inbox, lane, limit, frozenset(skip))

    async def parcel(self, env: str, to: str) -> Parcel | None:
        """Return one delivery with its content, while the body is held."""
        return self._read(queries.parcel, env, to)

    async def deliveries(self, env: str) -> list[Delivery]:
        """Return all deliveries of an envelope, by receiver."""
        return self._read(queries.deliveries, sql.DELIVERIES, {"env": env})

    async def held(self, to: str, envs: Sequence[str]) -> dict[str, Delivery]:
        """Return the deliveries of these envelopes to one inbox, by env hash."""
        return self._read(queries.held, to, envs)

    async def due(self, now: datetime, limit: int) -> list[Delivery]:
        """Return open deliveries that somebody must look at again at `now`, those that are due for longest first."""
        values = {"now": milliseconds(now), "limit": max(limit, 0)}
        return await self._read_aside(queries.deliveries, sql.DUE, values)

    async def in_state(self, state: State, limit: int, *, but: Sequence[str] = ()) -> list[Delivery]:
        """Return the first `limit` deliveries in one open state, in the order of acceptance; without those that one of `but` holds."""
        values = {"state": state, "limit": max(limit, 0), "but": json.dumps(list(but))}
        return await self._read_aside(queries.deliveries, sql.IN_STATE, values)

    async def outcomes(self, source: str, limit: int) -> list[Delivery]:
        """Return what `source` sent, has an outcome, and was not yet seen by it, in the order of acceptance."""
        values = {"source": source, "limit": max(limit, 0)}
        return await self._read_aside(queries.deliveries, sql.OUTCOMES, values)

    async def depths(self) -> list[Depth]:
        """Return what is open, by inbox, sender, lane and state in this order."""
        return await self._read_aside(queries.depths)

    async def over(self, before: datetime, limit: int) -> list[str]:
        """Return env hashes of settled exchanges whose time ended before a moment, the oldest first."""
        values = {"before": milliseconds(before), "limit": max(limit, 0)}
        return await self._read_aside(queries.column, sql.OVER, values)

    async def evidence(self, env: str) -> Evidence | None:
        """Return what is kept of a forgotten exchange."""
        return await self._read_aside(queries.evidence, env)

    async def head_version(self) -> int:
        """Return the number of the latest version of the directory, 0 before the first."""
        return await self._read_aside(queries.head_version)

    async def head(self) -> SignedRecords | None:
        """Return the latest version of the directory, or None before the first."""
        return await self._read_aside(queries.head)

    async def at(self, version: int) -> SignedRecords | None:
        """Return one version of the directory."""
        return await self._read_aside(queries.version, version)

    async def documents(self) -> dict[str, bytes]:
        """Return every schema document by URN."""
        return await self._read_aside(queries.pairs, sql.DOCUMENTS)

    async def body_keys(self) -> dict[str, bytes]:
        """Return the wrapped body key of each day."""
        return await self._read_aside(queries.pairs, sql.BODY_KEYS)

    async def body_of(self, env: str) -> SealedBody | None:
        """Return the body of an envelope while it is held, after its exchange is forgotten too."""
        return await self._read_aside(queries.body_of, env)

    async def bodies_by_day(self) -> list[DayHeld]:
        """Return how many bodies are held of each day of which there are any, the oldest day first."""
        return await self._read_aside(queries.bodies_by_day)

    async def undelivered(self, day: str, limit: int) -> list[Delivery]:
        """Return the first `limit` open deliveries of bodies of a day that nobody has leased, in the order of acceptance."""
        return await self._read_aside(queries.deliveries, sql.UNDELIVERED, {"day": day, "limit": max(limit, 0)})

    async def archived(self, day: str, limit: int) -> list[str]:
        """Return the env hashes of up to `limit` bodies of a day that are archived and of which nothing is open, in no order."""
        return await self._read_aside(queries.column, sql.ARCHIVED, {"day": day, "limit": max(limit, 0)})

    async def archive_over(self, now: datetime, limit: int) -> list[str]:
        """Return the env hashes of up to `limit` bodies whose time in the archive is over, the oldest first."""
        values = {"now": milliseconds(now), "limit": max(limit, 0)}
        return await self._read_aside(queries.column, sql.ARCHIVE_OVER, values)

    async def uses(self, pseudonym: bytes, after: Place, limit: int) -> list[Use]:
        """Return the first `limit` uses of one person behind a place, in the order of their places."""
        return await self._read_aside(queries.uses, pseudonym, after, limit)

    async def subject_keys(self) -> dict[str, bool]:
        """Return the names of all keys that pseudonyms were made with, and of each whether it was retired."""
        return await self._read_aside(queries.subject_keys)

    async def withholdings(self) -> list[Withholding]:
        """Return every withholding rule, in the order in which they were made."""
        return await self._read_aside(queries.withholdings)

    async def catalogued(self) -> int:
        """Return how many entries the catalogue covers, from the first on."""
        [count] = await self._read_aside(queries.column, sql.CATALOGUED, {})
        return int(count)

    async def kept(self, envs: Sequence[str]) -> dict[str, Kept]:
        """Return what is kept of accepted envelopes by env hash, those of forgotten exchanges too."""
        return kept_of(await self._read_aside(queries.rows, sql.KEPT, {"envs": json.dumps(list(envs))}))

    async def entries_of(self, env: str) -> list[int]:
        """Return the numbers of all catalogued entries that name an env hash."""
        return await self._read_aside(queries.column, sql.ENTRIES_OF, {"env": env})

    async def mentioning(self, by: By, value: str, start: int, stop: int, limit: int) -> list[int]:
        """Return the numbers of the first `limit` catalogued entries in start..stop-1 that mention this."""
        values = {"value": value, "start": start, "stop": stop, "limit": max(limit, 0)}
        return await self._read_aside(queries.column, sql.MENTIONING[by], values)

    async def mentioning_person(self, pseudonym: bytes, start: int, stop: int, limit: int) -> list[int]:
        """Return the numbers of the first `limit` catalogued entries in start..stop-1 of exchanges that name a person."""
        values = {"pseudonym": pseudonym, "start": start, "stop": stop, "limit": max(limit, 0)}
        return await self._read_aside(queries.column, sql.MENTIONING_PERSON, values)

    async def envs_of_person(self, pseudonym: bytes) -> list[str]:
        """Return the env hashes of all exchanges that name a person, in no order."""
        return await self._read_aside(queries.column, sql.ENVS_OF_PERSON, {"pseudonym": pseudonym})

    async def entries_at(self, numbers: Sequence[int]) -> list[bytes]:
        """Return the bytes of these entries in the order of their numbers, each once."""
        return await self._read_aside(queries.column, sql.ENTRIES_AT, {"numbers": json.dumps(list(numbers))})

    def _read(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a short query on the caller's thread: going to another one would take longer than the query."""
        return self._guarded(query, self._near, *args, **kwargs)

    async def _read_aside(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._refuse_when_closed()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reading, lambda: self._guarded(query, self._far, *args, **kwargs))

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise Refusal("unavailable", "the ledger is closed")

    def _guarded(self, query: Query[P, T], connection: sqlite3.Connection, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            found = query(connection, *args, **kwargs)
        except sqlite3.Error as error:
            raise self._complaints.refused("read.failed", error, "the ledger cannot be read") from None
        self._complaints.over("read.failed")
        return found
