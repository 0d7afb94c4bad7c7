"""Every statement, compiled once from SQLAlchemy Core to the text that the driver runs.

Parameters are named `:name`, but for a `Group`, run with many rows at once: there the driver takes positions in half the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from lgsp.backends.sql import tables
from lgsp.backends.sql.tables import (
    body,
    body_key,
    checkpoint,
    delivery,
    directory_record,
    directory_version,
    entry,
    exchange,
    meta,
    nonce,
    schema_document,
    subject,
)

DIALECT: Final = sqlite.dialect(paramstyle="named")
BY_POSITION: Final = sqlite.dialect(paramstyle="qmark")


def _sql(statement: sa.ClauseElement) -> str:
    return str(statement.compile(dialect=DIALECT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A statement that is run with many rows at once; `pick` puts a row's values in its order."""

    text: str
    pick: Callable[[dict[str, Any]], tuple[Any, ...]]

    def values(self, rows: Iterable[dict[str, Any]]) -> Iterable[tuple[Any, ...]]:
        """Return the rows as the driver takes them."""
        return map(self.pick, rows)


def _group(statement: sa.ClauseElement) -> Group:
    compiled = statement.compile(dialect=BY_POSITION)
    names: list[str] = getattr(compiled, "positiontup", None) or []
    (first, *others) = names
    return Group(text=str(compiled), pick=itemgetter(*names) if others else lambda row: (row[first],))


def _p(name: str) -> sa.BindParameter[Any]:
    return sa.bindparam(name)


def _first(statement: sa.Select[Any]) -> sa.Select[Any]:
    """Bound a query by `:limit`; the offset is spelled out because the compiler would make a parameter of it."""
    return statement.limit(sa.bindparam("limit", type_=sa.Integer)).offset(sa.literal_column("0"))


def creation() -> list[str]:
    """Return the statements that make all tables and indexes, in order."""
    made: list[str] = []
    for table in tables.METADATA.sorted_tables:
        made.append(_sql(CreateTable(table)))
        made += [_sql(CreateIndex(index)) for index in sorted(table.indexes, key=lambda index: str(index.name))]
    return made


def _state(name: str) -> sa.ColumnElement[bool]:
    return delivery.c.state == sa.literal_column(f"'{name}'")


_OPEN: Final = delivery.c.wakes_at.is_not(None)
_THIS_DELIVERY: Final = sa.and_(delivery.c.env == _p("env"), delivery.c.inbox == _p("inbox"))

DELIVERY_COLUMNS: Final = (
    delivery.c.env, delivery.c.inbox, delivery.c.source, delivery.c.id, delivery.c.lane, delivery.c.state, delivery.c.attempts,
    delivery.c.lease, delivery.c.lease_until, delivery.c.due_at, delivery.c.expires, delivery.c.code, delivery.c.ack, delivery.c.final,
    delivery.c.position, delivery.c.size, delivery.c.subscriptions,
)  # fmt: skip
"""In the order in which `rows.delivery_of` reads them."""

EXCHANGE_COLUMNS: Final = (
    exchange.c.source, exchange.c.id, exchange.c.env, exchange.c.type, exchange.c.audience, exchange.c.receivers, exchange.c.accepted_at,
    exchange.c.expires, exchange.c.reply_until, exchange.c.cause, exchange.c.reply, exchange.c.policy, exchange.c.rule, exchange.c.compact,
    exchange.c.receipt,
)  # fmt: skip
"""In the order in which `rows.exchange_of` reads them."""

_DELIVERIES: Final = sa.select(*DELIVERY_COLUMNS)
_IN_ORDER: Final = (delivery.c.position, delivery.c.inbox)

META: Final = _sql(sa.select(meta.c.value).where(meta.c.name == _p("name")))
INSERT_META: Final = _sql(sa.insert(meta))

SIZE: Final = _sql(
    sa.select(sa.func.coalesce(sa.func.max(entry.c.seq) + sa.literal_column("1"), sa.literal_column("0")))
)
LEAVES: Final = _sql(
    sa.select(entry.c.leaf).where(entry.c.seq >= _p("start"), entry.c.seq < _p("stop")).order_by(entry.c.seq)
)
ENTRIES: Final = _sql(
    sa.select(entry.c.data).where(entry.c.seq >= _p("start"), entry.c.seq < _p("stop")).order_by(entry.c.seq)
)
INSERT_ENTRY: Final = _group(sa.insert(entry))

EXCHANGE: Final = _sql(sa.select(*EXCHANGE_COLUMNS).where(exchange.c.source == _p("source"), exchange.c.id == _p("id")))
EXCHANGE_OF: Final = _sql(sa.select(*EXCHANGE_COLUMNS).where(exchange.c.env == _p("env")))
REPLY: Final = _sql(sa.select(exchange.c.reply).where(exchange.c.source == _p("source"), exchange.c.id == _p("id")))
INSERT_EXCHANGE: Final = _group(sa.insert(exchange))
SET_REPLY: Final = _group(
    sa.update(exchange).where(exchange.c.source == _p("asker"), exchange.c.id == _p("asked")).values(reply=_p("env"))
)
USED_SINCE: Final = _sql(
    sa.select(exchange.c.rule, sa.func.count())
    .where(exchange.c.accepted_at >= _p("moment"), exchange.c.rule != sa.literal_column("''"))
    .group_by(exchange.c.rule)
)

DELIVERY: Final = _sql(_DELIVERIES.where(_THIS_DELIVERY))
DELIVERIES: Final = _sql(_DELIVERIES.where(delivery.c.env == _p("env")).order_by(delivery.c.inbox))
PARCEL: Final = _sql(
    sa.select(exchange.c.compact, exchange.c.receipt, body.c.sealed, body.c.day, *DELIVERY_COLUMNS)
    .select_from(delivery)
    .join(exchange, exchange.c.env == delivery.c.env)
    .join(body, body.c.env == delivery.c.env)
    .where(_THIS_DELIVERY)
)
QUEUED: Final = _sql(
    sa.select(delivery.c.env)
    .where(_state("queued"), delivery.c.inbox == _p("inbox"), delivery.c.lane == _p("lane"))
    .order_by(delivery.c.position)
)
DUE: Final = _sql(_first(_DELIVERIES.where(delivery.c.wakes_at <= _p("now")).order_by(delivery.c.wakes_at, *_IN_ORDER)))
IN_STATE: Final = _sql(_first(_DELIVERIES.where(_OPEN, delivery.c.state == _p("state")).order_by(*_IN_ORDER)))
OUTCOMES: Final = _sql(
    _first(
        _DELIVERIES.where(delivery.c.source == _p("source"), delivery.c.unseen == sa.literal_column("1")).order_by(
            *_IN_ORDER
        )
    )
)
_DEPTH: Final = (delivery.c.inbox, delivery.c.source, delivery.c.lane, delivery.c.state)
DEPTHS: Final = _sql(
    sa.select(*_DEPTH, sa.func.count(), sa.func.sum(delivery.c.size)).where(_OPEN).group_by(*_DEPTH).order_by(*_DEPTH)
)
STANDING: Final = _sql(
    sa.select(delivery.c.state, delivery.c.lease, delivery.c.due_at, delivery.c.expires).where(_THIS_DELIVERY)
)
INSERT_DELIVERY: Final = _group(sa.insert(delivery))
MOVE: Final = _group(
    sa.update(delivery)
    .where(delivery.c.env == _p("of_env"), delivery.c.inbox == _p("of_inbox"))
    .values(
        {
            name: _p(name)
            for name in (
                "state", "attempts", "lease", "lease_until", "due_at", "code", "ack", "final", "wakes_at", "unseen",
            )
        }
    )
)  # fmt: skip
SEE: Final = _sql(
    sa.update(delivery)
    .where(delivery.c.env == _p("of_env"), delivery.c.inbox == _p("of_inbox"), delivery.c.source == _p("of_source"))
    .where(sa.or_(_p("of_state") == sa.literal_column("''"), delivery.c.state == _p("of_state")))
    .values(unseen=sa.literal_column("0"))
)

INSERT_BODY: Final = _group(sa.insert(body))
DROP_BODY: Final = _group(
    sa.delete(body).where(body.c.env == _p("env"), ~sa.exists().where(delivery.c.env == body.c.env, _OPEN))
)
BODY_KEYS: Final = _sql(sa.select(body_key.c.day, body_key.c.wrapped))
BODY_KEY: Final = _sql(sa.select(body_key.c.day).where(body_key.c.day == _p("day")))
INSERT_BODY_KEY: Final = _sql(sa.insert(body_key))

SUBJECTS: Final = _sql(
    sa.select(subject.c.pseudonym, subject.c.salt, subject.c.commitment).where(subject.c.env == _p("env"))
)
INSERT_SUBJECT: Final = _group(sa.insert(subject))

FORGET_NONCES: Final = _sql(sa.delete(nonce).where(nonce.c.until <= _p("now")))
NONCE: Final = _sql(sa.select(nonce.c.jti).where(nonce.c.jti == _p("jti")))
INSERT_NONCE: Final = _sql(sa.insert(nonce))

HEAD: Final = _sql(sa.select(sa.func.coalesce(sa.func.max(directory_version.c.version), sa.literal_column("0"))))
VERSION: Final = _sql(sa.select(directory_version.c.statement).where(directory_version.c.version == _p("version")))
INSERT_VERSION: Final = _sql(sa.insert(directory_version))
RECORDS: Final = _sql(
    sa.select(directory_record.c.record).where(
        directory_record.c.added <= _p("version"),
        sa.or_(directory_record.c.removed.is_(None), directory_record.c.removed > _p("version")),
    )
)
PRESENT_RECORDS: Final = _sql(sa.select(directory_record.c.hash).where(directory_record.c.removed.is_(None)))
INSERT_RECORD: Final = _group(sa.insert(directory_record))
REMOVE_RECORD: Final = _group(
    sa.update(directory_record)
    .where(directory_record.c.hash == _p("of_hash"), directory_record.c.removed.is_(None))
    .values(removed=_p("version"))
)

DOCUMENTS: Final = _sql(sa.select(schema_document.c.urn, schema_document.c.document))
DOCUMENT: Final = _sql(sa.select(schema_document.c.urn).where(schema_document.c.urn == _p("urn")))
INSERT_DOCUMENT: Final = _sql(sa.insert(schema_document))

CHECKPOINT: Final = _sql(_first(sa.select(checkpoint.c.note).order_by(checkpoint.c.size.desc())))
LARGER_CHECKPOINT: Final = _sql(sa.select(checkpoint.c.size).where(checkpoint.c.size > _p("size")))
DROP_CHECKPOINTS: Final = _sql(sa.delete(checkpoint))
INSERT_CHECKPOINT: Final = _sql(sa.insert(checkpoint))
