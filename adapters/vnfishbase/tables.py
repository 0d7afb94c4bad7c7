"""VNFishbase's own tables: the vessels, the work-lists, the answers and the one synchronisation. They are filled once.

They lie in the box's file, so that a move of a vessel is durable together with the mark of the message that caused it. The moves are `steps`'.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from adapters.vnfishbase.mapping import POLICE, commune_lists, lacks_number, police_lists
from adapters.vnfishbase.records import VesselRow
from lgsp.sdk import Tables

COMMUNE = "commune"
TABLES = (
    """CREATE TABLE IF NOT EXISTS sync (
      only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
      seed INTEGER NOT NULL,
      count INTEGER NOT NULL,
      as_of TEXT NOT NULL,
      began REAL NOT NULL,
      ended REAL
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS vessel (
      ordinal INTEGER PRIMARY KEY,
      registration TEXT NOT NULL UNIQUE,
      vessel_name TEXT NOT NULL,
      owner_name TEXT NOT NULL,
      owner_number TEXT,
      old_number TEXT,
      birth_date TEXT,
      commune_code TEXT NOT NULL,
      length_m REAL NOT NULL,
      engine_kw INTEGER NOT NULL,
      material TEXT NOT NULL,
      built INTEGER NOT NULL,
      step TEXT NOT NULL CHECK (step IN ('listed', 'ready', 'asked', 'linked', 'quarantined')),
      reason TEXT,
      number TEXT,
      tries INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS vessel_by_step ON vessel (step, ordinal)",
    """CREATE TABLE IF NOT EXISTS work_list (
      list_id TEXT PRIMARY KEY,
      who TEXT NOT NULL CHECK (who IN ('police', 'commune')),
      body TEXT NOT NULL,
      step TEXT NOT NULL CHECK (step IN ('due', 'asked', 'answered', 'given_up')),
      tries INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS answer (
      registration TEXT NOT NULL,
      who TEXT NOT NULL,
      number TEXT,
      PRIMARY KEY (registration, who)
    ) STRICT, WITHOUT ROWID""",
)
COLUMNS = "registration, vessel_name, owner_name, owner_number, old_number, birth_date, commune_code"
VESSEL = (
    "INSERT INTO vessel (registration, vessel_name, owner_name, owner_number, old_number, birth_date, commune_code,"
    " length_m, engine_kw, material, built, step) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Which made-up fleet the tables hold, as of which day."""

    seed: int
    count: int
    as_of: date


class OtherFleet(ValueError):
    """The tables hold another fleet than the settings ask for."""


def holds(tables: Tables, fleet: Fleet) -> bool:
    """Make the tables that are missing and tell whether the fleet is loaded; raise OtherFleet when another one is."""
    for statement in TABLES:
        tables.execute(statement)
    row = tables.execute("SELECT seed, count, as_of FROM sync").fetchone()
    if row is not None and row != (fleet.seed, fleet.count, fleet.as_of.isoformat()):
        raise OtherFleet("the box holds a fleet of another seed, count or day")
    return row is not None


def load(tables: Tables, fleet: Fleet, rows: Sequence[VesselRow], began: float) -> None:
    """Fill the tables with the file's rows; `began` is seconds since 1970, from which the report counts."""
    tables.executemany(VESSEL, (_columns(row) for row in rows))
    tables.executemany(
        "INSERT INTO work_list (list_id, who, body, step) VALUES (?, ?, ?, 'due')", _lists(rows, fleet.as_of)
    )
    tables.execute(
        "INSERT INTO sync (only_one, seed, count, as_of, began) VALUES (1, ?, ?, ?, ?)",
        (fleet.seed, fleet.count, fleet.as_of.isoformat(), began),
    )


def _columns(row: VesselRow) -> tuple[Any, ...]:
    return (
        row.registration,
        row.vessel_name,
        row.owner_name,
        row.owner_number,
        row.old_number,
        row.birth_date,
        row.commune_code,
        row.hull.length_m,
        row.hull.engine_kw,
        row.hull.material,
        row.hull.built,
        "listed" if lacks_number(row) else "ready",
    )


def _lists(rows: Iterable[VesselRow], as_of: date) -> Iterator[tuple[str, str, str]]:
    held = list(rows)
    for body in police_lists(held, as_of):
        yield body["listId"], POLICE, json.dumps(body, ensure_ascii=False)
    for _code, body in commune_lists(held, as_of):
        yield body["listId"], COMMUNE, json.dumps(body, ensure_ascii=False)
