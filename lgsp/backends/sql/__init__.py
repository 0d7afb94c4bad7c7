"""The ledger, inboxes and directory in a database: tables and statements from SQLAlchemy Core, run by the database's own driver.

tables  rows  selects     what is kept, its rows as values, what is read
decisions                 what a commit decides, without a word to the database
schema  steps  migrations/  the form of the tables, and the steps from one to the next
sqlite/  postgresql/      the engines: statements, one commit, reads, the ledger, copies of it
"""

from lgsp.backends.sql.postgresql import PostgresLedger, PostgresNeighbours
from lgsp.backends.sql.schema import Form
from lgsp.backends.sql.sqlite import SqliteCopy, SqliteLedger

__all__ = ["Form", "PostgresLedger", "PostgresNeighbours", "SqliteCopy", "SqliteLedger"]
