"""Whether one log continues another, by their roots and a path: RFC 9162, 2.1.4.2. Pure.

Written apart from the bus's own tree, so that each finds the other's mistakes.
"""

from collections.abc import Sequence
from hashlib import sha256

NOTHING = sha256(b"").digest()
"""The root over no entries."""


def continues(old: tuple[int, bytes], new: tuple[int, bytes], path: Sequence[bytes]) -> bool:
    """Tell whether the log of size and root `new` starts with the one of size and root `old`."""
    (old_size, old_root), (new_size, new_root) = old, new
    if old_size > new_size:
        return False
    if old_size in (0, new_size):
        return not path and old_root == (NOTHING if not old_size else new_root)
    whole = old_size & (old_size - 1) == 0  # then the old tree is a node of the new one, and is not on the path
    return _leads([old_root, *path] if whole else path, old_size, new_size, (old_root, new_root))


def _leads(path: Sequence[bytes], old_size: int, new_size: int, roots: tuple[bytes, bytes]) -> bool:
    if not path:
        return False
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if not last:
            return False
        if node & 1 or node == last:
            first, second = _joined(sibling, first), _joined(sibling, second)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            second = _joined(second, sibling)
        node, last = node >> 1, last >> 1
    return not last and (first, second) == roots


def _joined(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()
