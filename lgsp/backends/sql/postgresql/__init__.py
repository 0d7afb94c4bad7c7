"""A PostgreSQL database: its ledger, the making of its tables, its connections and statements."""

from lgsp.backends.sql.postgresql.ledger import PostgresLedger
from lgsp.backends.sql.postgresql.making import form_at, upgrade

__all__ = ["PostgresLedger", "form_at", "upgrade"]
