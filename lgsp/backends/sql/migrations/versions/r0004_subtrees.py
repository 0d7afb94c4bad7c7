"""Form 4: nodes of the log's tree are kept, so that neither a start nor a proof reads all leaves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"
branch_labels = None
depends_on = None
compatible = 2


def upgrade() -> None:
    """Add the table, empty: the next gateway fills it from the leaves."""
    op.create_table(
        "subtree",
        *(_integer("level"), _integer("number"), sa.Column("root", sa.LargeBinary, nullable=False)),
        sa.PrimaryKeyConstraint("level", "number"),
        sqlite_with_rowid=False,
    )


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, autoincrement=False)
