"""Every statement of SQLite, compiled once from SQLAlchemy Core to the text that the driver runs.

Parameters are named `:name`, but for what messages wait for: a `Group`, run with many rows at once, and what a commit looks up row by row.
There they have positions, which the driver takes in a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from lgsp.backends.sql import selects, tables
from lgsp.backends.sql.tables import (
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
from lgsp.domain.leases import HOLDER_DIGITS

DIALECT: Final = sqlite.dialect(paramstyle="named")
BY_POSITION: Final = sqlite.dialect(paramstyle="qmark")


def _sql(statement: sa.ClauseElement) -> str:
    return str(statement.compile(dialect=DIALECT))


def _by_position(statement: sa.ClauseElement) -> str:
    return str(statement.compile(dialect=BY_POSITION))


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


def _unless_there(table: sa.Table) -> Group:
    return _group(sqlite.insert(table).on_conflict_do_nothing())


def creation() -> list[str]:
    """Return the statements that make all tables and indexes, in order."""
    made: list[str] = []
    for table in tables.METADATA.sorted_tables:
        made.append(_sql(CreateTable(table)))
        made += [_sql(CreateIndex(index)) for index in sorted(table.indexes, key=lambda index: str(index.name))]
    return made


_OF_DELIVERY: Final = (delivery.c.env == _p("of_env"), delivery.c.inbox == _p("of_inbox"))
_OF_EXCHANGE: Final = (exchange.c.source == _p("source"), exchange.c.id == _p("id"))

ALL_META: Final = _sql(selects.ALL_META)
SET_META: Final = _sql(
    (new := sqlite.insert(meta)).on_conflict_do_update(index_elements=[meta.c.name], set_={"value": new.excluded.value})
)

SIZE: Final = _sql(selects.SIZE)
LEAVES: Final = _sql(selects.LEAVES)
ENTRIES: Final = _sql(selects.ENTRIES)
HASHED: Final = _sql(selects.HASHED)
INSERT_ENTRY: Final = _group(sa.insert(entry))

EXCHANGE: Final = _sql(selects.EXCHANGE.where(*_OF_EXCHANGE))
EXCHANGE_OF: Final = _sql(selects.EXCHANGE_OF)
_ENVS: Final = sa.select(sa.func.json_each(_p("envs")).table_valued("value").c.value)
EXCHANGES_OF: Final = _sql(selects.EXCHANGE.where(exchange.c.env.in_(_ENVS)))
DELIVERIES_OF: Final = _sql(selects.DELIVERY.where(delivery.c.env.in_(_ENVS)))
PERSONS_OF: Final = _sql(selects.PERSON.where(subject.c.env.in_(_ENVS)))
OLDEST: Final = _sql(selects.OLDEST)
REPLY: Final = _by_position(sa.select(exchange.c.reply).where(*_OF_EXCHANGE))
INSERT_EXCHANGE: Final = _group(sa.insert(exchange))
SET_REPLY: Final = _group(
    sa.update(exchange).where(exchange.c.source == _p("asker"), exchange.c.id == _p("asked")).values(reply=_p("env"))
)
USED_SINCE: Final = _sql(selects.USED_SINCE)

DELIVERY: Final = _sql(selects.DELIVERY.where(selects.THIS_DELIVERY))
DELIVERIES: Final = _sql(selects.DELIVERIES)
PARCEL: Final = _sql(selects.PARCEL.where(selects.THIS_DELIVERY))
QUEUED: Final = _sql(
    sa.select(delivery.c.env)
    .where(selects.IS_QUEUED, delivery.c.inbox == _p("inbox"), delivery.c.lane == _p("lane"))
    .order_by(delivery.c.position)
)
DUE: Final = _sql(selects.DUE)
_HOLDER: Final = sa.func.substr(delivery.c.lease, sa.literal_column(f"-{HOLDER_DIGITS}"))
_BUT: Final = sa.func.json_each(_p("but")).table_valued("value")
IN_STATE: Final = _sql(selects.IN_STATE.where(_HOLDER.not_in(sa.select(_BUT.c.value))))
OUTCOMES: Final = _sql(selects.OUTCOMES)
DEPTHS: Final = _sql(selects.DEPTHS)
STANDING: Final = _by_position(sa.select(*selects.STANDING).where(selects.THIS_DELIVERY))
INSERT_DELIVERY: Final = _group(sa.insert(delivery))
MOVE: Final = _group(sa.update(delivery).where(*_OF_DELIVERY).values({name: _p(name) for name in selects.MOVED}))
SEE: Final = _group(sa.update(delivery).where(*_OF_DELIVERY).values(unseen=selects.ZERO))

INSERT_BODY: Final = _group(sa.insert(body))
_SETTLED_BODY: Final = sa.delete(body).where(body.c.env == _p("env"), ~selects.OPEN_OF_BODY)
DROP_BODY: Final = _group(_SETTLED_BODY.where(~selects.IS_KEPT))
DROP_ARCHIVED: Final = _group(_SETTLED_BODY.where(selects.IS_KEPT))
BODY_OF: Final = _sql(selects.BODY_OF)
KEPT_BY_DAY: Final = _sql(selects.KEPT_BY_DAY)
OPEN_BY_DAY: Final = _sql(selects.OPEN_BY_DAY)
UNDELIVERED: Final = _sql(selects.UNDELIVERED)
ARCHIVED: Final = _sql(selects.ARCHIVED)
ARCHIVE_OVER: Final = _sql(selects.ARCHIVE_OVER)
BODY_KEYS: Final = _sql(selects.BODY_KEYS)
SEALS: Final = _by_position(sa.select(selects.ONE).where(body_key.c.day == _p("day")))
EMPTY_BODY_KEYS: Final = _sql(sa.delete(body_key))
INSERT_BODY_KEY: Final = _unless_there(body_key)

OVER: Final = _sql(selects.OVER)
EVIDENCE: Final = _sql(selects.EVIDENCE)
EVIDENCE_OF: Final = _sql(selects.EVIDENCES.where(evidence.c.env.in_(_ENVS)))
_EMPTY: Final[sa.ColumnElement[str]] = sa.literal_column("''")
EVIDENCE_WITHOUT_RECEIPTS: Final = _sql(
    sa.select(evidence.c.env, evidence.c.compact, evidence.c.acks, _EMPTY, _EMPTY).where(evidence.c.env.in_(_ENVS))
)
"""The same in a copy of form 3."""
KEEP_EVIDENCE: Final = _group(
    sqlite.insert(evidence).from_select(
        selects.EVIDENCE_COLUMNS, selects.SETTLED_EVIDENCE.where(exchange.c.env == _p("env"))
    )
)
_IS_EVIDENCE: Final = sa.exists().where(evidence.c.env == _p("env"))
FORGET: Final = [
    _group(sa.delete(body).where(body.c.env == _p("env"), ~selects.IS_KEPT, _IS_EVIDENCE)),
    *(_group(sa.delete(each).where(each.c.env == _p("env"), _IS_EVIDENCE)) for each in (delivery, exchange)),
]

INSERT_SUBJECT: Final = _group(sa.insert(subject))
ERASE: Final = _group(sa.delete(subject).where(subject.c.pseudonym == _p("pseudonym")))
USES: Final = _sql(selects.USES)

SUBJECT_KEYS: Final = _sql(selects.SUBJECT_KEYS)
MAKES: Final = _by_position(
    sa.select(selects.ONE).where(subject_key.c.name == _p("name"), subject_key.c.retired.is_(None))
)
INSERT_SUBJECT_KEY: Final = _unless_there(subject_key)
RETIRE: Final = _group(sa.update(subject_key).where(subject_key.c.name == _p("of_name")).values(retired=_p("at")))
WITHHOLDINGS: Final = _sql(selects.WITHHOLDINGS)
WITHHOLDS: Final = _by_position(
    sa.select(selects.ONE).where(withholding.c.id == _p("id"), withholding.c.ended.is_(None))
)
INSERT_WITHHOLDING: Final = _group(sa.insert(withholding))
END_WITHHOLDING: Final = _group(sa.update(withholding).where(withholding.c.id == _p("of_id")).values(ended=_p("at")))

FORGET_NONCES: Final = _sql(selects.FORGET_NONCES)
NONCE: Final = _by_position(sa.select(nonce.c.until).where(nonce.c.jti == _p("jti")))
INSERT_NONCE: Final = _group(sa.insert(nonce))

HEAD: Final = _sql(selects.HEAD)
VERSION: Final = _sql(selects.VERSION)
INSERT_VERSION: Final = _sql(sa.insert(directory_version))
RECORDS: Final = _sql(selects.RECORDS)
PRESENT_RECORDS: Final = _sql(selects.PRESENT_RECORDS)
INSERT_RECORD: Final = _group(sa.insert(directory_record))
REMOVE_RECORD: Final = _group(
    sa.update(directory_record)
    .where(directory_record.c.hash == _p("of_hash"), directory_record.c.removed.is_(None))
    .values(removed=_p("version"))
)

DOCUMENTS: Final = _sql(selects.DOCUMENTS)
INSERT_DOCUMENT: Final = _unless_there(schema_document)

CHECKPOINT: Final = _sql(selects.CHECKPOINT)
COVERED: Final = _sql(selects.COVERED)
DROP_CHECKPOINTS: Final = _sql(sa.delete(checkpoint))
INSERT_CHECKPOINT: Final = _sql(sa.insert(checkpoint))

COSIGNED: Final = _sql(selects.COSIGNED)
KEEP_COSIGNED: Final = _sql(
    (told := sqlite.insert(cosigned)).on_conflict_do_update(
        index_elements=[cosigned.c.size], set_={"note": told.excluded.note}
    )
)
DROP_OLDER_COSIGNED: Final = _sql(selects.OLDER_COSIGNED)

SUBTREE_COUNT: Final = _sql(selects.SUBTREE_COUNT)
SUBTREES: Final = _sql(selects.SUBTREES)
INSERT_SUBTREE: Final = _unless_there(subtree)

CATALOGUED: Final = _sql(selects.CATALOGUED)
MENTIONING: Final = {name: _sql(statement) for name, statement in selects.MENTIONING.items()}
MENTIONING_PERSON: Final = _sql(selects.MENTIONING_PERSON)
ENTRIES_OF: Final = _sql(selects.ENTRIES_OF)
ENVS_OF_PERSON: Final = _sql(selects.ENVS_OF_PERSON)
KEPT: Final = _sql(
    sa.union_all(selects.KEPT.where(exchange.c.env.in_(_ENVS)), selects.KEPT_FORGOTTEN.where(evidence.c.env.in_(_ENVS)))
)
_NUMBERS: Final = sa.select(sa.func.json_each(_p("numbers")).table_valued("value").c.value)
ENTRIES_AT: Final = _sql(sa.select(entry.c.data).where(entry.c.seq.in_(_NUMBERS)).order_by(entry.c.seq))
INSERT_MENTION: Final = _unless_there(mention)
