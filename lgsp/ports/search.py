"""Finding entries of the log by what they are about. The catalogue behind it is no authority: it is filled from the log, and may be made anew.

It is filled through `Ledger.commit` (`Catalogue`), some time after the entries: what it does not cover yet is read in the log itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lgsp.domain.mentions import By


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What tells of an accepted envelope."""

    compact: bytes
    cause: str = ""
    """The env hash of the request that it answers, or ""; of a forgotten exchange the log alone tells it."""


class Search(Protocol):
    """The catalogue, and what else tells of whom entries are. Numbers of entries are given in their order."""

    async def catalogued(self) -> int:
        """Return how many entries the catalogue covers, from the first on."""

    async def kept(self, envs: Sequence[str]) -> dict[str, Kept]:
        """Return what is kept of accepted envelopes by env hash, those of forgotten exchanges too."""

    async def entries_of(self, env: str) -> list[int]:
        """Return the numbers of all catalogued entries that name an env hash."""

    async def mentioning(self, by: By, value: str, start: int, stop: int, limit: int) -> list[int]:
        """Return the numbers of the first `limit` catalogued entries in start..stop-1 that mention this."""

    async def mentioning_person(self, pseudonym: bytes, start: int, stop: int, limit: int) -> list[int]:
        """Return the numbers of the first `limit` catalogued entries in start..stop-1 of exchanges that name a person."""

    async def envs_of_person(self, pseudonym: bytes) -> list[str]:
        """Return the env hashes of all exchanges that name a person, in no order."""

    async def entries_at(self, numbers: Sequence[int]) -> list[bytes]:
        """Return the bytes of these entries in the order of their numbers, each once; what the log does not have is left out."""
