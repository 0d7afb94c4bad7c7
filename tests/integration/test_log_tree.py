"""The tree over the log: what it reads of the ledger, what it keeps there, and how it is taken up again."""

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.bus.logtree import LogTree, NodesMissing
from lgsp.domain import merkle
from lgsp.domain.tiles import Tile
from lgsp.ports.ledger import KeepCheckpoint
from lgsp.testing.samples import sign_receipts
from tests.unit.test_tiles import ALL

SIZES = [1, 2, 255, 256, 257, 600, 65_536, 65_537, 70_000]


class Leaves:
    """A ledger of leaf hashes alone, which counts what is read of it."""

    def __init__(self, leaves):
        self.all = leaves
        self.read = 0

    async def leaves(self, start, stop):
        found = self.all[start:stop]
        self.read += len(found)
        return found


class Nodes:
    """Stored nodes, counted when they are read."""

    def __init__(self):
        self.store = MemoryLedger()
        self.read = 0

    async def subtree_count(self, level):
        return await self.store.subtree_count(level)

    async def subtrees(self, level, start, stop):
        found = await self.store.subtrees(level, start, stop)
        self.read += len(found)
        return found

    async def keep(self, tree):
        subtrees = tree.unkept()
        await self.store.commit([KeepCheckpoint(size=tree.size, note="", subtrees=subtrees)], sign_receipts)
        tree.kept(subtrees)


@pytest.fixture(params=[False, True], ids=["fresh", "kept"])
async def grown(request):
    """Give the tree over 70,000 entries; its nodes are in memory, or kept."""
    leaves, nodes = Leaves(ALL), Nodes()
    tree = LogTree(ledger=leaves, nodes=nodes)
    await tree.advance(len(ALL))
    if request.param:
        await nodes.keep(tree)
    leaves.read = nodes.read = 0
    return tree


@pytest.mark.parametrize("size", SIZES)
async def test_paths_and_roots_are_those_over_all_leaves(grown, size):
    root = await grown.root_at(size)
    assert root == merkle.root(ALL[:size])
    for index in {0, size // 2, size - 1}:
        path = await grown.inclusion(index, size)
        assert merkle.verify_inclusion(ALL[index], index, size, path, root)
    path = await grown.consistency(size, len(ALL))
    assert merkle.verify_consistency(size, len(ALL), root, grown.root(), path)


async def test_a_path_reads_a_few_tiles_and_no_more(grown):
    await grown.inclusion(12_345, len(ALL))
    assert grown.ledger.read + grown.nodes.read <= 6 * 256


async def test_the_root_over_nothing_is_the_hash_of_nothing(grown):
    assert await grown.root_at(0) == merkle.EMPTY_ROOT
    assert await grown.consistency(0, 5) == []


async def test_tiles_hold_the_hashes_of_their_level(grown):
    assert await grown.tile(Tile(level=0, number=3)) == ALL[768:1024]
    assert await grown.tile(Tile(level=1, number=0, width=5)) == [
        merkle.root(ALL[start : start + 256]) for start in range(0, 5 * 256, 256)
    ]
    assert await grown.tile(Tile(level=2, number=0, width=1)) == [merkle.root(ALL[:65_536])]


async def test_a_tile_may_lie_partly_in_the_ledger_and_partly_in_memory():
    tree = LogTree(ledger=Leaves(ALL), nodes=Nodes())
    await tree.advance(700)
    await tree.nodes.keep(tree)
    await tree.advance(1_100)
    assert [each.number for each in tree.unkept()] == [2, 3]
    assert await tree.tile(Tile(level=1, number=0, width=4)) == [
        merkle.root(ALL[start : start + 256]) for start in range(0, 1_024, 256)
    ]


@pytest.mark.parametrize("size", [0, *SIZES])
async def test_a_tree_that_is_taken_up_again_reads_its_right_edge_alone(size):
    leaves, nodes = Leaves(ALL), Nodes()
    tree = LogTree(ledger=leaves, nodes=nodes)
    await tree.advance(size)
    await nodes.keep(tree)
    leaves.read = nodes.read = 0
    again = LogTree(ledger=leaves, nodes=nodes)
    await again.begin(size)
    assert (again.size, again.root(), again.unkept()) == (size, tree.root(), ())
    assert leaves.read < 256
    assert nodes.read < 3 * 256


async def test_a_ledger_without_nodes_is_read_once_and_they_are_kept():
    leaves, nodes = Leaves(ALL), Nodes()
    tree = LogTree(ledger=leaves, nodes=nodes)
    await tree.begin(70_000)
    assert leaves.read == 70_000
    await nodes.keep(tree)
    assert await nodes.subtree_count(1) == 70_000 // 256
    assert await nodes.subtree_count(2) == 1


async def test_nodes_that_another_gateway_kept_meanwhile_do_no_harm():
    leaves, nodes = Leaves(ALL), Nodes()
    ahead, behind = (LogTree(ledger=leaves, nodes=nodes) for _ in range(2))
    await ahead.advance(66_000)
    await nodes.keep(ahead)
    await behind.begin(300)
    assert (behind.size, behind.root()) == (300, merkle.root(ALL[:300]))
    await behind.advance(66_000)
    await nodes.keep(behind)
    assert behind.root() == ahead.root()


@pytest.mark.parametrize(("level", "index"), [(1, 300), (2, 69_999)])
async def test_a_node_that_is_gone_is_named(level, index):
    leaves, nodes = Leaves(ALL), Nodes()
    tree = LogTree(ledger=leaves, nodes=nodes)
    await tree.advance(70_000)
    await nodes.keep(tree)
    del nodes.store._tables.rows.subtrees[level, 0]
    with pytest.raises(NodesMissing, match=f"of level {level}"):
        await tree.inclusion(index, 70_000)


async def test_a_leaf_that_is_gone_is_named():
    tree = LogTree(ledger=Leaves(ALL[:10]), nodes=Nodes())
    with pytest.raises(NodesMissing, match="entry 10"):
        await tree.advance(11)
