"""Hash trees against the known answers of RFC 6962 and against its definition, written out plainly."""

from hashlib import sha256

import pytest

from lgsp.domain.merkle import (
    EMPTY_ROOT,
    Frontier,
    batch_paths,
    complete_ranges,
    consistency_path,
    consistency_ranges,
    inclusion_path,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

# The eight leaves and the roots that Certificate Transparency implementations share as test data.
CT_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
CT_HASHES = [leaf_hash(data) for data in CT_LEAVES]


def define_root(hashes: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word by word."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return sha256(b"\x01" + define_root(hashes[:split]) + define_root(hashes[split:])).digest()


def make_leaves(count: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(4, "big")) for number in range(count)]


def test_the_root_of_nothing_is_the_hash_of_nothing():
    known = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    assert root([]) == EMPTY_ROOT == known


def test_the_hash_of_an_empty_leaf_is_not_the_root_of_nothing():
    assert leaf_hash(b"").hex() == CT_ROOTS[0]


def test_a_leaf_cannot_pass_for_a_node():
    left, right = make_leaves(2)
    assert node_hash(left, right) != leaf_hash(left + right)


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_certificate_transparency(size: int):
    assert root(CT_HASHES[:size]).hex() == CT_ROOTS[size - 1]


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [
        (0, 1, []),
        (
            0,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            3,
            ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
        ),
    ],
)
def test_inclusion_paths_are_those_of_certificate_transparency(index: int, size: int, path: list[str]):
    hashes = CT_HASHES[:size]
    assert [node.hex() for node in inclusion_path(hashes, index)] == path
    assert verify_inclusion(hashes[index], index, size, inclusion_path(hashes, index), root(hashes))


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (1, 1, []),
        (
            1,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            [
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ],
)
def test_consistency_paths_are_those_of_certificate_transparency(old: int, new: int, path: list[str]):
    hashes = CT_HASHES[:new]
    assert [node.hex() for node in consistency_path(hashes, old)] == path
    roots = bytes.fromhex(CT_ROOTS[old - 1]), bytes.fromhex(CT_ROOTS[new - 1])
    assert verify_consistency(old, new, *roots, consistency_path(hashes, old))


def test_every_size_to_seventy_follows_the_definition():
    leaves = make_leaves(70)
    frontier = Frontier()
    for size in range(71):
        assert frontier.root() == root(leaves[:size]) == define_root(leaves[:size])
        assert frontier.size == size
        if size < 70:
            frontier.append(leaves[size])


def test_a_batch_gives_the_root_and_every_path():
    for size in range(1, 34):
        leaves = make_leaves(size)
        top, paths = batch_paths(leaves)
        assert top == root(leaves)
        assert paths == [inclusion_path(leaves, index) for index in range(size)]


def test_a_batch_of_one_has_an_empty_path_and_the_leaf_as_root():
    (leaf,) = make_leaves(1)
    assert batch_paths([leaf]) == (leaf, [[]])


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match=r"^a batch has at least one leaf$"):
        batch_paths([])


def test_paths_of_one_batch_can_be_changed_without_touching_each_other():
    _, paths = batch_paths(make_leaves(3))
    paths[0].clear()
    assert [len(path) for path in paths] == [0, 2, 1]


@pytest.mark.parametrize(
    ("index", "size", "ranges"),
    [
        (0, 1, []),
        (0, 2, [(1, 2)]),
        (2, 9, [(3, 4), (0, 2), (4, 8), (8, 9)]),
        (8, 9, [(0, 8)]),
        (6, 7, [(4, 6), (0, 4)]),
        (2**40, 2**40 + 1, [(0, 2**40)]),
    ],
)
def test_an_inclusion_path_names_its_subtrees(index: int, size: int, ranges: list[tuple[int, int]]):
    assert inclusion_ranges(index, size) == ranges


@pytest.mark.parametrize(
    ("old", "new", "ranges"),
    [
        (0, 0, []),
        (0, 5, []),
        (5, 5, []),
        (4, 7, [(4, 7)]),
        (3, 7, [(2, 3), (3, 4), (0, 2), (4, 7)]),
        (6, 7, [(4, 6), (6, 7), (0, 4)]),
        (2**40, 2**41, [(2**40, 2**41)]),
    ],
)
def test_a_consistency_path_names_its_subtrees(old: int, new: int, ranges: list[tuple[int, int]]):
    assert consistency_ranges(old, new) == ranges


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 3), (3, 3), (4, 3)])
def test_a_leaf_outside_the_tree_has_no_path(index: int, size: int):
    with pytest.raises(ValueError, match=r"^no such leaf in a tree of this size$"):
        inclusion_ranges(index, size)
    with pytest.raises(ValueError, match=r"^no such leaf in a tree of this size$"):
        inclusion_path(make_leaves(size), index)


@pytest.mark.parametrize(("old", "new"), [(-1, 3), (4, 3)])
def test_a_shrinking_log_has_no_consistency_path(old: int, new: int):
    with pytest.raises(ValueError, match=r"^a log never shrinks$"):
        consistency_ranges(old, new)
    with pytest.raises(ValueError, match=r"^a log never shrinks$"):
        consistency_path(make_leaves(new), old)


@pytest.mark.parametrize(
    ("start", "stop", "ranges"),
    [
        (0, 0, []),
        (4, 8, [(4, 8)]),
        (4, 7, [(4, 6), (6, 7)]),
        (8, 15, [(8, 12), (12, 14), (14, 15)]),
        (0, 9, [(0, 8), (8, 9)]),
    ],
)
def test_a_range_is_made_of_complete_subtrees(start: int, stop: int, ranges: list[tuple[int, int]]):
    assert complete_ranges(start, stop) == ranges


def test_stored_complete_subtrees_answer_every_path():
    leaves = make_leaves(23)

    def read_range(start: int, stop: int) -> bytes:
        stack = [root(leaves[low:high]) for low, high in complete_ranges(start, stop)]
        return Frontier.from_stack(stop - start, stack).root()

    for size in range(1, 24):
        for index in range(size):
            stored = [read_range(*span) for span in inclusion_ranges(index, size)]
            assert stored == inclusion_path(leaves[:size], index)
        for old in range(size):
            stored = [read_range(*span) for span in consistency_ranges(old, size)]
            assert stored == consistency_path(leaves[:size], old)


def test_a_frontier_goes_on_from_its_stored_stack():
    leaves = make_leaves(11)
    first = Frontier()
    for leaf in leaves[:6]:
        first.append(leaf)
    second = Frontier.from_stack(first.size, first.stack)
    for leaf in leaves[6:]:
        second.append(leaf)
    assert second.root() == root(leaves)
    assert first.root() == root(leaves[:6])


@pytest.mark.parametrize(
    ("size", "stack"),
    [
        (0, [EMPTY_ROOT]),
        (1, []),
        (3, [EMPTY_ROOT]),
        (4, [EMPTY_ROOT] * 2),
        (1, [b"short"]),
        (-1, [EMPTY_ROOT]),
    ],
)
def test_a_stack_that_does_not_fit_its_size_is_refused(size: int, stack: list[bytes]):
    with pytest.raises(ValueError, match=r"^the stack does not fit the size of the tree$"):
        Frontier.from_stack(size, stack)


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0), (-1, 0)])
def test_an_index_outside_the_tree_is_never_included(index: int, size: int):
    leaves = make_leaves(3)
    assert not verify_inclusion(leaves[0], index, size, inclusion_path(leaves, 0), root(leaves))


@pytest.mark.parametrize("cut", [0, 1])
def test_hashes_of_a_wrong_length_are_refused_even_when_their_bytes_join_to_the_same_text(cut: int):
    left, right = make_leaves(2)
    joined = left + right
    leaf, sibling = joined[: 31 + 2 * cut], joined[31 + 2 * cut :]
    assert not verify_inclusion(leaf, 0, 2, [sibling], node_hash(left, right))


def test_a_tree_is_consistent_with_nothing_and_with_itself_by_an_empty_path():
    leaves = make_leaves(5)
    top = root(leaves)
    assert verify_consistency(0, 5, EMPTY_ROOT, top, [])
    assert verify_consistency(5, 5, top, top, [])
    assert verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (0, 5, "the old root is not that of nothing"),
        (5, 5, "the roots differ"),
        (2, 5, "the path is missing, the old size a power of two"),
        (3, 5, "the path is missing, the old size another"),
    ],
)
def test_an_empty_path_proves_nothing_else(old: int, new: int, why: str):
    leaves = make_leaves(5)
    assert not verify_consistency(old, new, root(leaves[: min(old, 3)]) if old else leaves[0], root(leaves), []), why


@pytest.mark.parametrize(("old", "new"), [(5, 2), (-1, 5), (-2, -1)])
def test_sizes_that_cannot_be_are_never_consistent(old: int, new: int):
    leaves = make_leaves(5)
    assert not verify_consistency(old, new, root(leaves[:2]), root(leaves), consistency_path(leaves, 2))


def test_a_path_given_for_no_reason_is_refused():
    leaves = make_leaves(5)
    top = root(leaves)
    assert not verify_consistency(0, 5, EMPTY_ROOT, top, [top])
    assert not verify_consistency(5, 5, top, top, [top])


def test_a_path_longer_than_the_tree_is_deep_is_refused_even_when_it_leads_to_the_root():
    leaves = make_leaves(2)
    assert not verify_inclusion(leaves[1], 0, 1, [leaves[0]], root(leaves))


def test_a_consistency_path_that_goes_on_above_both_roots_is_refused():
    leaves = make_leaves(7)
    extra = leaf_hash(b"extra")
    higher = node_hash(extra, root(leaves[:3])), node_hash(extra, root(leaves))
    assert not verify_consistency(3, 7, *higher, [*consistency_path(leaves, 3), extra])


def test_a_consistency_path_that_ends_below_the_new_root_is_refused():
    leaves = make_leaves(7)
    path = consistency_path(leaves, 3)[:-1]
    assert verify_consistency(3, 4, root(leaves[:3]), root(leaves[:4]), path)
    assert not verify_consistency(3, 7, root(leaves[:3]), root(leaves[:4]), path)


def test_roots_of_a_wrong_length_are_not_consistent_even_when_their_bytes_join_to_the_same_text():
    leaves = make_leaves(3)
    old = root(leaves[:2])
    assert verify_consistency(2, 3, old, root(leaves), [leaves[2]])
    assert not verify_consistency(2, 3, old[:31], root(leaves), [old[31:] + leaves[2]])
