"""Reading the stored nodes of the log's tree, above the leaf hashes. They are written with a checkpoint by `Ledger.commit`."""

from __future__ import annotations

from typing import Protocol


class Tree(Protocol):
    """The roots of whole tiles (`tiles.Subtree`)."""

    async def subtree_count(self, level: int) -> int:
        """Return how many hashes of a level are stored, from number 0 on; `level` is 1 or more."""

    async def subtrees(self, level: int, start: int, stop: int) -> list[bytes]:
        """Return the stored hashes start..stop-1 of a level."""
