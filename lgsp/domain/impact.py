"""Whose doing an exchange was, or whom it reached: what a breach of one system, officer or key is counted by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from lgsp.domain import jws, names
from lgsp.domain.envelope import TYP, Manifest, format_time, manifest_of, parse_time

Suspect = Literal["system", "officer", "key"]
READ_FOR_EVIDENCE: Final = "audit.read"
"""Where it names an envelope: of bodies of its exchange, the request's and the reply's."""
READ_BY_PERSONS: Final = frozenset({"admin.parked.read", READ_FOR_EVIDENCE})
"""The events by which an officer has seen a body, of the envelope that they name, without sending one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """What is suspected (a system's or officer's URN, or a key's thumbprint), and in which time: from one moment up to, not including, another."""

    suspect: Suspect
    name: str
    since: datetime
    until: datetime

    def stated(self) -> dict[str, Any]:
        """Return it as canonical members."""
        return {"from": format_time(self.since), self.suspect: self.name, "to": format_time(self.until)}

    def may_concern(self, entry: Mapping[str, Any]) -> bool:
        """Tell whether an entry of the log is to be looked at further; its envelope decides for officers and keys."""
        if not self.since <= _moment(entry) < self.until:
            return False
        event = entry["ev"]
        if self.suspect == "system":
            sent = event == "msg.accepted" and self.name in {entry.get("src"), entry.get("aud")}
            return sent or (event == "msg.delivered" and entry.get("to") == self.name)
        if self.suspect == "officer" and entry.get("by") == self.name:
            return event in READ_BY_PERSONS and "env" in entry
        return bool(event == "msg.accepted")

    def concerns(self, entry: Mapping[str, Any], compact: bytes, asked: bytes) -> bool:
        """Tell whether an entry counts, by its envelope's JWS and that of the request which it answers (nothing where there is none)."""
        if self.suspect == "system" or entry.get("by") == self.name:
            return True
        return any(self._signed(each) for each in (compact, asked) if each)

    def _signed(self, compact: bytes) -> bool:
        parsed = jws.parse(compact, typ=TYP)
        if self.suspect == "key":
            return parsed.kid == self.name
        manifest = manifest_of(compact)
        return officer_of(manifest) == self.name


def officer_of(manifest: Manifest) -> str:
    """Return the URN of the officer whom an envelope names, or nothing."""
    pseudonym = manifest.text("authid")
    return f"{names.agency_of(manifest.source)}:officer:{pseudonym}" if pseudonym else ""


def _moment(entry: Mapping[str, Any]) -> datetime:
    return parse_time(str(entry["ts"]))
