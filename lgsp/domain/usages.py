"""One use of a person's data, as the person and an auditor are told of it, read from the log's entry and the envelope's manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lgsp.domain import names, strictjson
from lgsp.domain.envelope import Manifest, manifest_of, parse_time
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


def usage_of(*, env: str, index: int, commitment: str, entry: bytes, compact: bytes) -> Usage:
    """Return the use that an entry and an envelope tell of; refuse (`not_found`) when there is neither."""
    manifest = stated(compact)
    told = strictjson.parse_object(entry) if entry else {}
    if manifest is None and not told:
        raise Refusal("not_found", "neither entry nor envelope is there")
    attributes = manifest.attributes if manifest is not None else {}
    return Usage(
        env=env,
        index=index,
        commitment=commitment,
        moment=parse_time(told["ts"]) if told else parse_time(attributes["recordedtime"]),
        action=str(told.get("type") or attributes.get("type", "")),
        sender=str(told.get("src") or attributes.get("source", "")),
        receiver=str(told.get("aud") or attributes.get("audience", "")),
        purpose=str(told.get("purpose") or attributes.get("purpose", "")),
        legal_basis=str(attributes.get("legalbasis", "")),
        procedure=str(attributes.get("procedure", "")),
        casefile=str(attributes.get("casefile", "")),
        officer=str(attributes.get("authid", "")),
    )


def stated(compact: bytes) -> Manifest | None:
    """Return what an envelope states, None where it is not kept."""
    return manifest_of(compact) if compact else None
