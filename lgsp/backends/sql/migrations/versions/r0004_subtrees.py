"""Form 4: nodes of the log's tree, a catalogue of what entries are about, what was co-signed; receipts and replies outlive their exchanges.

Persons' rows say where in the log they belong, and a body may be archived.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"
branch_labels = None
depends_on = None
compatible = 2


def upgrade() -> None:
    """Add the tables, empty: the next gateway fills nodes and catalogue from the log. Add the columns to what stays of exchanges."""
    op.create_table(
        "subtree",
        *(_integer("level"), _integer("number"), sa.Column("root", sa.LargeBinary, nullable=False)),
        sa.PrimaryKeyConstraint("level", "number"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cosigned",
        *(_integer("size"), _text("note")),
        sa.PrimaryKeyConstraint("size"),
        sqlite_with_rowid=False,
    )
    _catalogue()
    # A program of the form before writes neither, so an empty text stands for both.
    for name in ("receipt", "reply"):
        op.add_column("evidence", _text(name, server_default=""))
    _order_uses()
    _persons()
    _archive()


def _archive() -> None:
    """Let a body be archived, and so outlive its exchange, to which a file tied it."""
    if op.get_context().dialect.name == "sqlite":
        op.execute("ALTER TABLE body RENAME TO tied")
        kept = sa.Column("kept_until", sa.BigInteger, nullable=True, autoincrement=False)
        sealed = sa.Column("sealed", sa.LargeBinary, nullable=False)
        op.create_table("body", _text("env"), sealed, _text("day"), kept, sa.UniqueConstraint("env", name="body_env"))
        op.execute("INSERT INTO body (env, sealed, day) SELECT env, sealed, day FROM tied")
        op.drop_table("tied")
    else:
        op.add_column("body", sa.Column("kept_until", sa.BigInteger, nullable=True, autoincrement=False))
    is_kept = sa.text("kept_until IS NOT NULL")
    for name, columns in (("body_kept", ["kept_until"]), ("body_day", ["day", "env", "kept_until"])):
        op.create_index(name, "body", columns, sqlite_where=is_kept, postgresql_where=is_kept)


def _persons() -> None:
    op.create_table(
        "withholding",
        *(_text("id"), _text("system"), _text("type"), _text("procedure"), _text("casefile"), _text("basis")),
        *(_integer("since"), _integer("until"), sa.Column("ended", sa.BigInteger, nullable=True, autoincrement=False)),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "subject_key",
        *(_text("name"), _integer("since")),
        sa.Column("retired", sa.BigInteger, nullable=True, autoincrement=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )


def _order_uses() -> None:
    """Of exchanges that are forgotten already nothing tells the index: their rows come first, and have no proof."""
    column = sa.Column("seq", sa.BigInteger, nullable=False, server_default=sa.text("-1"), autoincrement=False)
    op.add_column("subject", column)
    op.execute(
        "UPDATE subject SET seq = coalesce((SELECT max(position) FROM delivery WHERE delivery.env = subject.env), -1)"
    )
    op.drop_index("subject_person")
    op.create_index("subject_person", "subject", ["pseudonym", "seq"])


def _catalogue() -> None:
    found_by = ("env", "casefile", "procedure", "officer")
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "mention",
        sa.Column("seq", number, nullable=False, autoincrement=False),
        *map(_text, found_by),
        sa.PrimaryKeyConstraint("seq"),
    )
    for name in found_by:
        condition = sa.text(f"{name} <> ''")
        op.create_index(f"mention_{name}", "mention", [name, "seq"], sqlite_where=condition, postgresql_where=condition)


def _text(name: str, server_default: str | None = None) -> sa.Column[str]:
    kind = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    return sa.Column(name, kind, nullable=False, server_default=server_default)


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, autoincrement=False)
