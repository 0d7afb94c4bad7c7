"""The moves of a vessel, `listed → ready → asked → linked | quarantined`, and of a work-list, as changes of the tables.

Each function is called inside a transaction that somebody else begins and ends. A move is made from its own step alone, so that whatever
comes a second time changes nothing.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from adapters.vnfishbase.mapping import Linked, Quarantined, agreed_number, verify_request
from adapters.vnfishbase.records import Hull, VesselRow
from adapters.vnfishbase.tables import COLUMNS, COMMUNE, POLICE

Who = Literal["police", "commune"]
NO_ANSWER = Quarantined(reason="no_answer")


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


def claim(tables: Tables, most: int) -> list[Question]:
    """Move at most `most` vessels from ready to asked, in the order of the file, and return the questions to be sent."""
    questions = _questions(tables, "ready", most, further=1)
    tables.executemany(
        "UPDATE vessel SET step = 'asked', tries = ? WHERE ordinal = ?",
        [(question.attempt, question.ordinal) for question in questions],
    )
    return questions


def unanswered(tables: Tables) -> list[Question]:
    """Return the questions that were claimed and have no answer: a restart does not know whether they were sent."""
    return _questions(tables, "asked", -1, further=0)


def settle(tables: Tables, registration: str, result: Linked | Quarantined) -> None:
    """Write down what became of a vessel that was asked about; nothing when that is known already."""
    step, reason = ("quarantined", result.reason) if isinstance(result, Quarantined) else ("linked", None)
    tables.execute(
        "UPDATE vessel SET step = ?, reason = ? WHERE registration = ? AND step IN ('asked', 'ready') AND tries > 0",
        (step, reason, registration),
    )


def ask_anew(tables: Tables, registration: str, attempt: int, most: int) -> None:
    """Have a vessel asked about again, or quarantine it after `most` attempts; nothing when another attempt is under way."""
    moved = tables.execute(
        "UPDATE vessel SET step = 'ready' WHERE registration = ? AND step = 'asked' AND tries = ? AND tries < ?",
        (registration, attempt, most),
    )
    if not moved.rowcount and attempt >= most:
        settle(tables, registration, NO_ANSWER)


def claim_lists(tables: Tables) -> list[WorkList]:
    """Move all work-lists that are due to asked and return them."""
    lists = _lists(tables, "due", further=1)
    tables.executemany(
        "UPDATE work_list SET step = 'asked', tries = ? WHERE list_id = ?",
        [(found.attempt, found.list_id) for found in lists],
    )
    return lists


def unanswered_lists(tables: Tables) -> list[WorkList]:
    """Return the work-lists that were claimed and have no answer."""
    return _lists(tables, "asked", further=0)


def registrations(tables: Tables) -> dict[str, frozenset[str]]:
    """Return the vessels of every work-list, by its identifier."""
    lists = ((list_id, json.loads(body)) for list_id, body in tables.execute("SELECT list_id, body FROM work_list"))
    return {list_id: frozenset(row["registration"] for row in body["rows"]) for list_id, body in lists}


def record(tables: Tables, list_id: str, numbers: Mapping[str, str | None]) -> None:
    """Write down the answers to a work-list; vessels about which both have answered become ready or quarantined."""
    found = tables.execute(
        "UPDATE work_list SET step = 'answered' WHERE list_id = ? AND step IN ('asked', 'due') AND tries > 0"
        " RETURNING who",
        (list_id,),
    ).fetchall()
    for (who,) in found:
        tables.executemany(
            "INSERT INTO answer (registration, who, number) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [(registration, who, number) for registration, number in numbers.items()],
        )
        _compare(tables, numbers)


def post_anew(tables: Tables, list_id: str, attempt: int, most: int) -> None:
    """Have a work-list sent again, or give it up with its vessels after `most` attempts."""
    moved = tables.execute(
        "UPDATE work_list SET step = 'due' WHERE list_id = ? AND step = 'asked' AND tries = ? AND tries < ?",
        (list_id, attempt, most),
    )
    if not moved.rowcount and attempt >= most:
        give_up(tables, list_id, NO_ANSWER)


def give_up(tables: Tables, list_id: str, result: Quarantined) -> None:
    """Wait for no answer to a work-list: its vessels without a number are quarantined."""
    found = tables.execute(
        "UPDATE work_list SET step = 'given_up' WHERE list_id = ? AND step IN ('asked', 'due') RETURNING body", (list_id,)
    ).fetchall()
    for (body,) in found:
        tables.executemany(
            "UPDATE vessel SET step = 'quarantined', reason = ? WHERE registration = ? AND step = 'listed'",
            [(result.reason, row["registration"]) for row in json.loads(body)["rows"]],
        )


def standing(tables: Tables) -> Standing:
    """Count the vessels and lists by step."""
    vessels = dict(tables.execute("SELECT step, count(*) FROM vessel GROUP BY step").fetchall())
    lists = dict(tables.execute("SELECT step, count(*) FROM work_list GROUP BY step").fetchall())
    return Standing(
        vessels=sum(vessels.values()),
        linked=vessels.get("linked", 0),
        quarantined=vessels.get("quarantined", 0),
        lists=sum(lists.values()),
        lists_done=lists.get("answered", 0) + lists.get("given_up", 0),
    )


def finish(tables: Tables, ended: float) -> tuple[dict[str, Any], float]:
    """Return the report's counts, and the seconds between beginning and end; `ended` (since 1970) counts the first time."""
    tables.execute("UPDATE sync SET ended = ? WHERE ended IS NULL", (ended,))
    (seconds,) = tables.execute("SELECT ended - began FROM sync").fetchone()
    reached = standing(tables)
    counts = {
        "vessels": reached.vessels,
        "linked": reached.linked,
        "quarantined": reached.quarantined,
        "by_reason": _by_reason(tables),
        "verifications": _total(tables, "SELECT sum(tries) FROM vessel"),
        "lists": _total(tables, "SELECT sum(tries) FROM work_list"),
    }
    return counts, seconds


def _questions(tables: Tables, step: str, most: int, *, further: int) -> list[Question]:
    rows = tables.execute(
        f"SELECT ordinal, tries, number, length_m, engine_kw, material, built, {COLUMNS} FROM vessel"  # noqa: S608 - a constant of ours
        " WHERE step = ? ORDER BY ordinal LIMIT ?",
        (step, most),
    ).fetchall()
    found: list[Question] = []
    for ordinal, tries, number, *columns in rows:
        row = _vessel_row(columns)
        body = verify_request(row, number)
        if isinstance(body, Quarantined):
            _quarantine(tables, ordinal, body)
        else:
            found.append(
                Question(registration=row.registration, ordinal=ordinal, attempt=tries + further, body=body)
            )
    return found


def _vessel_row(columns: Sequence[Any]) -> VesselRow:
    hull, owner = columns[:4], columns[4:]
    return VesselRow(
        **dict(zip(COLUMNS.split(", "), owner, strict=True)),
        hull=Hull(length_m=hull[0], engine_kw=hull[1], material=hull[2], built=hull[3]),
    )


def _quarantine(tables: Tables, ordinal: int, result: Quarantined) -> None:
    tables.execute(
        "UPDATE vessel SET step = 'quarantined', reason = ? WHERE ordinal = ?", (result.reason, ordinal)
    )


def _lists(tables: Tables, step: str, *, further: int) -> list[WorkList]:
    rows = tables.execute(
        "SELECT list_id, who, body, tries FROM work_list WHERE step = ? ORDER BY list_id", (step,)
    ).fetchall()
    return [
        WorkList(list_id=list_id, who=who, attempt=tries + further, body=json.loads(body))
        for list_id, who, body, tries in rows
    ]


def _compare(tables: Tables, asked: Iterable[str]) -> None:
    rows = tables.execute(
        "SELECT v.ordinal, p.number, c.number FROM json_each(?) AS a"
        " JOIN vessel AS v ON v.registration = a.value AND v.step = 'listed'"
        " JOIN answer AS p ON p.registration = v.registration AND p.who = ?"
        " JOIN answer AS c ON c.registration = v.registration AND c.who = ?",
        (json.dumps(list(asked)), POLICE, COMMUNE),
    ).fetchall()
    for ordinal, police, commune in rows:
        number = agreed_number(police, commune)
        if isinstance(number, Quarantined):
            _quarantine(tables, ordinal, number)
        else:
            tables.execute("UPDATE vessel SET step = 'ready', number = ? WHERE ordinal = ?", (number, ordinal))


def _by_reason(tables: Tables) -> dict[str, int]:
    rows = tables.execute(
        "SELECT reason, count(*) FROM vessel WHERE step = 'quarantined' GROUP BY reason ORDER BY reason"
    )
    return dict(rows.fetchall())


def _total(tables: Tables, query: str) -> int:
    (found,) = tables.execute(query).fetchone()
    return int(found or 0)
