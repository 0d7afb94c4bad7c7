"""Form 4: nodes of the log's tree, a catalogue of what entries are about, what was co-signed; receipts and replies outlive their exchanges."""

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
