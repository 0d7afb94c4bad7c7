"""A PostgreSQL database: its ledger, the making of its tables, its connections and statements, and the other gateways on it."""

from lgsp.backends.sql.postgresql.copies import copy_database, fill_database, was_filled
from lgsp.backends.sql.postgresql.ledger import PostgresLedger
from lgsp.backends.sql.postgresql.making import form_at, upgrade
from lgsp.backends.sql.postgresql.neighbours import PostgresNeighbours, count_gateways

__all__ = [
    "PostgresLedger",
    "PostgresNeighbours",
    "copy_database",
    "count_gateways",
    "fill_database",
    "form_at",
    "upgrade",
    "was_filled",
]
