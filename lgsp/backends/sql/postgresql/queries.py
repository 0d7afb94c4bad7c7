"""What is read from a connection: each function runs one statement or two."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from lgsp.backends.sql.postgresql import statements as sql
from lgsp.backends.sql.postgresql.pool import Connection
from lgsp.backends.sql.postgresql.statements import Statement
from lgsp.backends.sql.rows import (
    EVER,
    Row,
    days_held,
    delivery_of,
    evidence_in,
    exchange_of,
    kept_of,
    links_of,
    milliseconds,
    moment_of,
    use_of,
    withholding_of,
)
from lgsp.domain.exchange import Delivery, Exchange, ExchangeKey
from lgsp.domain.records import Lane
from lgsp.domain.withholding import Withholding
from lgsp.ports.bodies import DayHeld, SealedBody
from lgsp.ports.directory import SignedRecords
from lgsp.ports.inboxes import Depth, Parcel
from lgsp.ports.ledger import SubjectLink
from lgsp.ports.persons import Place, Use
from lgsp.ports.retention import Evidence
from lgsp.ports.search import Kept


async def exchanges(connection: Connection, keys: Sequence[ExchangeKey]) -> dict[ExchangeKey, Exchange]:
    """Return the exchanges among these keys that are held."""
    sources, ids = [key[0] for key in keys], [key[1] for key in keys]
    found = map(exchange_of, await connection.fetch(sql.EXCHANGES.text, sources, ids))
    return {each.key: each for each in found}


async def exchange_by_env(connection: Connection, env: str) -> Exchange | None:
    """Return the exchange of an env hash."""
    found = await connection.fetchrow(sql.EXCHANGE_OF.text, env)
    return None if found is None else exchange_of(found)


async def exchanges_of(connection: Connection, envs: Sequence[str]) -> list[Exchange]:
    """Return the exchanges among these env hashes that are held."""
    return [exchange_of(found) for found in await connection.fetch(sql.EXCHANGES_OF.text, envs)]


async def evidence_of(connection: Connection, envs: Sequence[str]) -> list[Evidence]:
    """Return what stays of those among these env hashes whose exchanges are forgotten."""
    return [evidence_in(found) for found in await connection.fetch(sql.EVIDENCE_OF.text, envs)] if envs else []


async def persons_of(connection: Connection, envs: Sequence[str]) -> dict[str, list[SubjectLink]]:
    """Return the persons that these envelopes name, by env hash."""
    return links_of(await connection.fetch(sql.PERSONS_OF.text, envs))


async def oldest(connection: Connection) -> datetime | None:
    """Return when the oldest exchange that is held was accepted."""
    found = await connection.fetchval(sql.OLDEST.text)
    return moment_of(found)


async def size(connection: Connection) -> int:
    """Return the number of entries."""
    return int(await connection.fetchval(sql.SIZE.text))


async def column(connection: Connection, statement: Statement, values: Row) -> list[Any]:
    """Return the one column of a statement's rows."""
    return [each for (each,) in await connection.fetch(statement.text, *statement.arguments(values))]


async def hashed(connection: Connection, start: int, stop: int) -> list[tuple[bytes, bytes]]:
    """Return the bytes of entries start..stop-1, each with its leaf hash."""
    found = await connection.fetch(sql.HASHED.text, *sql.HASHED.arguments({"start": start, "stop": stop}))
    return [(data, leaf) for data, leaf in found]


async def kept(connection: Connection, envs: Sequence[str]) -> dict[str, Kept]:
    """Return what is kept of accepted envelopes by env hash, those of forgotten exchanges too."""
    found = kept_of(await connection.fetch(sql.KEPT.text, envs))
    missing = [env for env in envs if env not in found]
    return found | (kept_of(await connection.fetch(sql.KEPT_FORGOTTEN.text, missing)) if missing else {})


async def note(connection: Connection, statement: sql.Statement) -> str:
    """Return the note that a statement finds first, or ""."""
    return await connection.fetchval(statement.text, 1) or ""


async def used_since(connection: Connection, moment: datetime, until: datetime | None) -> dict[str, int]:
    """Return how many exchanges were accepted under each grant since a moment, and before another."""
    values = {"moment": milliseconds(moment), "until": milliseconds(until or EVER)}
    return dict(await connection.fetch(sql.USED_SINCE.text, *sql.USED_SINCE.arguments(values)))


async def evidence(connection: Connection, env: str) -> Evidence | None:
    """Return what is kept of a forgotten exchange."""
    found = await connection.fetchrow(sql.EVIDENCE.text, env)
    return None if found is None else evidence_in(found)


async def deliveries(connection: Connection, statement: Statement, values: Row) -> list[Delivery]:
    """Return the deliveries that a statement selects."""
    found = await connection.fetch(statement.text, *statement.arguments(values))
    return [delivery_of(each) for each in found]


async def held(connection: Connection, to: str, envs: Sequence[str]) -> dict[str, Delivery]:
    """Return the deliveries of these envelopes to one inbox, by env hash."""
    found = await deliveries(connection, sql.HELD, {"inbox": to, "envs": envs})
    return {each.env: each for each in found}


async def parcels(connection: Connection, statement: Statement, values: Row) -> list[Parcel]:
    """Return the deliveries that a statement selects, with their content; those whose body is gone are none."""
    found = await connection.fetch(statement.text, *statement.arguments(values))
    return [_parcel(*each) for each in found]


def _parcel(compact: bytes, receipt: str, sealed: bytes, day: str, *standing: object) -> Parcel:
    return Parcel(delivery=delivery_of(standing), compact=compact, receipt=receipt, sealed=sealed, day=day)


async def queued(connection: Connection, inbox: str, lane: Lane, limit: int, skip: Sequence[str]) -> list[Parcel]:
    """Return the first `limit` queued deliveries of one lane that are not to be skipped: one statement, content and all."""
    values = {"inbox": inbox, "lane": lane, "skip": skip, "limit": max(limit, 0)}
    return await parcels(connection, sql.QUEUED, values)


async def depths(connection: Connection) -> list[Depth]:
    """Return what is open, by inbox, sender, lane and state in this order."""
    return [
        Depth(inbox=inbox, source=source, lane=lane, state=state, count=count, size=size, first=first)
        for inbox, source, lane, state, count, size, first in await connection.fetch(sql.DEPTHS.text)
    ]


async def body_of(connection: Connection, env: str) -> SealedBody | None:
    """Return the body of an envelope while it is held."""
    found = await connection.fetchrow(sql.BODY_OF.text, env)
    return None if found is None else SealedBody(day=found[0], sealed=found[1])


async def bodies_by_day(connection: Connection) -> list[DayHeld]:
    """Return how many bodies are held of each day."""
    return days_held(await connection.fetch(sql.KEPT_BY_DAY.text), await connection.fetch(sql.OPEN_BY_DAY.text))


async def version(connection: Connection, number: int) -> SignedRecords | None:
    """Return one version of the directory, which never changes once it is there."""
    statement = await connection.fetchval(sql.VERSION.text, number)
    if statement is None:
        return None
    records = sorted(await column(connection, sql.RECORDS, {"version": number}))
    return SignedRecords(version=number, statement=statement, records=tuple(records))


async def head_version(connection: Connection) -> int:
    """Return the number of the latest version of the directory, 0 before the first."""
    return int(await connection.fetchval(sql.HEAD.text))


async def head(connection: Connection) -> SignedRecords | None:
    """Return the latest version of the directory, or None before the first."""
    return await version(connection, await head_version(connection))


async def pairs(connection: Connection, statement: Statement) -> dict[str, bytes]:
    """Return the two columns of a statement as a table."""
    return dict(await connection.fetch(statement.text))


async def uses(connection: Connection, pseudonym: bytes, after: Place, limit: int) -> list[Use]:
    """Return the first `limit` uses of one person behind a place."""
    values = {"pseudonym": pseudonym, "seq": after[0], "env": after[1], "limit": max(limit, 0)}
    return [use_of(each) for each in await connection.fetch(sql.USES.text, *sql.USES.arguments(values))]


async def withholdings(connection: Connection) -> list[Withholding]:
    """Return every withholding rule."""
    return [withholding_of(each) for each in await connection.fetch(sql.WITHHOLDINGS.text)]


async def subject_keys(connection: Connection) -> dict[str, bool]:
    """Return the names of all subject keys, and whether each was retired."""
    return dict(await connection.fetch(sql.SUBJECT_KEYS.text))
