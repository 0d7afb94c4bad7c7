"""The tree over the log: its right edge in memory, whole subtrees in the ledger. Roots, paths and tiles read a few rows however long the log is.

Subtrees that became whole since the last kept checkpoint are in memory until the next one is kept. Whether entries are those that were hashed,
and whose signature stands under a root, is left to others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final

from lgsp.domain import merkle, tiles
from lgsp.domain.tiles import WIDTH, Edge, Subtree, Tile
from lgsp.ports.ledger import Ledger
from lgsp.ports.tree import Tree

READ_AT_ONCE: Final = 8_192


class NodesMissing(Exception):
    """The ledger does not hold all hashes of a tile that it has had; the text names it."""


@dataclass(slots=True, kw_only=True)
class LogTree:
    """The tree over committed entries, as far as `advance` has been called."""

    ledger: Ledger
    nodes: Tree
    _edge: Edge = field(default_factory=Edge)
    _fresh: dict[tuple[int, int], Subtree] = field(default_factory=dict)
    """Whole subtrees that are not kept yet, by level and number."""
    _advancing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def size(self) -> int:
        """How many entries the tree is over."""
        return self._edge.size

    def root(self) -> bytes:
        """Return the root over these entries."""
        return self._edge.root()

    async def begin(self, size: int) -> None:
        """Take up the tree of a log that had `size` entries when its last checkpoint was kept, from what is stored of it.

        Raise `NodesMissing` when the ledger lacks nodes that it must have.
        """
        whole = await self.nodes.subtree_count(1)
        base = min(whole * WIDTH, size - size % WIDTH)
        tails = [
            await self._stored(tiles.tile_of(level, tiles.count(level, base), base)) if level else []
            for level in tiles.levels(base)
        ]
        self._edge = Edge.of(base, tails)
        self._fresh.clear()
        await self.advance(size)

    async def advance(self, size: int) -> None:
        """Add committed entries until there are `size` of them."""
        async with self._advancing:
            while self._edge.size < size:
                start = self._edge.size
                stop = min(size, start + READ_AT_ONCE)
                leaves = await self.ledger.leaves(start, stop)
                if len(leaves) != stop - start:
                    raise NodesMissing(f"the hash of an entry between {start} and {stop - 1}")
                for each in self._edge.append(leaves):
                    self._fresh[each.level, each.number] = each

    def root_with(self, leaf: bytes) -> bytes:
        """Return the root that the tree would have with one more leaf hash."""
        edge = deepcopy(self._edge)
        edge.append([leaf])
        return edge.root()

    def unkept(self) -> tuple[Subtree, ...]:
        """Return the whole subtrees that are to be kept with the next checkpoint."""
        return tuple(self._fresh.values())

    def kept(self, subtrees: Sequence[Subtree]) -> None:
        """Learn that these are in the ledger."""
        for each in subtrees:
            self._fresh.pop((each.level, each.number), None)

    async def tile(self, tile: Tile) -> list[bytes]:
        """Return the hashes of a tile of the tree as it stands; raise `NodesMissing` when the ledger does not hold them all."""
        fresh = [self._fresh.get((tile.level, place)) for place in range(tile.start, tile.stop)]
        missing = sum(each is None for each in fresh)
        stored = await self._stored(Tile(level=tile.level, number=tile.number, width=missing)) if missing else []
        return [*stored, *(each.root for each in fresh if each is not None)]

    async def _stored(self, tile: Tile) -> list[bytes]:
        found = await (
            self.nodes.subtrees(tile.level, tile.start, tile.stop)
            if tile.level
            else self.ledger.leaves(tile.start, tile.stop)
        )
        if len(found) != tile.width:
            raise NodesMissing(f"hash {tile.start + len(found)} of level {tile.level}")
        return found

    async def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the inclusion path of an entry in the log of its first `size` entries, which the tree covers."""
        return await self._roots(merkle.inclusion_ranges(index, size), size)

    async def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the path that proves the first `old` entries a prefix of the first `new`, which the tree covers."""
        return await self._roots(merkle.consistency_ranges(old, new), new)

    async def root_at(self, size: int) -> bytes:
        """Return the root over the first `size` entries, which the tree covers."""
        if not size:
            return merkle.EMPTY_ROOT
        [root] = await self._roots([(0, size)], size)
        return root

    async def _roots(self, ranges: Sequence[merkle.Range], size: int) -> list[bytes]:
        """Return the roots over ranges of entries, reading each tile once."""
        read: dict[tuple[int, int], list[bytes]] = {}
        found = []
        for entries in ranges:
            roots = []
            for part in tiles.parts(entries):
                tile = tiles.tile_of(part.level, part.start, size)
                if (part.level, tile.number) not in read:
                    read[part.level, tile.number] = await self.tile(tile)
                hashes = read[part.level, tile.number]
                roots.append(merkle.root(hashes[part.start - tile.start : part.stop - tile.start]))
            found.append(tiles.join(roots, entries[1] - entries[0]))
        return found
