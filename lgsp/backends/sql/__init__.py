"""The ledger, inboxes and directory in a database: tables and statements from SQLAlchemy Core, run by the database's own driver.

tables  rows  selects     what is kept, its rows as values, what is read
decisions                 what a commit decides, without a word to the database
schema  steps  migrations/  the form of the tables, and the steps from one to the next
sqlite/  postgresql/      the engines: statements, one commit, reads, the ledger, copies of it

An engine is loaded when something of it is first asked for: who works on a file need not load the database's driver, and the other way round.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from lgsp.backends.sql.schema import Form

if TYPE_CHECKING:
    from lgsp.backends.sql import postgresql, sqlite
    from lgsp.backends.sql.postgresql import PostgresLedger, PostgresNeighbours
    from lgsp.backends.sql.sqlite import SqliteCopy, SqliteLedger

__all__ = ["Form", "PostgresLedger", "PostgresNeighbours", "SqliteCopy", "SqliteLedger", "postgresql", "sqlite"]

_ENGINES: Final = {
    "PostgresLedger": "postgresql",
    "PostgresNeighbours": "postgresql",
    "SqliteCopy": "sqlite",
    "SqliteLedger": "sqlite",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a class or a package (PEP 562)
    if name in _ENGINES.values():
        return import_module(f"{__name__}.{name}")
    if name in _ENGINES:
        return getattr(import_module(f"{__name__}.{_ENGINES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
