"""Withholding: uses of persons' data that a law keeps from the person for a time. They stay in the log, and auditors see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from lgsp.domain import names
from lgsp.domain.entries import REASON_FORM
from lgsp.domain.envelope import CODE_FORM, NUMBER_OF_A_PERSON, format_time
from lgsp.errors import Refusal

SELECTORS: Final = ("system", "type", "procedure", "casefile")
"""By what a rule names the uses that it keeps back: all that it states must fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withholding:
    """One rule. It names uses, never a person: whoever asks is answered by the same rules."""

    id: str
    system: str = ""
    """The URN of a system, or of an agency for all of its systems, as sender or receiver."""
    type: str = ""
    procedure: str = ""
    casefile: str = ""
    basis: str
    """The law that says so, in a line."""
    since: datetime
    until: datetime
    """From then on the uses are told, whatever anyone does."""
    ended: datetime | None = None
    """When an officer ended it before its time."""

    def holds(self, now: datetime) -> bool:
        """Tell whether the rule is in force."""
        return self.ended is None and self.since <= now < self.until

    def covers(self, *, parties: frozenset[str], type_: str, procedure: str, casefile: str) -> bool:
        """Tell whether a use between these systems and agencies is one that the rule keeps back."""
        return (
            (not self.system or self.system in parties)
            and self.type in {"", type_}
            and self.procedure in {"", procedure}
            and self.casefile in {"", casefile}
        )

    def stated(self) -> dict[str, Any]:
        """Return the rule as an officer stated it; what its entry in the log hashes."""
        chosen = {name: getattr(self, name) for name in SELECTORS if getattr(self, name)}
        return chosen | {"basis": self.basis, "id": self.id, "until": format_time(self.until)}


def check(rule: Withholding) -> Withholding:
    """Return a new rule as it is; refuse (`bad_request`) one that names nothing, names it wrongly, or ends before it begins."""
    if not any(getattr(rule, name) for name in SELECTORS):
        raise Refusal("bad_request", f"a rule states at least one of {', '.join(SELECTORS)}")
    forms = {
        "system": not rule.system or names.is_system(rule.system) or names.is_agency(rule.system),
        "type": not rule.type or names.TYPE_FORM.fullmatch(rule.type),
        "procedure": not rule.procedure or CODE_FORM.fullmatch(rule.procedure),
        "casefile": not rule.casefile
        or (CODE_FORM.fullmatch(rule.casefile) and not NUMBER_OF_A_PERSON.fullmatch(rule.casefile)),
        "basis": REASON_FORM.fullmatch(rule.basis),
        "until": rule.until > rule.since,
    }
    for name, is_sound in forms.items():
        if not is_sound:
            raise Refusal("bad_request", "it is not of its form, or lies in the past", pointer=f"/{name}")
    return rule
