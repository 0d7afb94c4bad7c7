"""Form 2, the first that is kept: log, exchanges, deliveries, bodies, persons, nonces, directory, checkpoint."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = None
branch_labels = None
depends_on = None
compatible = 2


def upgrade() -> None:
    """Make the tables."""
    _small("body_key", _text("day"), _bytes("wrapped"), sa.PrimaryKeyConstraint("day"))
    _small("checkpoint", _integer("size"), _text("note"), sa.PrimaryKeyConstraint("size"))
    _directory()
    op.create_table(
        "entry",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=False),
        _bytes("leaf"),
        _bytes("data"),
        sa.PrimaryKeyConstraint("seq"),
    )
    _exchange()
    _small("meta", _text("name"), _text("value"), sa.PrimaryKeyConstraint("name"))
    _small("nonce", _text("jti"), _integer("until"), sa.PrimaryKeyConstraint("jti"))
    op.create_index("nonce_until", "nonce", ["until"])
    op.create_table(
        "body",
        *(_text("env"), _bytes("sealed"), _text("day")),
        *_of_exchange(),
        sa.UniqueConstraint("env", name="body_env"),
    )
    _delivery()
    op.create_table("subject", _text("env"), _bytes("pseudonym"), _bytes("salt"), _text("commitment"), *_of_exchange())
    op.create_index("subject_env", "subject", ["env"])
    op.create_index("subject_person", "subject", ["pseudonym"])


def _directory() -> None:
    _small(
        "directory_record",
        *(_bytes("hash"), _integer("added"), _integer("removed", nullable=True), _bytes("record")),
        sa.PrimaryKeyConstraint("hash", "added"),
    )
    op.create_index("directory_record_span", "directory_record", ["removed", "added"])
    _small("directory_version", _integer("version"), _bytes("statement"), sa.PrimaryKeyConstraint("version"))
    _small("schema_document", _text("urn"), _bytes("document"), sa.PrimaryKeyConstraint("urn"))


def _exchange() -> None:
    op.create_table(
        "exchange",
        *(_text("env"), _text("source"), _text("id"), _text("type"), _text("audience"), _text("receivers")),
        *(_integer("accepted_at"), _integer("expires"), _integer("reply_until", nullable=True)),
        *(_text("cause"), _text("reply"), _integer("policy"), _text("rule"), _bytes("compact"), _text("receipt")),
        sa.UniqueConstraint("env", name="exchange_env"),
        sa.UniqueConstraint("source", "id", name="exchange_key"),
    )
    op.create_index("exchange_used", "exchange", ["accepted_at", "rule"])


def _delivery() -> None:
    op.create_table(
        "delivery",
        *(_text("env"), _text("inbox"), _text("source"), _text("id"), _text("lane"), _text("state")),
        *(_integer("attempts"), _text("lease")),
        *(_integer("lease_until", nullable=True), _integer("due_at", nullable=True), _integer("expires")),
        *(_text("code"), _text("ack"), _integer("final"), _integer("position"), _integer("size")),
        *(_text("subscriptions"), _integer("wakes_at", nullable=True), _integer("unseen")),
        *_of_exchange(),
        sa.UniqueConstraint("env", "inbox", name="delivery_key"),
    )
    _part("delivery_due", ["wakes_at"], "wakes_at IS NOT NULL")
    _part("delivery_news", ["source", "position"], "unseen = 1")
    _part("delivery_queued", ["inbox", "lane", "position", "env"], "state = 'queued'")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)


def _integer(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable, autoincrement=False)


def _of_exchange() -> list[sa.ForeignKeyConstraint]:
    if op.get_context().dialect.name != "sqlite":
        return []
    return [sa.ForeignKeyConstraint(["env"], ["exchange.env"], deferrable=True, initially="DEFERRED")]


def _small(name: str, *members: Any) -> None:  # noqa: ANN401 - columns and constraints
    op.create_table(name, *members, sqlite_with_rowid=False)


def _part(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "delivery", columns, sqlite_where=where, postgresql_where=where)
