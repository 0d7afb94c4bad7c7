"""For trees of any size: what is true verifies, and whatever was altered does not."""

from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from lgsp.domain.merkle import (
    Frontier,
    batch_paths,
    consistency_path,
    inclusion_path,
    leaf_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(number.to_bytes(4, "big")) for number in range(300)]
ROOTS = [root(LEAVES[:size]) for size in range(301)]
quick = settings(max_examples=50, deadline=None)
sizes = st.one_of(st.integers(1, 40), st.integers(1, 300))


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    leaf: bytes
    index: int
    size: int
    path: tuple[bytes, ...]
    root: bytes

    def holds(self) -> bool:
        return verify_inclusion(self.leaf, self.index, self.size, self.path, self.root)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistency:
    old: int
    new: int
    old_root: bytes
    new_root: bytes
    path: tuple[bytes, ...]

    def holds(self) -> bool:
        return verify_consistency(self.old, self.new, self.old_root, self.new_root, self.path)


@st.composite
def inclusions(draw: st.DrawFn) -> Inclusion:
    size = draw(sizes)
    index = draw(st.integers(0, size - 1))
    path = tuple(inclusion_path(LEAVES[:size], index))
    return Inclusion(leaf=LEAVES[index], index=index, size=size, path=path, root=ROOTS[size])


@st.composite
def consistencies(draw: st.DrawFn) -> Consistency:
    new = draw(sizes)
    old = draw(st.integers(1, new))
    path = tuple(consistency_path(LEAVES[:new], old))
    return Consistency(old=old, new=new, old_root=ROOTS[old], new_root=ROOTS[new], path=path)


def flip(data: bytes, bit: int) -> bytes:
    altered = bytearray(data)
    altered[bit // 8] ^= 1 << bit % 8
    return bytes(altered)


def list_altered_paths(path: tuple[bytes, ...], bit: int) -> list[tuple[bytes, ...]]:
    """Each hash flipped, left out or doubled, each two neighbours swapped, and one hash too many at either end."""
    places = range(len(path))
    flipped = [(*path[:at], flip(path[at], bit), *path[at + 1 :]) for at in places]
    missing = [path[:at] + path[at + 1 :] for at in places]
    doubled = [path[: at + 1] + path[at:] for at in places]
    swapped = [(*path[:at], path[at + 1], path[at], *path[at + 2 :]) for at in places[:-1]]
    extended = [(*path, LEAVES[0]), (LEAVES[0], *path), (*path, b"")]
    shortened = [(*path[:at], path[at][:-1], *path[at + 1 :]) for at in places]
    return [*flipped, *missing, *doubled, *swapped, *extended, *shortened]


bits = st.integers(0, 255)


@quick
@given(inclusions())
def test_every_leaf_is_proven_to_be_in_its_tree(proof: Inclusion):
    assert proof.holds()


@quick
@given(inclusions(), bits)
def test_no_altered_inclusion_path_verifies(proof: Inclusion, bit: int):
    for path in list_altered_paths(proof.path, bit):
        assert not replace(proof, path=path).holds()


@quick
@given(inclusions(), bits)
def test_no_altered_leaf_or_root_verifies(proof: Inclusion, bit: int):
    assert not replace(proof, leaf=flip(proof.leaf, bit)).holds()
    assert not replace(proof, root=flip(proof.root, bit)).holds()


@quick
@given(inclusions())
def test_a_path_proves_no_other_index(proof: Inclusion):
    for index in {*range(-1, proof.size + 2)} - {proof.index}:
        assert not replace(proof, index=index).holds()


@quick
@given(inclusions(), sizes)
def test_a_path_proves_nothing_about_another_checkpoint(proof: Inclusion, size: int):
    # The size alone may fit two trees; a checkpoint always states size and root together.
    if size != proof.size:
        assert not replace(proof, size=size, root=ROOTS[size]).holds()
        assert not replace(proof, root=ROOTS[size]).holds()


@quick
@given(consistencies())
def test_every_tree_is_proven_to_have_grown(proof: Consistency):
    assert proof.holds()


@quick
@given(consistencies(), bits)
def test_no_altered_consistency_path_verifies(proof: Consistency, bit: int):
    for path in list_altered_paths(proof.path, bit):
        assert not replace(proof, path=path).holds()


@quick
@given(consistencies(), bits)
def test_no_altered_root_is_consistent(proof: Consistency, bit: int):
    assert not replace(proof, old_root=flip(proof.old_root, bit)).holds()
    assert not replace(proof, new_root=flip(proof.new_root, bit)).holds()
    if proof.old != proof.new:
        assert not replace(proof, old_root=proof.new_root, new_root=proof.old_root).holds()


@quick
@given(consistencies(), sizes, sizes)
def test_a_path_proves_nothing_about_other_sizes(proof: Consistency, old: int, new: int):
    if old not in (proof.old, proof.new):
        assert not replace(proof, old=old, old_root=ROOTS[old]).holds()
    if new not in (proof.old, proof.new):
        assert not replace(proof, new=new, new_root=ROOTS[new]).holds()


@quick
@given(st.integers(2, 300), st.data())
def test_a_log_that_changed_one_old_entry_is_not_consistent(new: int, data: st.DataObject):
    old = data.draw(st.integers(1, new))
    changed = data.draw(st.integers(0, old - 1))
    forged = [*LEAVES[:changed], leaf_hash(b"forged"), *LEAVES[changed + 1 : new]]
    assert not verify_consistency(old, new, ROOTS[old], root(forged), consistency_path(forged, old))


@quick
@given(st.lists(st.binary(max_size=40), max_size=80), st.integers(0, 80))
def test_a_frontier_has_the_root_of_its_leaves_wherever_it_was_stored(entries: list[bytes], at: int):
    hashes = [leaf_hash(entry) for entry in entries]
    frontier = Frontier()
    for position, leaf in enumerate(hashes):
        if position == at:
            frontier = Frontier.from_stack(frontier.size, tuple(frontier.stack))
        frontier.append(leaf)
    assert frontier.root() == root(hashes)
    assert len(frontier.stack) == frontier.size.bit_count()


@quick
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=256))
def test_a_batch_proves_each_of_its_items(items: list[bytes]):
    hashes = [leaf_hash(item) for item in items]
    top, paths = batch_paths(hashes)
    assert top == root(hashes)
    for index, (leaf, path) in enumerate(zip(hashes, paths, strict=True)):
        assert verify_inclusion(leaf, index, len(hashes), path, top)
