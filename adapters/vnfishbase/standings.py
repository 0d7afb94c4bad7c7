"""What stands in the tables: what is to be sent next, what waits for an answer, how far the synchronisation is. Reads alone."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from adapters.made_up.fleet import Hull
from adapters.vnfishbase.mapping import Quarantined, length_class, verify_request
from adapters.vnfishbase.records import VesselRow
from adapters.vnfishbase.tables import COLUMNS

Who = Literal["police", "commune"]


class Read(Protocol):
    """Runs a short query and returns its rows."""

    def __call__(self, sql: str, params: Sequence[str | int] = ..., /) -> list[tuple[Any, ...]]:
        """Return the rows."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The `attempt`th question about a vessel's owner, from 1 on; `ordinal` is the vessel's place in the file."""

    registration: str
    ordinal: int
    attempt: int
    body: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkList:
    """The `attempt`th sending of a list, from 1 on."""

    list_id: str
    who: Who
    attempt: int
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far the synchronisation is."""

    vessels: int
    linked: int
    quarantined: int
    lists: int
    lists_done: int

    @property
    def complete(self) -> bool:
        """Whether it is known of every vessel what became of it."""
        return self.linked + self.quarantined == self.vessels


def questions(read: Read, most: int) -> tuple[list[Question], dict[str, Quarantined]]:
    """Return questions about the first `most` vessels that are ready, and those of them that cannot be asked about."""
    found: list[Question] = []
    hopeless: dict[str, Quarantined] = {}
    for ordinal, tries, number, *columns in read(
        f"SELECT ordinal, tries, number, length_m, engine_kw, material, built, {COLUMNS} FROM vessel"  # noqa: S608 - a constant of ours
        " WHERE step = 'ready' ORDER BY ordinal LIMIT ?",
        (most,),
    ):
        row = _vessel_row(columns)
        body = verify_request(row, number)
        if isinstance(body, Quarantined):
            hopeless[row.registration] = body
        else:
            found.append(Question(registration=row.registration, ordinal=ordinal, attempt=tries + 1, body=body))
    return found, hopeless


def asked(read: Read) -> list[tuple[str, int]]:
    """Return registration and attempt of the questions without an answer."""
    return _pairs(read("SELECT registration, tries FROM vessel WHERE step = 'asked' ORDER BY ordinal"))


def due_lists(read: Read, most: int) -> list[WorkList]:
    """Return the first `most` work-lists that are to be sent."""
    rows = read("SELECT list_id, who, body, tries FROM work_list WHERE step = 'due' ORDER BY list_id LIMIT ?", (most,))
    return [
        WorkList(list_id=list_id, who=who, attempt=tries + 1, body=json.loads(body))
        for list_id, who, body, tries in rows
    ]


def asked_lists(read: Read) -> list[tuple[str, int]]:
    """Return identifier and attempt of the work-lists without an answer."""
    return _pairs(read("SELECT list_id, tries FROM work_list WHERE step = 'asked' ORDER BY list_id"))


def registrations(read: Read, list_id: str) -> frozenset[str]:
    """Return the vessels of a work-list, none for one that was never sent."""
    rows = read("SELECT body FROM work_list WHERE list_id = ? AND tries > 0", (list_id,))
    return frozenset(row["registration"] for (body,) in rows for row in json.loads(body)["rows"])


def vessel(read: Read, registration: str) -> VesselRow:
    """Return one vessel of the file."""
    (columns,) = read(
        f"SELECT length_m, engine_kw, material, built, {COLUMNS} FROM vessel WHERE registration = ?",  # noqa: S608 - a constant of ours
        (registration,),
    )
    return _vessel_row(columns)


def standing(read: Read) -> Standing:
    """Count the vessels and lists by step."""
    vessels = dict(_pairs(read("SELECT step, count(*) FROM vessel GROUP BY step")))
    lists = dict(_pairs(read("SELECT step, count(*) FROM work_list GROUP BY step")))
    return Standing(
        vessels=sum(vessels.values()),
        linked=vessels.get("linked", 0),
        quarantined=vessels.get("quarantined", 0),
        lists=sum(lists.values()),
        lists_done=lists.get("answered", 0) + lists.get("given_up", 0),
    )


def report(read: Read) -> tuple[dict[str, Any], float]:
    """Return the counts of a synchronisation that has ended, and how many seconds it took."""
    reached = standing(read)
    reasons = read(
        "SELECT reason, count(*) FROM vessel WHERE step = 'quarantined' GROUP BY reason ORDER BY reason",
    )
    ((seconds, verifications, lists),) = read(
        "SELECT ended - began, (SELECT total(tries) FROM vessel), (SELECT total(tries) FROM work_list) FROM sync"
    )
    counts = {
        "vessels": reached.vessels,
        "linked": reached.linked,
        **_linked_by(read),
        "quarantined": reached.quarantined,
        "by_reason": dict(_pairs(reasons)),
        "verifications": int(verifications),
        "lists": int(lists),
    }
    return counts, round(seconds, 3)


def _linked_by(read: Read) -> dict[str, dict[str, int]]:
    """Count the linked vessels by commune and by class of length."""
    linked = read("SELECT commune_code, length_m FROM vessel WHERE step = 'linked' ORDER BY commune_code, length_m")
    communes = Counter(commune for commune, _length in linked)
    classes = Counter(length_class(length) for _commune, length in linked)
    return {"linked_by_commune": dict(communes), "linked_by_class": dict(classes)}


def _pairs(rows: Iterable[tuple[Any, ...]]) -> list[tuple[str, int]]:
    return [(name, number) for name, number in rows]


def _vessel_row(columns: Sequence[Any]) -> VesselRow:
    hull, owner = columns[:4], columns[4:]
    return VesselRow(
        **dict(zip(COLUMNS.split(", "), owner, strict=True)),
        hull=Hull(length_m=hull[0], engine_kw=hull[1], material=hull[2], built=hull[3]),
    )
