"""What the load consists of: numbered notes, and what must become of each by its number alone.

Most are taken over; a few are refused by the bus, rejected by the receiver, or put back once and taken at the second try.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from tests.bench.made_up import ASKED, IN_BULK, ONE_WAY, Notes

EVERY: Final = 25
FATES: Final[dict[int, Fate]] = {3: "refused", 7: "rejected", 11: "late"}
KINDS: Final = (ONE_WAY, ASKED, IN_BULK, ASKED)
SIZE: Final = 900

Fate = Literal["taken", "refused", "rejected", "late"]


def fate(number: int) -> Fate:
    """Tell what must become of a note."""
    return FATES.get(number % EVERY, "taken")


def kind(number: int) -> str:
    """Return the message type of a note."""
    return KINDS[number % len(KINDS)]


def body(number: int) -> dict[str, Any]:
    """Return a note; one that is to be refused is against its schema."""
    note = Notes(SIZE).next()
    return {**note, "number": -number if fate(number) == "refused" else number}
