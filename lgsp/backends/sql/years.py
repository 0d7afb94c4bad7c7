"""The years by which a database keeps what stays of forgotten exchanges in tables of their own, each to be moved off whole when its time has come.

They are made once, with the tables: nothing has to make the next one in time. What lies outside them goes into one more table. A file has one
for all.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

FIRST: Final = 2026
LAST: Final = 2045
PARENT: Final = "evidence"
BY: Final = "RANGE (term)"


def partitions() -> list[str]:
    """Return the statements that make the tables of the years, for PostgreSQL."""
    years = [
        f"CREATE TABLE {PARENT}_{year} PARTITION OF {PARENT} FOR VALUES FROM ({_start(year)}) TO ({_start(year + 1)})"
        for year in range(FIRST, LAST + 1)
    ]
    return [*years, f"CREATE TABLE {PARENT}_else PARTITION OF {PARENT} DEFAULT"]


def _start(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1_000
