"""The tables and their indexes. Times are integers: milliseconds since 1970 in UTC."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from lgsp.backends.sql import years

METADATA: Final = sa.MetaData()

QUEUED: Final = "state = 'queued'"
OPEN: Final = "wakes_at IS NOT NULL"
NEWS: Final = "unseen = 1"
KEPT: Final = "kept_until IS NOT NULL"
TERM: Final = "(expires + coalesce(reply_until - accepted_at, 0))"
"""Until when an exchange lives, its reply included; what an index is over is written the same way in the query."""


TEXT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Compared byte by byte on both engines, whatever language the database was made for."""


def _text(name: str, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, TEXT, primary_key=key, nullable=False)


def _bytes(name: str, *, key: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, primary_key=key, nullable=False)


def _integer(name: str, *, key: bool = False, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=key, nullable=nullable, autoincrement=False)


def _of_exchange() -> sa.ForeignKeyConstraint:
    """Tie a row to its exchange, written later in the same transaction; on PostgreSQL that check costs more than the row (docs/adr/0018)."""
    held = sa.ForeignKeyConstraint(["env"], ["exchange.env"], deferrable=True, initially="DEFERRED")
    return held.ddl_if(dialect="sqlite")


def _small(name: str, *members: Any) -> sa.Table:  # noqa: ANN401 - columns and constraints
    """Return a table of narrow or few rows, stored in the order of its key."""
    return sa.Table(name, METADATA, *members, sqlite_with_rowid=False)


def _part(condition: str) -> dict[str, Any]:
    """Return the options of an index over part of a table: small, and cheap to keep."""
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


meta = _small("meta", _text("name", key=True), _text("value"))

entry = sa.Table(
    "entry",
    METADATA,
    # In SQLite only the word INTEGER makes a key the row's own number.
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    _bytes("leaf"),
    _bytes("data"),
)
"""The log: each entry's bytes, verbatim, with its leaf hash."""

exchange = sa.Table(
    "exchange",
    METADATA,
    _text("env"),
    _text("source"),
    _text("id"),
    _text("type"),
    _text("audience"),
    _text("receivers"),
    _integer("accepted_at"),
    _integer("expires"),
    _integer("reply_until", nullable=True),
    _text("cause"),
    _text("reply"),
    _integer("policy"),
    _text("rule"),
    _bytes("compact"),
    _text("receipt"),
    sa.UniqueConstraint("env", name="exchange_env"),
    sa.UniqueConstraint("source", "id", name="exchange_key"),
    sa.Index("exchange_used", "accepted_at", "rule"),
    sa.Index("exchange_over", sa.text(TERM)),
)
"""Accepted envelopes. Rows are wide, so both keys are indexes beside them."""

delivery = sa.Table(
    "delivery",
    METADATA,
    _text("env"),
    _of_exchange(),
    _text("inbox"),
    _text("source"),
    _text("id"),
    _text("lane"),
    _text("state"),
    _integer("attempts"),
    _text("lease"),
    _integer("lease_until", nullable=True),
    _integer("due_at", nullable=True),
    _integer("expires"),
    _text("code"),
    _text("ack"),
    _integer("final"),
    _integer("position"),
    _integer("size"),
    _text("subscriptions"),
    _integer("wakes_at", nullable=True),
    _integer("unseen"),
    sa.UniqueConstraint("env", "inbox", name="delivery_key"),
    sa.Index("delivery_queued", "inbox", "lane", "position", "env", **_part(QUEUED)),
    sa.Index("delivery_due", "wakes_at", **_part(OPEN)),
    sa.Index("delivery_news", "source", "position", **_part(NEWS)),
)
"""Where each receiver's part stands. `wakes_at`: when somebody must look again, null once settled; `unseen`: whether the sender is to be told."""

body = sa.Table(
    "body",
    METADATA,
    _text("env"),
    _bytes("sealed"),
    _text("day"),
    _integer("kept_until", nullable=True),
    sa.UniqueConstraint("env", name="body_env"),
    sa.Index("body_kept", "kept_until", **_part(KEPT)),
    sa.Index("body_day", "day", "env", "kept_until", **_part(KEPT)),
)
"""Sealed bodies, dropped once no delivery of the envelope is open; an archived one outlives its exchange, until `kept_until`."""

body_key = _small("body_key", _text("day", key=True), _bytes("wrapped"))

subject = sa.Table(
    "subject",
    METADATA,
    _text("env"),
    _bytes("pseudonym"),
    _bytes("salt"),
    _text("commitment"),
    sa.Column("seq", sa.BigInteger, nullable=False, server_default=sa.text("-1"), autoincrement=False),
    sa.Index("subject_env", "env"),
    sa.Index("subject_person", "pseudonym", "seq"),
)
"""Persons that exchanges name, as pseudonyms: all that ties a commitment in the log to one of them, and can be erased. They outlive the exchange.

`seq` is the index of the entry that accepted it; -1 in rows that programs of an earlier form wrote.
"""

withholding = _small(
    "withholding",
    _text("id", key=True),
    *(_text("system"), _text("type"), _text("procedure"), _text("casefile"), _text("basis")),
    *(_integer("since"), _integer("until"), _integer("ended", nullable=True)),
)
"""Uses that a law keeps from the person for a time, by what names them; "" in a selector leaves all in."""

subject_key = _small("subject_key", _text("name", key=True), _integer("since"), _integer("retired", nullable=True))
"""The names of the keys that pseudonyms were made with; the keys are in files."""

evidence = sa.Table(
    "evidence",
    METADATA,
    _text("env"),
    _integer("term"),
    _bytes("compact"),
    _text("acks"),
    sa.Column("receipt", TEXT, nullable=False, server_default=""),
    sa.Column("reply", TEXT, nullable=False, server_default=""),
    sa.UniqueConstraint("env", "term", name="evidence_key"),
    postgresql_partition_by=years.BY,
)
"""What stays of a forgotten exchange: until when it lived, the envelope's compact JWS, the acks as JSON texts, a line each, and what came later:
the receipt as JSON text and the env hash of the reply, both empty where a program of form 3 forgot it."""

nonce = _small("nonce", _text("jti", key=True), _integer("until"), sa.Index("nonce_until", "until"))

directory_version = _small("directory_version", _integer("version", key=True), _bytes("statement"))

directory_record = _small(
    "directory_record",
    _bytes("hash", key=True),
    _integer("added", key=True),
    _integer("removed", nullable=True),
    _bytes("record"),
    sa.Index("directory_record_span", "removed", "added"),
)
"""Each record once for as long as it stays: from version `added` up to, and not including, version `removed`."""

mention = sa.Table(
    "mention",
    METADATA,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    *(_text("env"), _text("casefile"), _text("procedure"), _text("officer")),
    *(
        sa.Index(f"mention_{name}", name, "seq", **_part(f"{name} <> ''"))
        for name in ("env", "casefile", "procedure", "officer")
    ),
)
"""The catalogue: which envelope an entry names, and what that one says of its business. Made from the log, and no authority (docs/adr/0030)."""

schema_document = _small("schema_document", _text("urn", key=True), _bytes("document"))

checkpoint = _small("checkpoint", _integer("size", key=True), _text("note"))

cosigned = _small("cosigned", _integer("size", key=True), _text("note"))
"""The last checkpoint that a witness has co-signed."""

subtree = _small("subtree", _integer("level", key=True), _integer("number", key=True), _bytes("root"))
"""Nodes of the log's tree above the leaf hashes: the roots over whole tiles, so that a proof reads a few rows however long the log is."""
