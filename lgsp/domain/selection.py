"""Which entries somebody asks for, decided on their bytes: an entry is the one canonical form of its JSON, so a member is found where it stands.

What an entry does not say itself is taken from the envelope that it names. Reading entries and envelopes is left to others.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Final

from lgsp.domain import base64url, names
from lgsp.domain.mentions import Business, By, Manifest

PARTIES: Final = (b"src", b"aud", b"to", b"by")
"""Members of an entry that name who had to do with it."""
ENDS: Final = ("source", "audience")
"""Attributes of a manifest that name its parties."""
ACCEPTED: Final = b',"ev":"msg.accepted"'
INDEXED: Final[tuple[By, ...]] = ("env", "casefile", "officer", "procedure")
"""What the catalogue finds entries by; what leaves least comes first."""
_TS: Final = b',"ts":"'
_TS_LENGTH: Final = 24
"""A UTC time to the millisecond: such texts sort as the times do."""


def member(name: bytes, entry: bytes) -> str:
    """Return a member of an entry that is a text without escapes, or "". Inside of a text each quotation mark has a backslash before it."""
    before, _, after = entry.partition(b',"' + name + b'":"')
    return after[: after.index(b'"')].decode() if len(before) < len(entry) else ""


def tells_manifest(entry: bytes) -> bool:
    """Tell whether an entry says what `manifest_by` returns."""
    return ACCEPTED in entry and all(b',"%b":"' % name in entry for name in (b"type", b"src", b"aud"))


def manifest_by(entry: bytes) -> Manifest:
    """Return what the entry that accepted an envelope says of its manifest."""
    return {"type": member(b"type", entry), "source": member(b"src", entry), "audience": member(b"aud", entry)}


def time_in(entry: bytes) -> str:
    """Return when an entry was written, as it states it."""
    place = entry.index(_TS) + len(_TS)
    return entry[place : place + _TS_LENGTH].decode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is asked for; what is empty is not. All that is given has to hold."""

    since: str = ""
    """The first moment, as entries write it."""
    until: str = ""
    """The first moment that is too late."""
    agency: str = ""
    system: str = ""
    type: str = ""
    event: str = ""
    code: str = ""
    env: str = ""
    casefile: str = ""
    procedure: str = ""
    officer: str = ""
    """The pseudonym that the officer's agency uses."""
    person: tuple[bytes, ...] = field(default=(), repr=False)
    """The pseudonyms of a person's number, one for each subject key, that of the newest first."""

    def members(self) -> dict[str, str]:
        """Return what is asked for as JSON members; a person stands there as the newest pseudonym, which tells nothing to who lacks its key."""
        said = {each.name: getattr(self, each.name) for each in fields(self)}
        said["person"] = base64url.encode(self.person[0]) if self.person else ""
        said["from"] = said.pop("since")
        return {name: value for name, value in said.items() if value}

    def indexed(self) -> tuple[By, str] | None:
        """Return by what the catalogue is to be asked, and the value; None when it knows nothing of what is asked for."""
        return next(((by, getattr(self, by)) for by in INDEXED if getattr(self, by)), None)

    @property
    def asks_business(self) -> bool:
        """Whether it is about what manifests alone say."""
        return bool(self.casefile or self.procedure or self.officer)

    @property
    def asks_parties(self) -> bool:
        """Whether it is about who and what kind, which an entry may leave to the one that accepted its envelope."""
        return bool(self.agency or self.system or self.type)

    def takes_entry(self, entry: bytes) -> bool:
        """Tell whether an entry is one as far as it alone says."""
        if self.since or self.until:
            moment = time_in(entry)
            if moment < self.since or (self.until and moment >= self.until):
                return False
        if self.env and b',"env":"%b"' % self.env.encode() not in entry:
            return False
        if self.code and b',"code":"%b"' % self.code.encode() not in entry:
            return False
        return not self.event or b',"ev":"%b"' % self.event.encode() in entry

    def takes_business(self, said: Business) -> bool:
        """Tell whether an entry is one by what its envelope is about."""
        asked = (self.casefile, self.procedure, self.officer)
        return all(value in {"", told} for value, told in zip(asked, said, strict=True))

    def takes_parties(self, entry: bytes, manifest: Manifest) -> bool:
        """Tell whether an entry is one by its parties and type, or its envelope's; the manifest is empty where there is no accepted envelope."""
        if self.type and self.type not in {member(b"type", entry), manifest.get("type")}:
            return False
        if not (self.system or self.agency):
            return True
        parties = {str(manifest.get(name, "")) for name in ENDS}
        parties.update(member(name, entry) for name in PARTIES)
        agencies = {names.agency_of(party) for party in parties} if self.agency else set()
        return self.system in {"", *parties} and self.agency in {"", *agencies}
