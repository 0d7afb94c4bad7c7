"""From rows of VNFishbase to bodies on the bus, and from answers to what becomes of a vessel. Pure.

Which vessel is asked about when, and what is remembered, is left to the adapter.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta, timezone
from itertools import count
from typing import Any, Literal

from adapters.spelling import iso_birth_date, tidy_name, tidy_number
from adapters.vnfishbase.records import VesselRow

CATALOGUE = "2025-07"  # the file uses the communes of July 2025
ROWS_PER_LIST = 100  # the schema's limit
POLICE = "police"
ZONE = timezone(timedelta(hours=7), "Asia/Ho_Chi_Minh")

Reason = Literal[
    "name_differs",
    "birth_date_differs",
    "person_differs",
    "owner_deceased",
    "number_unknown",
    "number_ambiguous",
    "number_malformed",
    "number_missing",
    "birth_date_missing",
    "birth_date_unreadable",
    "answers_differ",
    "no_answer",
    "refused",
]
NumberMember = Literal["personalNumber", "oldNumber"]
NUMBER_MEMBERS: dict[int, NumberMember] = {12: "personalNumber", 9: "oldNumber"}
LengthClass = Literal["under12", "from12", "from15", "from24"]
LENGTH_CLASSES: tuple[tuple[float, LengthClass], ...] = ((12.0, "under12"), (15.0, "from12"), (24.0, "from15"))
"""Metres under which a vessel is of a class; the fisheries law draws these lines."""
MISMATCHES: dict[frozenset[str], Reason] = {
    frozenset({"fullName"}): "name_differs",
    frozenset({"birthDate"}): "birth_date_differs",
    frozenset({"fullName", "birthDate"}): "person_differs",
}
RESULTS: dict[str, Reason] = {
    "not_found": "number_unknown",
    "deceased": "owner_deceased",
    "ambiguous": "number_ambiguous",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """The vessel waits for a person to look at it; `reason` is a stable code."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """The owner of the vessel is the citizen of the stated number."""


def lacks_number(row: VesselRow) -> bool:
    """Tell whether somebody else has to be asked for the owner's number."""
    return not (tidy_number(row.owner_number) or tidy_number(row.old_number))


def verify_request(row: VesselRow, number: str | None = None) -> dict[str, str] | Quarantined:
    """Ask whether the owner bears the number: that of the row, or `number` found out from others."""
    digits = tidy_number(number) or tidy_number(row.owner_number) or tidy_number(row.old_number)
    if not digits:
        return Quarantined(reason="number_missing")
    member = NUMBER_MEMBERS.get(len(digits)) if digits.isascii() and digits.isdigit() else None
    if member is None:
        return Quarantined(reason="number_malformed")
    birth = iso_birth_date(row.birth_date)
    if birth is None:
        return Quarantined(reason="birth_date_unreadable" if row.birth_date else "birth_date_missing")
    return {member: digits, "fullName": tidy_name(row.owner_name), "birthDate": birth}


def verdict(reply: Mapping[str, Any]) -> Linked | Quarantined:
    """Say what an answer of the population service means for the vessel; KeyError for an unknown result."""
    if reply["result"] == "match":
        return Linked()
    if reply["result"] == "mismatch":
        return Quarantined(reason=MISMATCHES[frozenset(reply["fields"])])
    return Quarantined(reason=RESULTS[reply["result"]])


def length_class(length_m: float) -> LengthClass:
    """Return the class of a vessel by its length over all, in metres."""
    return next((name for bound, name in LENGTH_CLASSES if length_m < bound), "from24")


def linked_event(row: VesselRow, day: date) -> dict[str, str]:
    """Tell that a vessel was linked on a day, and nothing about its owner."""
    return {
        "registration": row.registration,
        "communeCode": row.commune_code,
        "orgcat": CATALOGUE,
        "linkedOn": day.isoformat(),
        "lengthClass": length_class(row.hull.length_m),
    }


def police_lists(rows: Iterable[VesselRow], as_of: date) -> Iterator[dict[str, Any]]:
    """Yield the work-lists for the police: the vessels without a number, at most 100 in a list."""
    yield from _lists(POLICE, [row for row in rows if lacks_number(row)], as_of)


def commune_lists(rows: Iterable[VesselRow], as_of: date) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield commune code and work-list for each commune, at most 100 vessels in a list."""
    for code, own in sorted(_by_commune(rows).items()):
        for body in _lists(code, own, as_of):
            yield code, body


def answers(reply: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the number that was answered for each registration, None where it is not known."""
    return {row["registration"]: row.get("personalNumber") for row in reply["rows"]}


def agreed_number(police: str | None, commune: str | None) -> str | Quarantined:
    """Compare two answers for one vessel. One is enough: the population service is asked next."""
    if police and commune and police != commune:
        return Quarantined(reason="answers_differ")
    return police or commune or Quarantined(reason="number_missing")


def _by_commune(rows: Iterable[VesselRow]) -> dict[str, list[VesselRow]]:
    grouped: dict[str, list[VesselRow]] = defaultdict(list)
    for row in rows:
        if lacks_number(row):
            grouped[row.commune_code].append(row)
    return grouped


def _lists(addressee: str, rows: Sequence[VesselRow], as_of: date) -> Iterator[dict[str, Any]]:
    for number, start in zip(count(1), range(0, len(rows), ROWS_PER_LIST), strict=False):
        yield {
            "listId": f"{as_of:%Y%m%d}-{addressee}-{number:03d}",
            "asOf": as_of.isoformat(),
            "orgcat": CATALOGUE,
            "rows": [_list_row(row) for row in rows[start : start + ROWS_PER_LIST]],
        }


def _list_row(row: VesselRow) -> dict[str, str]:
    birth = iso_birth_date(row.birth_date)
    return {
        "registration": row.registration,
        "ownerName": tidy_name(row.owner_name),
        **({"birthDate": birth} if birth else {}),
        "communeCode": row.commune_code,
    }
