"""Every statement of PostgreSQL, compiled once from SQLAlchemy Core to the text that the driver prepares.

Parameters have positions (`$1`). What is read or written for many rows at once takes one array for each column, so a commit of any size is a
handful of statements.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from lgsp.backends.sql import selects, tables, years
from lgsp.backends.sql.rows import Row
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
    nonce,
    schema_document,
    subject,
    subject_key,
    subtree,
    withholding,
)
from lgsp.domain.leases import HOLDER_DIGITS

DIALECT: Final = dialect()  # type: ignore[no-untyped-call]
SEPARATOR: Final = "__"
"""Between the name of a group of rows and that of a column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A text for the driver, and the names of its parameters by their positions."""

    text: str
    names: tuple[str, ...]
    parts: tuple[tuple[str, str], ...]
    """Of each name the group, "" where it is of none, and the column."""

    def arguments(self, values: Row) -> list[Any]:
        """Return the values in the order of their positions."""
        return [values[name] for name in self.names]

    def columns(self, groups: Mapping[str, Collection[Row]]) -> list[Any]:
        """Return groups of rows as the arrays that the statement takes."""
        return [[row[column] for row in groups[group]] for group, column in self.parts]


def _sql(statement: sa.ClauseElement) -> Statement:
    compiled = statement.compile(dialect=DIALECT)
    names: Sequence[str] = getattr(compiled, "positiontup", None) or ()
    return Statement(text=str(compiled), names=tuple(names), parts=tuple(map(_parted, names)))


def _parted(name: str) -> tuple[str, str]:
    group, _, column = name.rpartition(SEPARATOR)
    return group, column


def _ddl(statement: sa.schema.ExecutableDDLElement) -> str:
    return str(statement.compile(dialect=DIALECT))


def creation() -> list[str]:
    """Return the statements that make all tables and indexes, in order."""
    made: list[str] = []
    for table in tables.METADATA.sorted_tables:
        made.append(_ddl(CreateTable(table)))
        made += [_ddl(CreateIndex(index)) for index in sorted(table.indexes, key=lambda index: str(index.name))]
    return made + years.partitions()


def _array(name: str, kind: sa.types.TypeEngine[Any]) -> sa.BindParameter[Any]:
    plain = (
        sa.Text()
        if isinstance(kind, sa.Text)
        else sa.LargeBinary()
        if isinstance(kind, sa.LargeBinary)
        else sa.BigInteger()
    )
    return sa.bindparam(name, type_=ARRAY(plain))


def _given(group: str, columns: Mapping[str, sa.Column[Any]]) -> sa.FromClause:
    """Return the arrays of a group's columns as a table; the group is also what the table is called."""
    arrays = [_array(f"{group}{SEPARATOR}{name}", column.type) for name, column in columns.items()]
    return sa.func.unnest(*arrays).table_valued(*columns).render_derived(name=group)


def _named(*columns: sa.Column[Any]) -> dict[str, sa.Column[Any]]:
    return {column.name: column for column in columns}


def _insert(table: sa.Table, group: str = "") -> postgresql.Insert:
    given = _given(group or f"new_{table.name}", _named(*table.c))
    return postgresql.insert(table).from_select([column.name for column in table.c], sa.select(*given.c))


def _all_of(*parts: postgresql.Insert | sa.Update | sa.Delete) -> Statement:
    """Return one statement that does all of these, in any order: none sees what another does."""
    done = [part.cte(f"part_{number}") for number, part in enumerate(parts)]
    return _sql(sa.select(selects.ONE).add_cte(*done))


BEGIN: Final = "BEGIN"
APPENDING: Final = 7_107_211
"""The lock of whoever appends: one at a time, from before the first look at the log until the commit is durable."""
BEGIN_APPENDING: Final = f"BEGIN; SELECT pg_advisory_xact_lock({APPENDING})"
"""Two statements in one message: the second one's successor sees all that was committed before the lock was got."""

ALL_META: Final = _sql(selects.ALL_META)

# Looked at first

_KEYS: Final = _given("keys", _named(exchange.c.source, exchange.c.id))
_OF_KEYS: Final = sa.and_(exchange.c.source == _KEYS.c.source, exchange.c.id == _KEYS.c.id)
_PLACES: Final = _given("places", _named(delivery.c.env, delivery.c.inbox))
_AT_PLACES: Final = sa.and_(delivery.c.env == _PLACES.c.env, delivery.c.inbox == _PLACES.c.inbox)
_STANDINGS: Final = (
    sa.select(delivery.c.env, delivery.c.inbox, *selects.STANDING)
    .select_from(sa.join(_PLACES, delivery, _AT_PLACES))
    # In one order for everybody: whoever locks the same rows waits, and never for somebody who waits for oneself.
    .order_by(delivery.c.env, delivery.c.inbox)
    .with_for_update(of=delivery)
    .cte("standings")
)
_NO_TEXT: Final = sa.literal_column("''", sa.Text)
_NO_NUMBER: Final = sa.literal_column("NULL::bigint", sa.BigInteger)
IS_HEAD, IS_REPLY, IS_STANDING = range(3)
"""What a row of `LOOK` tells."""
LOOK: Final = _sql(
    sa.union_all(
        sa.select(
            sa.literal_column(str(IS_HEAD)),
            *[_NO_TEXT] * 5,
            selects.SIZE.scalar_subquery(),
            selects.HEAD.scalar_subquery(),
            _NO_NUMBER,
        ),
        sa.select(
            sa.literal_column(str(IS_REPLY)),
            exchange.c.source,
            exchange.c.id,
            exchange.c.reply,
            *[_NO_TEXT] * 2,
            *[_NO_NUMBER] * 3,
        ).select_from(sa.join(_KEYS, exchange, _OF_KEYS)),
        sa.select(sa.literal_column(str(IS_STANDING)), *_STANDINGS.c),
    )
)
"""One round trip: how long the log is and which version of the directory is the latest; the replies of exchanges; where deliveries stand."""
NONCES: Final = _sql(
    sa.select(nonce.c.jti, nonce.c.until).where(nonce.c.jti == sa.any_(_array("jtis", nonce.c.jti.type)))
)
WITHHOLDING: Final = _sql(
    sa.select(withholding.c.id).where(
        withholding.c.id == sa.any_(_array("ids", withholding.c.id.type)), withholding.c.ended.is_(None)
    )
)
MAKING: Final = _sql(
    sa.select(subject_key.c.name).where(
        subject_key.c.name == sa.any_(_array("names", subject_key.c.name.type)), subject_key.c.retired.is_(None)
    )
)
PRESENT_RECORDS: Final = _sql(selects.PRESENT_RECORDS)
COVERED: Final = _sql(selects.COVERED)

# Written then

_REPLIES: Final = _given("replies", {"asker": exchange.c.source, "asked": exchange.c.id, "env": exchange.c.env})
_SET_REPLIES: Final = (
    sa.update(exchange)
    .where(exchange.c.source == _REPLIES.c.asker, exchange.c.id == _REPLIES.c.asked)
    .values(reply=_REPLIES.c.env)
)
_MOVES: Final = _given(
    "moves",
    {"of_env": delivery.c.env, "of_inbox": delivery.c.inbox} | {name: delivery.c[name] for name in selects.MOVED},
)
_MOVE: Final = (
    sa.update(delivery)
    .where(delivery.c.env == _MOVES.c.of_env, delivery.c.inbox == _MOVES.c.of_inbox)
    .values({name: _MOVES.c[name] for name in selects.MOVED})
)
_SEEN: Final = _given("seen", {"of_env": delivery.c.env, "of_inbox": delivery.c.inbox})
_SEE: Final = (
    sa.update(delivery)
    .where(delivery.c.env == _SEEN.c.of_env, delivery.c.inbox == _SEEN.c.of_inbox)
    .values(unseen=selects.ZERO)
)
WRITE: Final = _all_of(*map(_insert, (entry, exchange, delivery, body, subject)), _SET_REPLIES, _MOVE, _SEE)
"""All that messages write, and one round trip: no row is in two of its groups."""
_ENVS: Final = _array("envs", body.c.env.type)
_STILL_OPEN: Final = sa.select(delivery.c.env).where(delivery.c.env == sa.any_(_ENVS), selects.OPEN)
_SETTLED_BODIES: Final = sa.delete(body).where(body.c.env == sa.any_(_ENVS), body.c.env.not_in(_STILL_OPEN))
DROP_BODIES: Final = _sql(_SETTLED_BODIES.where(~selects.IS_KEPT))
DROP_ARCHIVED: Final = _sql(_SETTLED_BODIES.where(selects.IS_KEPT))
KEEP_EVIDENCE: Final = _sql(
    postgresql.insert(evidence)
    .from_select(
        selects.EVIDENCE_COLUMNS,
        # In one order for everybody, as another gateway may be forgetting the same: it waits, and finds it done.
        selects.SETTLED_EVIDENCE.where(exchange.c.env == sa.any_(_ENVS)).order_by(exchange.c.env),
    )
    .on_conflict_do_nothing()
)
_ARE_EVIDENCE: Final = sa.select(evidence.c.env).where(evidence.c.env == sa.any_(_ENVS))
FORGET: Final = [
    DROP_BODIES,
    *(
        _sql(sa.delete(each).where(each.c.env == sa.any_(_ENVS), each.c.env.in_(_ARE_EVIDENCE)))
        for each in (delivery, exchange)
    ),
]
"""After `KEEP_EVIDENCE`, each a statement of its own: it looks at what that has kept."""
FORGET_NONCES: Final = _sql(selects.FORGET_NONCES)
INSERT_NONCES: Final = _all_of(_insert(nonce))
INSERT_VERSIONS: Final = _all_of(_insert(directory_version))
INSERT_RECORDS: Final = _all_of(_insert(directory_record))
_GONE: Final = _given("gone", {"of_hash": directory_record.c.hash, "version": directory_record.c.removed})
REMOVE_RECORDS: Final = _all_of(
    sa.update(directory_record)
    .where(directory_record.c.hash == _GONE.c.of_hash, directory_record.c.removed.is_(None))
    .values(removed=_GONE.c.version)
)
INSERT_DOCUMENTS: Final = _all_of(_insert(schema_document).on_conflict_do_nothing())
_DAYS: Final = _array("days", body_key.c.day.type)
SEALING: Final = _sql(sa.select(body_key.c.day).where(body_key.c.day == sa.any_(_DAYS)))
DESTROY_BODY_KEYS: Final = _sql(sa.delete(body_key).where(body_key.c.day == sa.any_(_DAYS)))
INSERT_BODY_KEYS: Final = _all_of(_insert(body_key).on_conflict_do_nothing())
DROP_CHECKPOINTS: Final = _sql(sa.delete(checkpoint))
INSERT_CHECKPOINT: Final = _sql(sa.insert(checkpoint))
KEEP_COSIGNED: Final = _sql(
    (told := postgresql.insert(cosigned)).on_conflict_do_update(
        index_elements=[cosigned.c.size], set_={"note": told.excluded.note}
    )
)
DROP_OLDER_COSIGNED: Final = _sql(selects.OLDER_COSIGNED)
INSERT_SUBTREES: Final = _all_of(_insert(subtree).on_conflict_do_nothing())
ERASE: Final = _sql(
    sa.delete(subject).where(subject.c.pseudonym == sa.any_(_array("pseudonyms", subject.c.pseudonym.type)))
)
INSERT_SUBJECT_KEYS: Final = _all_of(_insert(subject_key).on_conflict_do_nothing())
_RETIRED: Final = _given("retired", {"of_name": subject_key.c.name, "at": subject_key.c.since})
RETIRE: Final = _all_of(
    sa.update(subject_key).where(subject_key.c.name == _RETIRED.c.of_name).values(retired=_RETIRED.c.at)
)
INSERT_WITHHOLDINGS: Final = _all_of(_insert(withholding))
_ENDED: Final = _given("ended", {"of_id": withholding.c.id, "at": withholding.c.since})
END_WITHHOLDINGS: Final = _all_of(
    sa.update(withholding).where(withholding.c.id == _ENDED.c.of_id).values(ended=_ENDED.c.at)
)
INSERT_MENTIONS: Final = _all_of(_insert(mention).on_conflict_do_nothing())

# Read at any time

SIZE: Final = _sql(selects.SIZE)
LEAVES: Final = _sql(selects.LEAVES)
ENTRIES: Final = _sql(selects.ENTRIES)
HASHED: Final = _sql(selects.HASHED)
EXCHANGES: Final = _sql(selects.EXCHANGE.select_from(sa.join(_KEYS, exchange, _OF_KEYS)))
EXCHANGE_OF: Final = _sql(selects.EXCHANGE_OF)
EXCHANGES_OF: Final = _sql(selects.EXCHANGE.where(exchange.c.env == sa.any_(_array("envs", exchange.c.env.type))))
DELIVERIES_OF: Final = _sql(selects.DELIVERY.where(delivery.c.env == sa.any_(_array("envs", delivery.c.env.type))))
PERSONS_OF: Final = _sql(selects.PERSON.where(subject.c.env == sa.any_(_array("envs", subject.c.env.type))))
OLDEST: Final = _sql(selects.OLDEST)
USED_SINCE: Final = _sql(selects.USED_SINCE)
DELIVERIES: Final = _sql(selects.DELIVERIES)
HELD: Final = _sql(
    selects.DELIVERY.where(
        delivery.c.inbox == sa.bindparam("inbox", type_=sa.Text),
        delivery.c.env == sa.any_(_array("envs", delivery.c.env.type)),
    )
)
PARCEL: Final = _sql(selects.PARCEL.where(selects.THIS_DELIVERY))
QUEUED: Final = _sql(
    selects.PARCEL.where(
        selects.IS_QUEUED,
        delivery.c.inbox == sa.bindparam("inbox", type_=sa.Text),
        delivery.c.lane == sa.bindparam("lane", type_=sa.Text),
        delivery.c.env != sa.all_(_array("skip", delivery.c.env.type)),
    )
    .order_by(delivery.c.position)
    .limit(sa.bindparam("limit", type_=sa.Integer))
)
OVER: Final = _sql(selects.OVER)
EVIDENCE: Final = _sql(selects.EVIDENCE)
EVIDENCE_OF: Final = _sql(selects.EVIDENCES.where(evidence.c.env == sa.any_(_ENVS)))
DUE: Final = _sql(selects.DUE)
IN_STATE: Final = _sql(
    selects.IN_STATE.where(
        sa.func.right(delivery.c.lease, sa.literal_column(str(HOLDER_DIGITS)))
        != sa.all_(_array("but", delivery.c.lease.type))
    )
)
OUTCOMES: Final = _sql(selects.OUTCOMES)
DEPTHS: Final = _sql(selects.DEPTHS)
BODY_KEYS: Final = _sql(selects.BODY_KEYS)
BODY_OF: Final = _sql(selects.BODY_OF)
KEPT_BY_DAY: Final = _sql(selects.KEPT_BY_DAY)
OPEN_BY_DAY: Final = _sql(selects.OPEN_BY_DAY)
UNDELIVERED: Final = _sql(selects.UNDELIVERED)
ARCHIVED: Final = _sql(selects.ARCHIVED)
ARCHIVE_OVER: Final = _sql(selects.ARCHIVE_OVER)
USES: Final = _sql(selects.USES)
WITHHOLDINGS: Final = _sql(selects.WITHHOLDINGS)
SUBJECT_KEYS: Final = _sql(selects.SUBJECT_KEYS)
HEAD: Final = _sql(selects.HEAD)
VERSION: Final = _sql(selects.VERSION)
RECORDS: Final = _sql(selects.RECORDS)
DOCUMENTS: Final = _sql(selects.DOCUMENTS)
CHECKPOINT: Final = _sql(selects.CHECKPOINT)
COSIGNED: Final = _sql(selects.COSIGNED)
SUBTREE_COUNT: Final = _sql(selects.SUBTREE_COUNT)
SUBTREES: Final = _sql(selects.SUBTREES)
CATALOGUED: Final = _sql(selects.CATALOGUED)
MENTIONING: Final = {name: _sql(statement) for name, statement in selects.MENTIONING.items()}
MENTIONING_PERSON: Final = _sql(selects.MENTIONING_PERSON)
ENTRIES_OF: Final = _sql(selects.ENTRIES_OF)
ENVS_OF_PERSON: Final = _sql(selects.ENVS_OF_PERSON)
KEPT: Final = _sql(selects.KEPT.where(exchange.c.env == sa.any_(_ENVS)))
KEPT_FORGOTTEN: Final = _sql(selects.KEPT_FORGOTTEN.where(evidence.c.env == sa.any_(_ENVS)))
"""Asked for those alone that are not held: each is looked for in every year."""
ENTRIES_AT: Final = _sql(
    sa.select(entry.c.data).where(entry.c.seq == sa.any_(_array("numbers", entry.c.seq.type))).order_by(entry.c.seq)
)
