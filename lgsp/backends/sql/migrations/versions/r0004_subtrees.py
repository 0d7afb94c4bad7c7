"""Form 4: nodes of the log's tree are kept, so that neither a start nor a proof reads all leaves; receipts outlive their exchanges."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"
branch_labels = None
depends_on = None
compatible = 2


def upgrade() -> None:
    """Add the table, empty: the next gateway fills it from the leaves. Add the column to what stays of exchanges."""
    op.create_table(
        "subtree",
        *(_integer("level"), _integer("number"), sa.Column("root", sa.LargeBinary, nullable=False)),
        sa.PrimaryKeyConstraint("level", "number"),
        sqlite_with_rowid=False,
    )
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    # A program of the form before writes no receipt, so an empty one stands for it.
    op.add_column("evidence", sa.Column("receipt", text, nullable=False, server_default=""))


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, autoincrement=False)
