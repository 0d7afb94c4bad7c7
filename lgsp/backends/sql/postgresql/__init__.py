"""A PostgreSQL database: its ledger, the making of its tables, its connections and statements."""

from lgsp.backends.sql.postgresql.ledger import PostgresLedger

__all__ = ["PostgresLedger"]
