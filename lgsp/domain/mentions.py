"""What an entry of the log mentions: the envelope that it names, and what that envelope says of its business.

The log holds neither case file nor procedure nor officer: they are in the signed manifest. Reading entries and envelopes is left to others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from lgsp.domain import base64url, strictjson
from lgsp.domain.values import fixed

Manifest = Mapping[str, Any]
"""The members of an envelope's manifest."""
By = Literal["env", "casefile", "procedure", "officer"]
"""What entries are found by in the catalogue."""
ATTRIBUTES: Final[Mapping[str, str]] = {"casefile": "casefile", "procedure": "procedure", "officer": "authid"}
"""Member of a mention -> attribute of the manifest; an officer is known by the pseudonym that their agency uses."""

_ENV: Final = b',"env":"'
_CAUSE: Final = b',"cause":"'
_HASH_LENGTH: Final = 51
"""`sha-256:` and 43 characters."""


class Business(NamedTuple):
    """What an envelope is about, in the order of `ATTRIBUTES`; what it does not say is empty."""

    casefile: str = ""
    procedure: str = ""
    officer: str = ""


@fixed
class Mention:
    """What one entry mentions; what it does not mention is empty."""

    seq: int
    env: str = ""
    casefile: str = ""
    procedure: str = ""
    officer: str = ""


def env_in(entry: bytes) -> str:
    """Return the env hash that an entry names, or "". Inside of a text each quotation mark has a backslash before it: what is found is the member."""
    return _hash_after(_ENV, entry)


def cause_in(entry: bytes) -> str:
    """Return the env hash of the request that an accepted reply answers, by its entry, or ""."""
    return _hash_after(_CAUSE, entry)


def _hash_after(name: bytes, entry: bytes) -> str:
    place = entry.find(name)
    return entry[place + len(name) : place + len(name) + _HASH_LENGTH].decode("ascii") if place >= 0 else ""


def manifest_in(compact: bytes) -> dict[str, Any]:
    """Return the members of an accepted envelope's manifest, which were checked when it was taken in."""
    return strictjson.parse_object(base64url.decode(compact.split(b".")[1]))


def business(*manifests: Manifest) -> Business:
    """Return what an envelope is about: what its manifest leaves open, that of the request says which it answers."""
    return Business(*(_first(attribute, manifests) for attribute in ATTRIBUTES.values()))


def _first(attribute: str, manifests: Iterable[Manifest]) -> str:
    return next((str(each[attribute]) for each in manifests if attribute in each), "")
