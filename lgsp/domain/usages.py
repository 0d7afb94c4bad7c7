"""One use of a person's data, as the person and an auditor are told of it, read from the log's entry and the envelope's manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lgsp.domain import names
from lgsp.domain.envelope import parse_time
from lgsp.domain.mentions import manifest_in
from lgsp.domain.withholding import Withholding
from lgsp.errors import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Who used a person's data, when, what for; "" for what is not stated."""

    env: str
    index: int
    """Of the log's entry, -1 when it is not known."""
    commitment: str
    moment: datetime
    action: str
    """The message type."""
    sender: str
    receiver: str
    purpose: str
    legal_basis: str
    procedure: str
    casefile: str
    officer: str
    """The officer's pseudonym within the sender's agency."""

    def is_withheld(self, rules: Sequence[Withholding]) -> bool:
        """Tell whether one of the rules keeps this use from the person."""
        parties = frozenset({self.sender, self.receiver, names.agency_of(self.sender), names.agency_of(self.receiver)})
        return any(
            rule.covers(parties=parties - {""}, type_=self.action, procedure=self.procedure, casefile=self.casefile)
            for rule in rules
        )


def usage_of(
    *, env: str, index: int, commitment: str, told: Mapping[str, Any], compact: bytes, asked: bytes = b""
) -> Usage:
    """Return the use that an entry's members and an envelope tell of; refuse (`not_found`) when there is neither.

    `asked` is the envelope of the request which it answers: a reply is about what its request is about.
    """
    stated = manifest_in(compact) if compact else {}
    if not stated and not told:
        raise Refusal("not_found", "neither entry nor envelope is there")
    said = told, stated, manifest_in(asked) if asked else {}
    return Usage(
        env=env,
        index=index,
        commitment=commitment,
        moment=parse_time(told["ts"] if told else stated["recordedtime"]),
        action=_first("type", told, stated),
        sender=_first("src", told) or _first("source", stated),
        receiver=_first("aud", told) or _first("audience", stated),
        purpose=_first("purpose", *said),
        legal_basis=_first("legalbasis", *said),
        procedure=_first("procedure", *said),
        casefile=_first("casefile", *said),
        officer=_first("authid", *said),
    )


def _first(name: str, *said: Mapping[str, Any]) -> str:
    """Return a member of the first that has it."""
    return next((str(each[name]) for each in said if each.get(name)), "")
