"""What is read, as SQLAlchemy Core for both engines; each compiles it once into the text that its driver runs.

Parameters are named. Constants are written out, because the compiler would make parameters of them.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from lgsp.backends.sql.tables import (
    TERM,
    body,
    body_key,
    checkpoint,
    cosigned,
    delivery,
    directory_record,
    directory_version,
    entry,
    evidence,
    exchange,
    mention,
    meta,
    nonce,
    schema_document,
    subject,
    subject_key,
    subtree,
    withholding,
)

ZERO: Final[sa.ColumnElement[Any]] = sa.literal_column("0")
LINE: Final = "'\n'"
"""Between the acks of an exchange, which are JSON texts without a line's end."""
ONE: Final[sa.ColumnElement[Any]] = sa.literal_column("1")


def _text(name: str) -> sa.BindParameter[str]:
    return sa.bindparam(name, type_=sa.Text)


def _number(name: str) -> sa.BindParameter[int]:
    return sa.bindparam(name, type_=sa.BigInteger)


def _first(statement: sa.Select[Any]) -> sa.Select[Any]:
    """Bound a query by `limit`."""
    return statement.limit(sa.bindparam("limit", type_=sa.Integer)).offset(ZERO)


OPEN: Final = delivery.c.wakes_at.is_not(None)
IS_QUEUED: Final = delivery.c.state == sa.literal_column("'queued'")
THIS_DELIVERY: Final = sa.and_(delivery.c.env == _text("env"), delivery.c.inbox == _text("inbox"))

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

PERSON: Final = sa.select(subject.c.env, subject.c.pseudonym, subject.c.salt, subject.c.commitment)
OLDEST: Final = sa.select(sa.func.min(exchange.c.accepted_at))

STANDING: Final = (
    delivery.c.source, delivery.c.state, delivery.c.lease, delivery.c.lease_until, delivery.c.due_at, delivery.c.expires,
)  # fmt: skip
"""In the order in which `decisions.standing_of` reads them."""

DELIVERY: Final = sa.select(*DELIVERY_COLUMNS)
_IN_ORDER: Final = (delivery.c.position, delivery.c.inbox)

ALL_META: Final = sa.select(meta.c.name, meta.c.value)

SIZE: Final = sa.select(sa.func.coalesce(sa.func.max(entry.c.seq) + ONE, ZERO))
_SPAN: Final = (entry.c.seq >= _number("start"), entry.c.seq < _number("stop"))
LEAVES: Final = sa.select(entry.c.leaf).where(*_SPAN).order_by(entry.c.seq)
ENTRIES: Final = sa.select(entry.c.data).where(*_SPAN).order_by(entry.c.seq)
HASHED: Final = sa.select(entry.c.data, entry.c.leaf).where(*_SPAN).order_by(entry.c.seq)

EXCHANGE: Final = sa.select(*EXCHANGE_COLUMNS)
EXCHANGE_OF: Final = EXCHANGE.where(exchange.c.env == _text("env"))
USED_SINCE: Final = (
    sa.select(exchange.c.rule, sa.func.count())
    .where(
        exchange.c.accepted_at >= _number("moment"),
        exchange.c.accepted_at < _number("until"),
        exchange.c.rule != sa.literal_column("''"),
    )
    .group_by(exchange.c.rule)
)

_IS_OPEN: Final = sa.exists().where(delivery.c.env == exchange.c.env, delivery.c.wakes_at.is_not(None))
_TERM: Final[sa.ColumnElement[Any]] = sa.literal_column(TERM)
OVER: Final = _first(sa.select(exchange.c.env).where(_number("before") > _TERM, ~_IS_OPEN).order_by(_TERM))
_ACKS: Final = (
    sa.select(sa.func.aggregate_strings(delivery.c.ack, sa.literal_column(LINE)))  # type: ignore[arg-type] # written out, as all constants
    .where(delivery.c.env == exchange.c.env, delivery.c.ack != sa.literal_column("''"))
    .scalar_subquery()
)
SETTLED_EVIDENCE: Final = sa.select(
    exchange.c.env,
    _TERM,
    exchange.c.compact,
    sa.func.coalesce(_ACKS, sa.literal_column("''")),
    exchange.c.receipt,
    exchange.c.reply,
).where(~_IS_OPEN)
"""What stays of exchanges of which nothing is open; which ones is added by the engine."""
EVIDENCE_COLUMNS: Final = ["env", "term", "compact", "acks", "receipt", "reply"]
"""The columns that it goes into."""
EVIDENCES: Final = sa.select(evidence.c.env, evidence.c.compact, evidence.c.acks, evidence.c.receipt, evidence.c.reply)
EVIDENCE: Final = EVIDENCES.where(evidence.c.env == _text("env"))

DELIVERIES: Final = DELIVERY.where(delivery.c.env == _text("env")).order_by(delivery.c.inbox)
PARCEL: Final = (
    sa.select(exchange.c.compact, exchange.c.receipt, body.c.sealed, body.c.day, *DELIVERY_COLUMNS)
    .select_from(delivery)
    .join(exchange, exchange.c.env == delivery.c.env)
    .join(body, body.c.env == delivery.c.env)
)
DUE: Final = _first(DELIVERY.where(delivery.c.wakes_at <= _number("now")).order_by(delivery.c.wakes_at, *_IN_ORDER))
IN_STATE: Final = _first(DELIVERY.where(OPEN, delivery.c.state == _text("state")).order_by(*_IN_ORDER))
OUTCOMES: Final = _first(
    DELIVERY.where(delivery.c.source == _text("source"), delivery.c.unseen == ONE).order_by(*_IN_ORDER)
)
_DEPTH: Final = (delivery.c.inbox, delivery.c.source, delivery.c.lane, delivery.c.state)
# A sum of big integers is a decimal number on PostgreSQL.
_BYTES: Final = sa.cast(sa.func.sum(delivery.c.size), sa.BigInteger)
_FIRST: Final = sa.func.min(delivery.c.position)
DEPTHS: Final = sa.select(*_DEPTH, sa.func.count(), _BYTES, _FIRST).where(OPEN).group_by(*_DEPTH).order_by(*_DEPTH)

BODY_KEYS: Final = sa.select(body_key.c.day, body_key.c.wrapped)
BODY_OF: Final = sa.select(body.c.day, body.c.sealed).where(body.c.env == _text("env"))
IS_KEPT: Final = body.c.kept_until.is_not(None)
OPEN_OF_BODY: Final = sa.exists().where(delivery.c.env == body.c.env, OPEN)
_AS_NUMBER: Final = {"else_": ZERO}
_WITH_BODY: Final = sa.join(delivery, body, body.c.env == delivery.c.env)
_OPEN_BODY: Final = (
    sa.select(
        body.c.day,
        sa.func.min(sa.case((delivery.c.state == sa.literal_column("'parked'"), ONE), **_AS_NUMBER)).label("parked"),
        sa.func.max(sa.case((IS_KEPT, ONE), **_AS_NUMBER)).label("kept"),
    )
    .select_from(_WITH_BODY)
    .where(OPEN)
    .group_by(body.c.env, body.c.day)
).subquery("open_body")
OPEN_BY_DAY: Final = sa.select(
    _OPEN_BODY.c.day,
    sa.func.sum(ONE - _OPEN_BODY.c.parked),
    sa.func.sum(_OPEN_BODY.c.parked),
    sa.func.sum(_OPEN_BODY.c.kept),
).group_by(_OPEN_BODY.c.day)
"""Of each day: bodies in flight, those parked alone, and how many of both are to be archived."""
KEPT_BY_DAY: Final = sa.select(body.c.day, sa.func.count()).where(IS_KEPT).group_by(body.c.day)
UNDELIVERED: Final = _first(
    sa.select(*DELIVERY_COLUMNS)
    .select_from(_WITH_BODY)
    .where(OPEN, delivery.c.state != sa.literal_column("'leased'"), body.c.day == _text("day"))
    .order_by(*_IN_ORDER)
)
ARCHIVED: Final = _first(sa.select(body.c.env).where(IS_KEPT, body.c.day == _text("day"), ~OPEN_OF_BODY))
ARCHIVE_OVER: Final = _first(
    sa.select(body.c.env).where(body.c.kept_until <= _number("now"), ~OPEN_OF_BODY).order_by(body.c.kept_until)
)
_OF_PERSON: Final = _first(
    sa.select(subject.c.env, subject.c.seq, sa.func.min(subject.c.commitment).label("commitment"))
    .where(
        subject.c.pseudonym == sa.bindparam("pseudonym", type_=sa.LargeBinary),
        subject.c.seq >= _number("seq"),
        sa.or_(subject.c.seq > _number("seq"), subject.c.env > _text("env")),
    )
    .group_by(subject.c.seq, subject.c.env)
    .order_by(subject.c.seq, subject.c.env)
).subquery("used")
USES: Final = (
    sa.select(
        *(_OF_PERSON.c.env, _OF_PERSON.c.seq, _OF_PERSON.c.commitment),
        entry.c.data,
        sa.func.coalesce(exchange.c.compact, evidence.c.compact),
    )
    .select_from(_OF_PERSON)
    .outerjoin(entry, entry.c.seq == _OF_PERSON.c.seq)
    .outerjoin(exchange, exchange.c.env == _OF_PERSON.c.env)
    .outerjoin(evidence, evidence.c.env == _OF_PERSON.c.env)
    .order_by(_OF_PERSON.c.seq, _OF_PERSON.c.env)
)
"""In the order in which `rows.use_of` reads them."""
SUBJECT_KEYS: Final = sa.select(subject_key.c.name, subject_key.c.retired.is_not(None))
WITHHOLDINGS: Final = sa.select(*withholding.c).order_by(withholding.c.since, withholding.c.id)
FORGET_NONCES: Final = sa.delete(nonce).where(nonce.c.until <= _number("now"))

HEAD: Final = sa.select(sa.func.coalesce(sa.func.max(directory_version.c.version), ZERO))
VERSION: Final = sa.select(directory_version.c.statement).where(directory_version.c.version == _number("version"))
RECORDS: Final = sa.select(directory_record.c.record).where(
    directory_record.c.added <= _number("version"),
    sa.or_(directory_record.c.removed.is_(None), directory_record.c.removed > _number("version")),
)
PRESENT_RECORDS: Final = sa.select(directory_record.c.hash).where(directory_record.c.removed.is_(None))
DOCUMENTS: Final = sa.select(schema_document.c.urn, schema_document.c.document)

CHECKPOINT: Final = _first(sa.select(checkpoint.c.note).order_by(checkpoint.c.size.desc()))
COSIGNED: Final = _first(sa.select(cosigned.c.note).order_by(cosigned.c.size.desc()))
OLDER_COSIGNED: Final = sa.delete(cosigned).where(
    cosigned.c.size < sa.select(sa.func.max(cosigned.alias().c.size)).scalar_subquery()
)
COVERED: Final = sa.select(sa.func.coalesce(sa.func.max(checkpoint.c.size), sa.literal_column("-1")))

SUBTREE_COUNT: Final = sa.select(sa.func.coalesce(sa.func.max(subtree.c.number), sa.literal_column("-1")) + ONE).where(
    subtree.c.level == _number("level")
)
SUBTREES: Final = (
    sa.select(subtree.c.root)
    .where(
        subtree.c.level == _number("level"), subtree.c.number >= _number("start"), subtree.c.number < _number("stop")
    )
    .order_by(subtree.c.number)
)

CATALOGUED: Final = sa.select(sa.func.coalesce(sa.func.max(mention.c.seq) + ONE, ZERO))
_EMPTY: Final[sa.ColumnElement[Any]] = sa.literal_column("''")
_NUMBERED: Final = (mention.c.seq >= _number("start"), mention.c.seq < _number("stop"))


def _mentioning(column: sa.Column[Any]) -> sa.Select[Any]:
    # That it is not empty is said again in the words of the index over part of the table.
    found = sa.select(mention.c.seq).where(column == _text("value"), column != _EMPTY, *_NUMBERED)
    return _first(found.order_by(mention.c.seq))


MENTIONING: Final = {name: _mentioning(mention.c[name]) for name in ("env", "casefile", "procedure", "officer")}
ENTRIES_OF: Final = (
    sa.select(mention.c.seq).where(mention.c.env == _text("env"), mention.c.env != _EMPTY).order_by(mention.c.seq)
)
_PSEUDONYM: Final = sa.bindparam("pseudonym", type_=sa.LargeBinary)
ENVS_OF_PERSON: Final = sa.select(subject.c.env).where(subject.c.pseudonym == _PSEUDONYM).distinct()
MENTIONING_PERSON: Final = _first(
    sa.select(mention.c.seq)
    .where(mention.c.env.in_(ENVS_OF_PERSON), mention.c.env != _EMPTY, *_NUMBERED)
    .order_by(mention.c.seq)
)
KEPT: Final = sa.select(exchange.c.env, exchange.c.compact, exchange.c.cause)
KEPT_FORGOTTEN: Final = sa.select(evidence.c.env, evidence.c.compact, _EMPTY)
"""Of which envelopes is added by the engine."""

MOVED: Final = (
    "state", "attempts", "lease", "lease_until", "due_at", "code", "ack", "final", "wakes_at", "unseen",
)  # fmt: skip
"""The columns of a delivery that a move writes."""
