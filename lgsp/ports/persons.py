"""The index of persons: which exchanges name whom, as pseudonyms, and which uses are withheld. It is changed by `Ledger.commit` alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from lgsp.domain.withholding import Withholding

Place = tuple[int, str]
"""(index of the entry, env hash): where a use stands among those of one person."""
BEFORE_ALL: Final[Place] = (-2, "")
UNKNOWN: Final = -1
"""The index of a use that was written by a program of an earlier form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One exchange that names a person, kept or forgotten."""

    env: str
    index: int
    """Of the entry by which it was accepted, or `UNKNOWN`."""
    commitment: str
    entry: bytes
    """That entry, or nothing."""
    compact: bytes
    """The envelope's JWS, or nothing when neither exchange nor evidence is there."""

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.index, self.env


class Persons(Protocol):
    """The rows about persons."""

    async def uses(self, pseudonym: bytes, after: Place, limit: int) -> list[Use]:
        """Return the first `limit` uses of one person behind a place, in the order of their places."""

    async def subject_keys(self) -> dict[str, bool]:
        """Return the names of all keys that pseudonyms were made with, and of each whether it was retired."""

    async def withholdings(self) -> list[Withholding]:
        """Return every withholding rule, ended or not, in the order in which they were made."""


class SubjectKeys(Protocol):
    """The keys under which persons have pseudonyms, the newest first; there is always one."""

    @property
    def newest(self) -> bytes:
        """The key that makes new pseudonyms."""

    def all(self) -> Sequence[bytes]:
        """Return every key by which pseudonyms may have been made, as they are kept now."""

    def add(self, key: bytes) -> None:
        """Have a key make new pseudonyms from now on; durable before this returns. Refuses as `keys_too_many`."""

    def retire(self) -> bytes:
        """Destroy the oldest key and return it; refuse (`last_key`) when it is the only one."""
