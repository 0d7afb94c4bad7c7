"""The kept versions of the directory and the schema documents it names. A new version is put in place by `Ledger.commit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRecords:
    """A directory statement with its records' bytes, sorted bytewise as its root has them."""

    version: int
    statement: bytes
    records: tuple[bytes, ...]


class DirectoryStore(Protocol):
    """Every version of the directory, and every published schema."""

    async def head_version(self) -> int:
        """Return the number of the latest version, 0 before the first; cheap, for who asks often."""

    async def head(self) -> SignedRecords | None:
        """Return the latest version, or None before the first."""

    async def at(self, version: int) -> SignedRecords | None:
        """Return one version."""

    async def documents(self) -> dict[str, bytes]:
        """Return every schema document by URN."""

    async def body_keys(self) -> dict[str, bytes]:
        """Return the wrapped body key of each day."""
