"""One commit on PostgreSQL, between BEGIN and COMMIT: reads at once what the operations may ask for, decides, writes all groups at once.

What was read stays true until the end. Whoever appends holds the lock of the log, so there is one at a time; rows of deliveries that are looked
at are locked in one order, for there are commits that move deliveries and append nothing. Beginning, ending and trying again are left to the
ledger.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lgsp.backends.sql.decisions import Decisions, Place, Publication, Standing, Writes, standing_of
from lgsp.backends.sql.postgresql import statements as sql
from lgsp.backends.sql.postgresql.pool import Connection
from lgsp.backends.sql.rows import Row
from lgsp.domain.exchange import SETTLED, ExchangeKey
from lgsp.ports.ledger import (
    Accept,
    Catalogue,
    DestroyBodyKey,
    DropArchived,
    EndWithholding,
    Forget,
    KeepCheckpoint,
    Move,
    Note,
    Operation,
    Publish,
    Result,
    RetireSubjectKey,
    Seen,
    SignReceipts,
    Spend,
)

OF_DELIVERIES: Final = (Move, Seen)
"""Operations that look at where a delivery stands."""
OF_MESSAGES: Final = frozenset({Accept, *OF_DELIVERIES})
"""Operations that ask for rows of exchanges and deliveries alone: nearly all that there are."""


def appends(operations: Sequence[Operation]) -> bool:
    """Tell whether the lock of the log is needed.

    It is for all but outcomes seen, exchanges forgotten, archived bodies dropped, entries catalogued, and moves that settle nothing and make
    no entry.
    """
    return not all(
        isinstance(each, Seen | Forget | DropArchived | Catalogue)
        or (isinstance(each, Move) and each.entry is None and each.state not in SETTLED)
        for each in operations
    )


@dataclass(slots=True, kw_only=True)
class Found:
    """What the tables held, as far as the operations may ask."""

    size: int
    head: int
    replies: dict[ExchangeKey, str] = field(default_factory=dict)
    standings: dict[Place, Standing] = field(default_factory=dict)
    nonces: dict[str, int] = field(default_factory=dict)
    hashes: set[bytes] = field(default_factory=set)
    kept: int = -1
    withholding: set[str] = field(default_factory=set)
    making: set[str] = field(default_factory=set)
    reached: int = 0
    sealing: set[str] = field(default_factory=set)

    def reply(self, key: ExchangeKey) -> str | None:
        """Return the env hash of an exchange's reply, "" when there is none, None when there is no such exchange."""
        return self.replies.get(key)

    def standing(self, place: Place) -> Standing | None:
        """Return where a delivery stands."""
        return self.standings.get(place)

    def spent_until(self, jti: str) -> int | None:
        """Return until when a `jti` is remembered."""
        return self.nonces.get(jti)

    def records(self) -> set[bytes]:
        """Return the hashes of the records in the latest version of the directory."""
        return self.hashes

    def covered(self) -> int:
        """Return how many entries the kept checkpoint covers, -1 before the first."""
        return self.kept

    def withholds(self, rule: str) -> bool:
        """Tell whether there is a withholding rule of this id that has not been ended."""
        return rule in self.withholding

    def makes(self, key: str) -> bool:
        """Tell whether a subject key of this name is kept that was not retired."""
        return key in self.making

    def catalogued(self) -> int:
        """Return how many entries the catalogue covers."""
        return self.reached

    def seals(self, day: str) -> bool:
        """Tell whether the body key of a day is kept."""
        return day in self.sealing


async def run(connection: Connection, operations: Sequence[Operation], sign: SignReceipts) -> list[Result]:
    """Decide the operations and write what follows from them; the connection is in a transaction, with the lock where it is needed."""
    decisions = Decisions(await _look(connection, operations), sign)
    results = decisions.run(operations)
    await _write(connection, decisions.writes)
    return results


async def _look(connection: Connection, operations: Sequence[Operation]) -> Found:
    found = await _look_at_rows(connection, operations)
    rare = [each for each in operations if type(each) not in OF_MESSAGES]
    if rare:
        await _look_further(connection, rare, found)
    return found


async def _look_further(connection: Connection, operations: Sequence[Operation], found: Found) -> None:
    """Find what else operations ask for: rare, so a statement each."""
    jtis = [spent.jti for each in operations if (spent := _spent(each))]
    if jtis:
        found.nonces = dict(await connection.fetch(sql.NONCES.text, jtis))
    if any(isinstance(each, Publish) for each in operations):
        found.hashes = {row[0] for row in await connection.fetch(sql.PRESENT_RECORDS.text)}
    if any(isinstance(each, KeepCheckpoint) for each in operations):
        found.kept = await connection.fetchval(sql.COVERED.text)
    ended = [each.id for each in operations if isinstance(each, EndWithholding)]
    if ended:
        found.withholding |= {row[0] for row in await connection.fetch(sql.WITHHOLDING.text, ended)}
    retired = [each.name for each in operations if isinstance(each, RetireSubjectKey)]
    if retired:
        found.making |= {row[0] for row in await connection.fetch(sql.MAKING.text, retired)}
    days = [each.day for each in operations if isinstance(each, DestroyBodyKey)]
    if days:
        found.sealing |= {row[0] for row in await connection.fetch(sql.SEALING.text, days)}
    if any(isinstance(each, Catalogue) for each in operations):
        found.reached = await connection.fetchval(sql.CATALOGUED.text)


async def _look_at_rows(connection: Connection, operations: Sequence[Operation]) -> Found:
    """Find how long the log is, which version is the latest, and the rows of exchanges and deliveries."""
    keys = {key for each in operations if isinstance(each, Accept) for key in (each.exchange.key, each.answers) if key}
    places = {(each.env, each.to) for each in operations if isinstance(each, OF_DELIVERIES)}
    groups = {
        "keys": [{"source": source, "id": id_} for source, id_ in keys],
        "places": [{"env": env, "inbox": inbox} for env, inbox in places],
    }
    found = Found(size=0, head=0)
    for what, first, second, *rest in await connection.fetch(sql.LOOK.text, *sql.LOOK.columns(groups)):
        if what == sql.IS_STANDING:
            found.standings[first, second] = standing_of(rest)
        elif what == sql.IS_REPLY:
            found.replies[first, second] = rest[0]
        else:
            found.size, found.head = rest[3:5]
    return found


def _spent(operation: Operation) -> Spend | None:
    if isinstance(operation, Note):
        return operation.once
    return operation if isinstance(operation, Spend) else None


async def _write(connection: Connection, writes: Writes) -> None:
    groups: Mapping[str, Collection[Row]] = {
        "new_entry": writes.entries,
        "new_exchange": writes.exchanges.values(),
        "new_delivery": writes.deliveries.values(),
        "new_body": writes.bodies,
        "new_subject": writes.subjects,
        "replies": [{"asker": key[0], "asked": key[1], "env": env} for key, env in writes.replies.items()],
        "moves": writes.moves.values(),
        "seen": [{"of_env": env, "of_inbox": inbox} for env, inbox in writes.seen],
    }
    if writes.erased:
        await connection.execute(sql.ERASE.text, list(writes.erased))
    if any(groups.values()):
        await connection.execute(sql.WRITE.text, *sql.WRITE.columns(groups))
    if writes.settled:
        # After the moves: it looks at what is still open.
        await connection.execute(sql.DROP_BODIES.text, list(writes.settled))
    if writes.unarchived:
        await connection.execute(sql.DROP_ARCHIVED.text, list(writes.unarchived))
    await _write_rest(connection, writes)
    if writes.forgotten:
        for statement in (sql.KEEP_EVIDENCE, *sql.FORGET):
            await connection.execute(statement.text, list(writes.forgotten))


async def _write_rest(connection: Connection, writes: Writes) -> None:
    """Write what is not of messages: rare, so a statement each."""

    async def write(statement: sql.Statement, group: str, rows: Collection[Row]) -> None:
        if rows:
            await connection.execute(statement.text, *statement.columns({group: rows}))

    if writes.forget is not None:
        await connection.execute(sql.FORGET_NONCES.text, writes.forget)
    nonces = [{"jti": jti, "until": until} for jti, until in writes.nonces.items()]
    await write(sql.INSERT_NONCES, "new_nonce", nonces)
    for each in writes.publications:
        await _publish(connection, each)
    documents = [{"urn": urn, "document": document} for urn, document in writes.documents.items()]
    await write(sql.INSERT_DOCUMENTS, "new_schema_document", documents)
    if writes.destroyed:
        await connection.execute(sql.DESTROY_BODY_KEYS.text, list(writes.destroyed))
    keys = [{"day": day, "wrapped": wrapped} for day, wrapped in writes.body_keys.items()]
    await write(sql.INSERT_BODY_KEYS, "new_body_key", keys)
    subject_keys = [{"name": name, "since": at, "retired": None} for name, at in writes.subject_keys.items()]
    await write(sql.INSERT_SUBJECT_KEYS, "new_subject_key", subject_keys)
    await write(sql.RETIRE, "retired", [{"of_name": name, "at": at} for name, at in writes.retired.items()])
    await write(sql.INSERT_WITHHOLDINGS, "new_withholding", writes.withholdings)
    await write(sql.END_WITHHOLDINGS, "ended", [{"of_id": id_, "at": at} for id_, at in writes.ended.items()])
    await write(sql.INSERT_MENTIONS, "new_mention", writes.mentions.values())
    await write(sql.INSERT_SUBTREES, "new_subtree", writes.subtrees)
    if writes.checkpoint is not None:
        await connection.execute(sql.DROP_CHECKPOINTS.text)
        await connection.execute(sql.INSERT_CHECKPOINT.text, *sql.INSERT_CHECKPOINT.arguments(writes.checkpoint))
    for row in writes.cosigned:
        await connection.execute(sql.KEEP_COSIGNED.text, *sql.KEEP_COSIGNED.arguments(row))
        await connection.execute(sql.DROP_OLDER_COSIGNED.text)


async def _publish(connection: Connection, publication: Publication) -> None:
    steps: tuple[tuple[sql.Statement, str, list[dict[str, Any]]], ...] = (
        (sql.INSERT_VERSIONS, "new_directory_version", [publication.version]),
        (sql.REMOVE_RECORDS, "gone", publication.gone),
        (sql.INSERT_RECORDS, "new_directory_record", publication.added),
    )
    for statement, group, rows in steps:
        await connection.execute(statement.text, *statement.columns({group: rows}))
