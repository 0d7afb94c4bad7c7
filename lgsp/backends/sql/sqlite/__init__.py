"""One SQLite file: its ledger, the file's making and opening, its statements."""

from lgsp.backends.sql.sqlite.files import form_at, upgrade
from lgsp.backends.sql.sqlite.ledger import SqliteLedger

__all__ = ["SqliteLedger", "form_at", "upgrade"]
