"""The centre's figures: how many vessels are linked, by commune and class of length, in tables beside the box.

A change is called inside a transaction that somebody else begins and ends, the one that marks the event as dealt with. Which vessels were
counted is remembered, so that an event that is told again, even by a sender that has lost its memory, counts nothing twice.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from adapters.ioc.mapping import LinkedVessel
from lgsp.sdk import Tables

TABLES = (
    "CREATE TABLE IF NOT EXISTS vessel (registration TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS figure (
      catalogue TEXT NOT NULL,
      commune TEXT NOT NULL,
      length_class TEXT NOT NULL,
      vessels INTEGER NOT NULL,
      PRIMARY KEY (catalogue, commune, length_class)
    ) STRICT, WITHOUT ROWID""",
)


class Read(Protocol):
    """Runs a short query and returns its rows."""

    def __call__(self, sql: str, params: Sequence[str | int] = ..., /) -> list[tuple[Any, ...]]:
        """Return the rows."""
        ...


def prepare(tables: Tables) -> None:
    """Make the tables that are missing."""
    for statement in TABLES:
        tables.execute(statement)


def count(tables: Tables, vessel: LinkedVessel) -> None:
    """Count a vessel in; nothing when it was counted before."""
    added = tables.execute(
        "INSERT INTO vessel (registration) VALUES (?) ON CONFLICT DO NOTHING", (vessel.registration,)
    )
    if added.rowcount == 1:
        tables.execute(
            "INSERT INTO figure (catalogue, commune, length_class, vessels) VALUES (?, ?, ?, 1)"
            " ON CONFLICT DO UPDATE SET vessels = vessels + 1",
            (vessel.catalogue, vessel.commune, vessel.length_class),
        )


def counts(read: Read) -> dict[str, Any]:
    """Return the figures: all vessels, and by commune and by class; communes of several catalogues are told by code alone."""
    by_commune, by_class = Counter[str](), Counter[str]()
    # One query: between two of them another vessel may be counted, and the figures would not add up.
    for commune, length_class, vessels in read("SELECT commune, length_class, vessels FROM figure ORDER BY commune"):
        by_commune[commune] += vessels
        by_class[length_class] += vessels
    return {"linked": by_class.total(), "linked_by_commune": dict(by_commune), "linked_by_class": dict(by_class)}
