"""A PostgreSQL database: its ledger, the making of its tables, its connections and statements."""

from lgsp.backends.sql.postgresql.copies import copy_database, fill_database
from lgsp.backends.sql.postgresql.ledger import PostgresLedger
from lgsp.backends.sql.postgresql.making import form_at, upgrade
from lgsp.backends.sql.postgresql.sole import sole_gateway

__all__ = ["PostgresLedger", "copy_database", "fill_database", "form_at", "sole_gateway", "upgrade"]
