"""Reading what those who check the log compare: entries with the hashes kept of them, nodes of its tree above these, the last co-signed checkpoint.

All are written by `Ledger.commit`.
"""

from __future__ import annotations

from typing import Protocol


class Tree(Protocol):
    """Entries and their leaf hashes, the roots of whole tiles (`tiles.Subtree`), and a witness's word."""

    async def hashed(self, start: int, stop: int) -> list[tuple[bytes, bytes]]:
        """Return the bytes of entries start..stop-1, each with the leaf hash that is kept of it."""

    async def subtree_count(self, level: int) -> int:
        """Return how many hashes of a level are stored, from number 0 on; `level` is 1 or more."""

    async def subtrees(self, level: int, start: int, stop: int) -> list[bytes]:
        """Return the stored hashes start..stop-1 of a level."""

    async def cosigned(self) -> str:
        """Return the last kept checkpoint that a witness has co-signed, or ""."""
