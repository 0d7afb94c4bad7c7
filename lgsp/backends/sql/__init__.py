"""The ledger, inboxes and directory in a database: tables and statements from SQLAlchemy Core, run by the database's own driver."""

from lgsp.backends.sql.sqlite import SqliteLedger

__all__ = ["SqliteLedger"]
