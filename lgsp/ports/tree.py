"""Reading what is kept beside the log for those who check it: nodes of its tree above the leaf hashes, the last co-signed checkpoint.

Both are written by `Ledger.commit`.
"""

from __future__ import annotations

from typing import Protocol


class Tree(Protocol):
    """The roots of whole tiles (`tiles.Subtree`), and a witness's word."""

    async def subtree_count(self, level: int) -> int:
        """Return how many hashes of a level are stored, from number 0 on; `level` is 1 or more."""

    async def subtrees(self, level: int, start: int, stop: int) -> list[bytes]:
        """Return the stored hashes start..stop-1 of a level."""

    async def cosigned(self) -> str:
        """Return the last kept checkpoint that a witness has co-signed, or ""."""
