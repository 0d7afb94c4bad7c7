"""One SQLite file: its ledger, the file's making and opening, its statements."""

from lgsp.backends.sql.sqlite.copies import SqliteCopy, copy_file, place_file, was_placed
from lgsp.backends.sql.sqlite.files import form_at, upgrade
from lgsp.backends.sql.sqlite.ledger import SqliteLedger

__all__ = ["SqliteCopy", "SqliteLedger", "copy_file", "form_at", "place_file", "upgrade", "was_placed"]
