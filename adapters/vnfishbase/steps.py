"""The moves of a vessel, `listed → ready → asked → linked | quarantined`, and of a work-list, as changes of the tables.

Each change is called inside a transaction that somebody else begins and ends. A move is made from its own step alone, so that whatever comes
a second time changes nothing. Reading is `standings`'.
"""

import json
from collections.abc import Iterable, Mapping

from adapters.vnfishbase.mapping import POLICE, Linked, Quarantined, agreed_number
from adapters.vnfishbase.tables import COMMUNE
from lgsp.sdk import Tables

NO_ANSWER = Quarantined(reason="no_answer")


def ask(tables: Tables, registration: str, attempt: int) -> None:
    """Move a vessel from ready to asked for the `attempt`th time."""
    tables.execute(
        "UPDATE vessel SET step = 'asked', tries = ? WHERE registration = ? AND step = 'ready'", (attempt, registration)
    )


def quarantine(tables: Tables, registration: str, result: Quarantined) -> None:
    """Take a vessel out of the way that cannot be asked about; nothing when it is known what became of it."""
    tables.execute(
        "UPDATE vessel SET step = 'quarantined', reason = ?"
        " WHERE registration = ? AND step NOT IN ('linked', 'quarantined')",
        (result.reason, registration),
    )


def settle(tables: Tables, registration: str, result: Linked | Quarantined) -> bool:
    """Write down the answer about a vessel that was asked about, and tell so; nothing when it is known what became of it."""
    step, reason = ("quarantined", result.reason) if isinstance(result, Quarantined) else ("linked", None)
    changed = tables.execute(
        "UPDATE vessel SET step = ?, reason = ? WHERE registration = ? AND step IN ('asked', 'ready') AND tries > 0",
        (step, reason, registration),
    )
    return changed.rowcount == 1


def ask_anew(tables: Tables, registration: str, attempt: int, most: int) -> None:
    """Have a vessel asked about again, or quarantine it after `most` attempts; nothing when another attempt is under way."""
    tables.execute(
        "UPDATE vessel SET step = iif(tries < ?, 'ready', 'quarantined'), reason = iif(tries < ?, NULL, ?)"
        " WHERE registration = ? AND step = 'asked' AND tries = ?",
        (most, most, NO_ANSWER.reason, registration, attempt),
    )


def post(tables: Tables, list_id: str, attempt: int) -> None:
    """Move a work-list from due to asked for the `attempt`th time."""
    tables.execute(
        "UPDATE work_list SET step = 'asked', tries = ? WHERE list_id = ? AND step = 'due'", (attempt, list_id)
    )


def record(tables: Tables, list_id: str, numbers: Mapping[str, str | None]) -> None:
    """Write down the answers to a work-list; vessels about which both have answered become ready or quarantined."""
    for (who,) in tables.execute(
        "UPDATE work_list SET step = 'answered' WHERE list_id = ? AND step IN ('asked', 'due') AND tries > 0"
        " RETURNING who",
        (list_id,),
    ).fetchall():
        tables.executemany(
            "INSERT INTO answer (registration, who, number) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [(registration, who, number) for registration, number in numbers.items()],
        )
        _compare(tables, numbers)


def post_anew(tables: Tables, list_id: str, attempt: int, most: int) -> None:
    """Have a work-list sent again, or give it up after `most` attempts; nothing when another attempt is under way."""
    current = tables.execute(
        "SELECT 1 FROM work_list WHERE list_id = ? AND step = 'asked' AND tries = ?", (list_id, attempt)
    ).fetchone()
    if current and attempt < most:
        tables.execute("UPDATE work_list SET step = 'due' WHERE list_id = ?", (list_id,))
    elif current:
        give_up(tables, list_id, NO_ANSWER)


def give_up(tables: Tables, list_id: str, result: Quarantined) -> None:
    """Wait for no answer to a work-list: its vessels that still lack a number are quarantined."""
    for (body,) in tables.execute(
        "UPDATE work_list SET step = 'given_up' WHERE list_id = ? AND step IN ('asked', 'due') RETURNING body",
        (list_id,),
    ).fetchall():
        tables.executemany(
            "UPDATE vessel SET step = 'quarantined', reason = ? WHERE registration = ? AND step = 'listed'",
            [(result.reason, row["registration"]) for row in json.loads(body)["rows"]],
        )


def end(tables: Tables, moment: float) -> None:
    """Write down when the synchronisation ended, in seconds since 1970; the first time counts."""
    tables.execute("UPDATE sync SET ended = ? WHERE ended IS NULL", (moment,))


def _compare(tables: Tables, answered: Iterable[str]) -> None:
    rows = tables.execute(
        "SELECT v.registration, p.number, c.number FROM json_each(?) AS a"
        " JOIN vessel AS v ON v.registration = a.value AND v.step = 'listed'"
        " JOIN answer AS p ON p.registration = v.registration AND p.who = ?"
        " JOIN answer AS c ON c.registration = v.registration AND c.who = ?",
        (json.dumps(list(answered)), POLICE, COMMUNE),
    ).fetchall()
    for registration, police, commune in rows:
        number = agreed_number(police, commune)
        if isinstance(number, Quarantined):
            quarantine(tables, registration, number)
        else:
            tables.execute(
                "UPDATE vessel SET step = 'ready', number = ? WHERE registration = ?", (number, registration)
            )
