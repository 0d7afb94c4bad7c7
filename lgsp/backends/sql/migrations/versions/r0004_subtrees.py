"""Form 4: nodes of the log's tree are kept, so that neither a start nor a proof reads all leaves; and the last checkpoint that was co-signed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"
branch_labels = None
depends_on = None
compatible = 2


def upgrade() -> None:
    """Add the tables, empty: the next gateway fills that of the nodes from the leaves."""
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


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False)


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, autoincrement=False)
