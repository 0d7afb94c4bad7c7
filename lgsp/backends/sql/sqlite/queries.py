"""What is read from a connection: each function runs one or two statements and closes its cursor, so that no read holds the file's log open."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

from lgsp.backends.sql.rows import (
    EVER,
    Row,
    days_held,
    delivery_of,
    evidence_in,
    exchange_of,
    links_of,
    milliseconds,
    moment_of,
    use_of,
    withholding_of,
)
from lgsp.backends.sql.sqlite import statements as sql
from lgsp.domain.exchange import Delivery, Exchange, ExchangeKey
from lgsp.domain.records import Lane
from lgsp.domain.withholding import Withholding
from lgsp.ports.bodies import DayHeld, SealedBody
from lgsp.ports.directory import SignedRecords
from lgsp.ports.inboxes import Depth, Parcel
from lgsp.ports.ledger import SubjectLink
from lgsp.ports.persons import Place, Use
from lgsp.ports.retention import Evidence

Connection = sqlite3.Connection


def rows(connection: Connection, text: str, values: Row | None = None) -> list[tuple[Any, ...]]:
    """Return every row of a statement."""
    return connection.execute(text, values or {}).fetchall()


def row(connection: Connection, text: str, values: Row | None = None) -> tuple[Any, ...] | None:
    """Return the one row of a statement that has at most one."""
    found = connection.execute(text, values or {}).fetchall()
    return found[0] if found else None


def exchanges(connection: Connection, keys: Sequence[ExchangeKey]) -> dict[ExchangeKey, Exchange]:
    """Return the exchanges among these keys that are held."""
    found = (row(connection, sql.EXCHANGE, {"source": source, "id": id_}) for source, id_ in keys)
    return {each.key: each for each in (exchange_of(present) for present in found if present is not None)}


def exchange_by_env(connection: Connection, env: str) -> Exchange | None:
    """Return the exchange of an env hash."""
    found = row(connection, sql.EXCHANGE_OF, {"env": env})
    return None if found is None else exchange_of(found)


def exchanges_of(connection: Connection, envs: Sequence[str]) -> list[Exchange]:
    """Return the exchanges among these env hashes that are held."""
    return [exchange_of(found) for found in rows(connection, sql.EXCHANGES_OF, {"envs": json.dumps(list(envs))})]


def evidence_of(connection: Connection, envs: Sequence[str], text: str = sql.EVIDENCE_OF) -> list[Evidence]:
    """Return what stays of those among these env hashes whose exchanges are forgotten."""
    return [evidence_in(found) for found in rows(connection, text, {"envs": json.dumps(list(envs))})]


def persons_of(connection: Connection, envs: Sequence[str]) -> dict[str, list[SubjectLink]]:
    """Return the persons that these envelopes name, by env hash."""
    return links_of(rows(connection, sql.PERSONS_OF, {"envs": json.dumps(list(envs))}))


def oldest(connection: Connection) -> datetime | None:
    """Return when the oldest exchange that is held was accepted."""
    [(found,)] = rows(connection, sql.OLDEST)
    return moment_of(found)


def size(connection: Connection) -> int:
    """Return the number of entries."""
    return int(rows(connection, sql.SIZE)[0][0])


def column(connection: Connection, text: str, values: Row) -> list[Any]:
    """Return the one column of a statement's rows."""
    return [each for (each,) in rows(connection, text, values)]


def note(connection: Connection, text: str) -> str:
    """Return the note that a statement finds first, or ""."""
    found = row(connection, text, {"limit": 1})
    return "" if found is None else str(found[0])


def used_since(connection: Connection, moment: datetime, until: datetime | None) -> dict[str, int]:
    """Return how many exchanges were accepted under each grant since a moment, and before another."""
    values = {"moment": milliseconds(moment), "until": milliseconds(until or EVER)}
    return dict(rows(connection, sql.USED_SINCE, values))


def evidence(connection: Connection, env: str) -> Evidence | None:
    """Return what is kept of a forgotten exchange."""
    found = row(connection, sql.EVIDENCE, {"env": env})
    return None if found is None else evidence_in(found)


def deliveries(connection: Connection, text: str, values: Row) -> list[Delivery]:
    """Return the deliveries that a statement selects."""
    return [delivery_of(each) for each in rows(connection, text, values)]


def held(connection: Connection, to: str, envs: Sequence[str]) -> dict[str, Delivery]:
    """Return the deliveries of these envelopes to one inbox, by env hash."""
    found = (row(connection, sql.DELIVERY, {"env": env, "inbox": to}) for env in envs)
    return {each.env: each for each in (delivery_of(present) for present in found if present is not None)}


def parcel(connection: Connection, env: str, to: str) -> Parcel | None:
    """Return one delivery with its content, while the body is held."""
    found = row(connection, sql.PARCEL, {"env": env, "inbox": to})
    if found is None:
        return None
    compact, receipt, sealed, day, *standing = found
    return Parcel(delivery=delivery_of(tuple(standing)), compact=compact, receipt=receipt, sealed=sealed, day=day)


def queued(connection: Connection, inbox: str, lane: Lane, limit: int, skip: Collection[str]) -> list[Parcel]:
    """Return the first `limit` queued deliveries of one lane that are not to be skipped."""
    found: list[Parcel] = []
    with closing(connection.execute(sql.QUEUED, {"inbox": inbox, "lane": lane})) as cursor:
        while len(found) < limit and (place := cursor.fetchone()) is not None:
            content = None if place[0] in skip else parcel(connection, place[0], inbox)
            if content is not None:
                found.append(content)
    return found


def depths(connection: Connection) -> list[Depth]:
    """Return what is open, by inbox, sender, lane and state in this order."""
    return [
        Depth(inbox=inbox, source=source, lane=lane, state=state, count=count, size=size, first=first)
        for inbox, source, lane, state, count, size, first in rows(connection, sql.DEPTHS)
    ]


def body_of(connection: Connection, env: str) -> SealedBody | None:
    """Return the body of an envelope while it is held."""
    found = row(connection, sql.BODY_OF, {"env": env})
    return None if found is None else SealedBody(day=found[0], sealed=found[1])


def bodies_by_day(connection: Connection) -> list[DayHeld]:
    """Return how many bodies are held of each day."""
    return days_held(rows(connection, sql.KEPT_BY_DAY), rows(connection, sql.OPEN_BY_DAY))


def version(connection: Connection, number: int) -> SignedRecords | None:
    """Return one version of the directory."""
    found = row(connection, sql.VERSION, {"version": number})
    if found is None:
        return None
    records = sorted(column(connection, sql.RECORDS, {"version": number}))
    return SignedRecords(version=number, statement=found[0], records=tuple(records))


def head_version(connection: Connection) -> int:
    """Return the number of the latest version of the directory, 0 before the first."""
    return int(rows(connection, sql.HEAD)[0][0])


def head(connection: Connection) -> SignedRecords | None:
    """Return the latest version of the directory, or None before the first."""
    return version(connection, head_version(connection))


def pairs(connection: Connection, text: str) -> dict[str, bytes]:
    """Return the two columns of a statement as a table."""
    return dict(rows(connection, text))


def uses(connection: Connection, pseudonym: bytes, after: Place, limit: int) -> list[Use]:
    """Return the first `limit` uses of one person behind a place."""
    values = {"pseudonym": pseudonym, "seq": after[0], "env": after[1], "limit": max(limit, 0)}
    return [use_of(each) for each in rows(connection, sql.USES, values)]


def withholdings(connection: Connection) -> list[Withholding]:
    """Return every withholding rule."""
    return [withholding_of(each) for each in rows(connection, sql.WITHHOLDINGS)]


def subject_keys(connection: Connection) -> dict[str, bool]:
    """Return the names of all subject keys, and whether each was retired."""
    return {name: bool(retired) for name, retired in rows(connection, sql.SUBJECT_KEYS)}
