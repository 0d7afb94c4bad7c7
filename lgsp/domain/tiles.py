"""The log's tree in tiles of 256 hashes (C2SP tlog-tiles): where a hash lies, what a path needs, the right edge of a growing tree.

Level 0 holds the leaf hashes, and each higher level the roots over whole tiles of the one below. Reading tiles is left to others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from lgsp.domain import merkle
from lgsp.domain.merkle import Frontier

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT
LEVELS: Final = 6
"""Levels that a path may name, 0 to 5 (C2SP tlog-tiles): 2^48 entries."""

_NUMBER: Final = re.compile(r"((?:x[0-9]{3}/){0,5})([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtree:
    """The root over a whole tile: hash `number` of a level, which is 1 or more."""

    level: int
    number: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """The first `width` hashes of tile `number` of a level."""

    level: int
    number: int
    width: int = WIDTH

    @property
    def start(self) -> int:
        """Of its hashes on their level."""
        return self.number * WIDTH

    @property
    def stop(self) -> int:
        """Of its hashes on their level, not included."""
        return self.number * WIDTH + self.width

    @property
    def needs(self) -> int:
        """How many entries a log has at least that has this tile."""
        return self.stop << HEIGHT * self.level


def read_number(text: str) -> tuple[int, int]:
    """Return number and width of a tile by the last part of its path, `x001/x234/067` or with `.p/W` after it; raise ValueError for another."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError("no number of a tile")
    thousands, units, width = match.groups()
    digits = thousands.replace("x", "").replace("/", "") + units
    if thousands.startswith("x000/") or (width and int(width) >= WIDTH):
        raise ValueError("no number of a tile")
    return int(digits), int(width) if width else WIDTH


def number_path(number: int, width: int = WIDTH) -> str:
    """Return the last part of a tile's path."""
    groups: list[str] = []
    while True:
        number, group = divmod(number, 1_000)
        groups.append(f"x{group:03d}" if groups else f"{group:03d}")
        if not number:
            break
    return "/".join(reversed(groups)) + (f".p/{width}" if width < WIDTH else "")


def count(level: int, size: int) -> int:
    """Return how many hashes a level has in a log of this size."""
    return size >> HEIGHT * level


def levels(size: int) -> range:
    """Return the levels of a log of this size that have a hash, and level 0."""
    return range(max(1, (size.bit_length() + HEIGHT - 1) // HEIGHT))


def tile_of(level: int, place: int, size: int) -> Tile:
    """Return the tile that hash `place` of a level lies in, as wide as it is in a log of this size."""
    number = place // WIDTH
    return Tile(level=level, number=number, width=min(WIDTH, count(level, size) - number * WIDTH))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A complete subtree: the root over the hashes `start` up to, not including, `stop` of a level, all of one tile."""

    level: int
    start: int
    stop: int


def parts(entries: merkle.Range) -> list[Part]:
    """Return the complete subtrees, largest first, that make up a range of entries given by `merkle`."""
    found = []
    for start, stop in merkle.complete_ranges(*entries):
        level = ((stop - start).bit_length() - 1) // HEIGHT
        found.append(Part(level=level, start=start >> HEIGHT * level, stop=stop >> HEIGHT * level))
    return found


def join(roots: Sequence[bytes], width: int) -> bytes:
    """Return the root over the complete subtrees of a range that is so many entries wide."""
    return Frontier.from_stack(width, roots).root()


class Edge:
    """The right edge of a growing tree: on each level the hashes of the tile that is not whole yet. Appending is O(1) on average."""

    __slots__ = ("_tails", "size")

    def __init__(self) -> None:
        self.size = 0
        self._tails: list[list[bytes]] = [[]]

    @classmethod
    def of(cls, size: int, tails: Sequence[Sequence[bytes]]) -> Self:
        """Return the edge of a log of this size, given the last hashes of each of its levels; raise ValueError when they do not fit."""
        wanted = [count(level, size) % WIDTH for level in levels(size)]
        if [len(tail) for tail in tails] != wanted or any(
            len(each) != merkle.HASH_BYTES for tail in tails for each in tail
        ):
            raise ValueError("the hashes do not fit the size of the log")
        edge = cls()
        edge.size, edge._tails = size, [list(tail) for tail in tails]
        return edge

    def append(self, leaves: Sequence[bytes]) -> list[Subtree]:
        """Add leaf hashes at the right and return the subtrees that became whole, lower ones first."""
        whole: list[Subtree] = []
        tail, taken = self._tails[0], 0
        while taken < len(leaves):
            more = leaves[taken : taken + WIDTH - len(tail)]
            tail += more
            taken += len(more)
            self.size += len(more)
            if len(tail) == WIDTH:
                self._close(whole)
        return whole

    def append_tile(self, root: bytes) -> list[Subtree]:
        """Add a whole tile of leaf hashes by its root, and return as `append`; raise ValueError within a tile."""
        if self._tails[0]:
            raise ValueError("a tile begins where the one before it ends")
        whole: list[Subtree] = []
        self.size += WIDTH
        self._raise(root, 1, whole)
        self._close(whole, 1)
        return whole

    def _close(self, whole: list[Subtree], level: int = 0) -> None:
        while len(self._tails[level]) == WIDTH:
            root = merkle.root(self._tails[level])
            self._tails[level].clear()
            level += 1
            self._raise(root, level, whole)

    def _raise(self, root: bytes, level: int, whole: list[Subtree]) -> None:
        if level == len(self._tails):
            self._tails.append([])
        self._tails[level].append(root)
        whole.append(Subtree(level=level, number=count(level, self.size) - 1, root=root))

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        stack = [
            merkle.root(tail[start:stop])
            for tail in reversed(self._tails)
            for start, stop in merkle.complete_ranges(0, len(tail))
        ]
        return Frontier.from_stack(self.size, stack).root()
