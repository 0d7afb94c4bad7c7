"""Form 3: exchanges are forgotten in time. An index finds those that are over, a table keeps their envelopes and acks, and persons outlive them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from lgsp.backends.sql import years

revision = "3"
down_revision = "2"
branch_labels = None
depends_on = None
compatible = 2

TERM = "(expires + coalesce(reply_until - accepted_at, 0))"


def upgrade() -> None:
    """Add the index and the table; in a file, untie persons from exchanges."""
    op.create_index("exchange_over", "exchange", [sa.text(TERM)])
    op.create_table(
        "evidence",
        *(_text("env"), _integer("term"), _bytes("compact"), _text("acks")),
        sa.UniqueConstraint("env", "term", name="evidence_key"),
        postgresql_partition_by=years.BY,
    )
    if op.get_context().dialect.name == "sqlite":
        _untie_persons()
    else:
        for statement in years.partitions():
            op.execute(statement)


def _untie_persons() -> None:
    op.execute("ALTER TABLE subject RENAME TO tied")
    for name in ("subject_env", "subject_person"):
        op.drop_index(name)
    op.create_table("subject", _text("env"), _bytes("pseudonym"), _bytes("salt"), _text("commitment"))
    op.execute("INSERT INTO subject SELECT env, pseudonym, salt, commitment FROM tied")
    op.drop_table("tied")
    op.create_index("subject_env", "subject", ["env"])
    op.create_index("subject_person", "subject", ["pseudonym"])


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False)


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, autoincrement=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)
