"""Hash trees of RFC 6962 (RFC 9162, 2.1): roots, inclusion and consistency paths, and their verification.

One shape serves the log, the batches of statements and the directory. Leaves are handled as leaf hashes
(`leaf_hash`); a path is a list of 32-byte hashes, bottom up. Storing nodes, signing roots and the text of
proofs are left to the ledger and to `checkpoint`.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final, Self

HASH_BYTES: Final = 32
PAIR_BYTES: Final = 2 * HASH_BYTES
EMPTY_ROOT: Final = sha256(b"").digest()

Range = tuple[int, int]
"""Leaves `start` up to, not including, `stop`."""


def leaf_hash(data: bytes) -> bytes:
    """Return SHA-256(0x00 || data), the hash of one leaf."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right), the hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes, in O(n); of nothing it is SHA-256 of nothing."""
    return _levels(leaf_hashes)[-1][0] if leaf_hashes else EMPTY_ROOT


def batch_paths(leaf_hashes: Sequence[bytes]) -> tuple[bytes, list[list[bytes]]]:
    """Return the root over one or more leaf hashes and the inclusion path of each, in O(n log n).

    Raises ValueError for an empty batch: there is nothing to state.
    """
    if not leaf_hashes:
        raise ValueError("a batch has at least one leaf")
    *below, (top,) = _levels(leaf_hashes)
    paths: list[list[bytes]] = [[]]
    for level in reversed(below):
        paths = _extend_down(level, paths)
    return top, paths


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Return the subtrees whose roots form the inclusion path of a leaf, bottom up, in O(log n).

    Raises ValueError when the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError("no such leaf in a tree of this size")
    ranges = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            ranges.append((middle, stop))
            stop = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """Return the subtrees whose roots form the consistency path of two sizes, bottom up, in O(log n).

    Empty when the sizes are equal or the old tree is empty. Raises ValueError when the tree shrinks.
    """
    if not 0 <= old <= new:
        raise ValueError("a log never shrinks")
    ranges: list[Range] = []
    start, stop = 0, new
    while 0 < old < stop:
        middle = start + _split(stop - start)
        if old <= middle:
            ranges.append((middle, stop))
            stop = middle
        else:
            ranges.append((start, middle))
            start = middle
    # A subtree from leaf 0 is the old tree itself: its root is known to the verifier and left out.
    return ([(start, stop)] if start else []) + ranges[::-1]


def complete_ranges(start: int, stop: int) -> list[Range]:
    """Return the complete subtrees, largest first, that make up one of the ranges given by this module.

    Their roots, as the stack of a `Frontier` of size `stop - start`, give the root of the range.
    """
    ranges = []
    while start < stop:
        width = 1 << ((stop - start).bit_length() - 1)
        ranges.append((start, start + width))
        start += width
    return ranges


def inclusion_path(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the inclusion path of one leaf, in O(n); raises ValueError when there is no such leaf."""
    return [root(leaf_hashes[start:stop]) for start, stop in inclusion_ranges(index, len(leaf_hashes))]


def consistency_path(leaf_hashes: Sequence[bytes], old: int) -> list[bytes]:
    """Return the path that proves the first `old` leaves a prefix of all, in O(n).

    Raises ValueError when there are fewer leaves than that.
    """
    return [root(leaf_hashes[start:stop]) for start, stop in consistency_ranges(old, len(leaf_hashes))]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Tell whether a leaf hash stands at `index` in the tree of this size and root (RFC 9162, 2.1.3.2).

    Take size and root from the same signed text: a path alone does not fix the size.
    """
    if not (0 <= index < size and _are_hashes((leaf, root, *path))):
        return False
    node, last, computed = index, size - 1, leaf
    for sibling in path:
        if not last:
            return False
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            node, last = _climb(node, last)
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    return not last and computed == root


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Tell whether the tree of size `new` starts with the tree of size `old` (RFC 9162, 2.1.4.2)."""
    if not (0 <= old <= new and _are_hashes((old_root, new_root, *path))):
        return False
    if old == new:
        return not path and old_root == new_root
    if not old:
        return not path and old_root == EMPTY_ROOT
    return bool(path) and _grows(old, new, old_root, new_root, path)


class Frontier:
    """The right edge of a growing tree: its complete subtrees' roots, one a set bit of `size`, largest first.

    Appending is O(1) on average, the root O(log n), and nothing else of the tree is needed.
    """

    __slots__ = ("size", "stack")

    def __init__(self) -> None:
        self.size = 0
        self.stack: list[bytes] = []

    @classmethod
    def from_stack(cls, size: int, stack: Sequence[bytes]) -> Self:
        """Return the frontier of a stored size and stack; raises ValueError when they do not fit."""
        if size < 0 or len(stack) != size.bit_count() or not _are_hashes(stack):
            raise ValueError("the stack does not fit the size of the tree")
        frontier = cls()
        frontier.size, frontier.stack = size, list(stack)
        return frontier

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash at the right."""
        node, rest = leaf, self.size
        while rest & 1:
            node = node_hash(self.stack.pop(), node)
            rest >>= 1
        self.stack.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        if not self.stack:
            return EMPTY_ROOT
        *larger, computed = self.stack
        for left in reversed(larger):
            computed = node_hash(left, computed)
        return computed


def _levels(leaf_hashes: Sequence[bytes]) -> list[Sequence[bytes]]:
    """Return all levels from the leaves to the root; a node without a sibling rises unchanged."""
    levels = [leaf_hashes]
    while len(level := levels[-1]) > 1:
        # All hashes of a level in one text, of which a pair is a slice: fewer small texts are made, which is most of the time.
        joined, stop = b"".join(level), len(level) // 2 * PAIR_BYTES
        above = [sha256(b"\x01" + joined[start : start + PAIR_BYTES]).digest() for start in range(0, stop, PAIR_BYTES)]
        if len(level) & 1:
            above.append(level[-1])
        levels.append(above)
    return levels


def _extend_down(level: Sequence[bytes], paths: list[list[bytes]]) -> list[list[bytes]]:
    """Return the paths of a level's nodes, given those of the level above."""
    extended: list[list[bytes]] = []
    for left, right, path in zip(level[::2], level[1::2], paths, strict=False):
        extended += ([right, *path], [left, *path])
    if len(level) & 1:
        extended.append(paths[-1])
    return extended


def _split(width: int) -> int:
    """Return the largest power of two below a width of two or more."""
    return 1 << ((width - 1).bit_length() - 1)


def _climb(node: int, last: int) -> tuple[int, int]:
    """Rise past the levels on which the node has no sibling."""
    while node and not node & 1:
        node, last = node >> 1, last >> 1
    return node, last


def _grows(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Compute both roots from one path that is not empty, for 0 < old < new."""
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first, *rest = path if node else (old_root, *path)
    old_computed = new_computed = first
    for sibling in rest:
        if not last:
            return False
        if node & 1 or node == last:
            old_computed, new_computed = node_hash(sibling, old_computed), node_hash(sibling, new_computed)
            node, last = _climb(node, last)
        else:
            new_computed = node_hash(new_computed, sibling)
        node, last = node >> 1, last >> 1
    return not last and old_computed == old_root and new_computed == new_root


def _are_hashes(values: Sequence[bytes]) -> bool:
    return set(map(len, values)) <= {HASH_BYTES}
