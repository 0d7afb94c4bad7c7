"""Tiles of the log's tree: their names, what lies in them, and the right edge that grows them."""

from hashlib import sha256

import pytest

from lgsp.domain import merkle, tiles
from lgsp.domain.tiles import Edge, Tile

SIZES = [0, 1, 2, 255, 256, 257, 511, 512, 1_000, 65_535, 65_536, 65_537, 70_000]


def leaves(count):
    return [sha256(number.to_bytes(4)).digest() for number in range(count)]


ALL = leaves(max(SIZES))


@pytest.mark.parametrize(
    ("number", "width", "path"),
    [
        (0, 256, "000"),
        (67, 256, "067"),
        (999, 256, "999"),
        (1_000, 256, "x001/000"),
        (1_234_067, 256, "x001/x234/067"),
        (5, 12, "005.p/12"),
        (1_234_067, 1, "x001/x234/067.p/1"),
        (10**18 - 1, 256, "x999/x999/x999/x999/x999/999"),
    ],
)
def test_the_path_of_a_tile_is_that_of_the_format(number, width, path):
    # C2SP tlog-tiles: three digits an element, all but the last after an x; `.p/W` for a tile that is not whole
    assert tiles.number_path(number, width) == path
    assert tiles.read_number(path) == (number, width)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "7",
        "0067",
        "x067",
        "x000/067",
        "x001/67",
        "x1/067",
        "067.p/0",
        "067.p/256",
        "067.p/999",
        "067.p/012",
        "067/",
        "067.p",
        "-01",
        "+01",
        " 067",
        "067\n",
        "x001//067",
        "X001/067",
        "٠٦٧",
        "/".join(["x001"] * 6) + "/000",
    ],
)
def test_what_is_no_path_of_a_tile_is_refused(path):
    with pytest.raises(ValueError, match="no number of a tile"):
        tiles.read_number(path)


@pytest.mark.parametrize("size", SIZES)
def test_the_edge_has_the_root_over_all_leaves(size):
    edge = Edge()
    edge.append(ALL[:size])
    assert (edge.size, edge.root()) == (size, merkle.root(ALL[:size]))


def test_the_edge_tells_each_subtree_when_it_is_whole():
    edge, told = Edge(), []
    for leaf in ALL[:65_537]:
        told += [(edge.size, each) for each in edge.append([leaf])]
    lower = [each for _, each in told if each.level == 1]
    assert [each.number for each in lower] == list(range(256))
    assert all(
        each.root == merkle.root(ALL[each.number * 256 : each.number * 256 + 256]) and size == each.number * 256 + 256
        for size, each in told
        if each.level == 1
    )
    [(size, top)] = [(size, each) for size, each in told if each.level == 2]
    assert (size, top.number, top.root) == (65_536, 0, merkle.root(ALL[:65_536]))


@pytest.mark.parametrize("size", SIZES)
def test_an_edge_is_taken_up_from_the_last_hashes_of_each_level(size):
    grown, levels = Edge(), {0: ALL[:size]}
    for each in grown.append(ALL[:size]):
        levels.setdefault(each.level, []).append(each.root)
    tails = [levels.get(level, [])[tiles.count(level, size) // 256 * 256 :] for level in tiles.levels(size)]
    again = Edge.of(size, tails)
    assert again.root() == grown.root()
    more = leaves(300)
    assert again.append(more) == grown.append(more)
    assert again.root() == grown.root()


@pytest.mark.parametrize("tails", [[], [[b"\0" * 32] * 2], [[b"\0" * 31]], [[b"\0" * 32], []]])
def test_hashes_that_do_not_fit_the_size_are_refused(tails):
    with pytest.raises(ValueError, match="do not fit"):
        Edge.of(1, tails)


@pytest.mark.parametrize("size", SIZES[1:])
def test_a_path_needs_parts_of_one_tile_each_and_a_few_tiles(size):
    for index in {0, size // 3, size - 1}:
        named = set()
        for entries in merkle.inclusion_ranges(index, size):
            for part in tiles.parts(entries):
                tile = tiles.tile_of(part.level, part.start, size)
                assert tile.start <= part.start < part.stop <= tile.stop <= tiles.count(part.level, size)
                named.add((part.level, tile.number))
        assert len(named) <= 2 * len(tiles.levels(size))


def test_a_tile_says_how_long_a_log_must_be_to_have_it():
    assert Tile(level=0, number=2, width=3).needs == 2 * 256 + 3
    assert Tile(level=1, number=0).needs == 65_536
    assert Tile(level=2, number=1, width=1).needs == 257 * 65_536


@pytest.mark.parametrize("size", [size for size in SIZES if 0 < size <= 1_000])
def test_the_roots_of_the_parts_of_a_range_join_to_its_root(size):
    for index in {0, size // 3, size - 1}:
        path = []
        for start, stop in merkle.inclusion_ranges(index, size):
            roots = [
                merkle.root(ALL[part.start << 8 * part.level : part.stop << 8 * part.level])
                for part in tiles.parts((start, stop))
            ]
            path.append(tiles.join(roots, stop - start))
        assert merkle.verify_inclusion(ALL[index], index, size, path, merkle.root(ALL[:size]))


def test_whole_tiles_are_appended_by_their_roots_alone():
    leafwise, tilewise = Edge(), Edge()
    for start in range(0, 65_536, 256):
        tile = ALL[start : start + 256]
        assert tilewise.append_tile(merkle.root(tile)) == leafwise.append(tile)
    assert (tilewise.size, tilewise.root()) == (65_536, leafwise.root())
    assert tilewise.append(ALL[65_536:65_540]) == leafwise.append(ALL[65_536:65_540])
    assert tilewise.root() == leafwise.root()


def test_no_tile_is_appended_within_another():
    edge = Edge()
    edge.append(ALL[:3])
    with pytest.raises(ValueError, match="where the one before it ends"):
        edge.append_tile(merkle.root(ALL[:256]))
    assert (edge.size, edge.root()) == (3, merkle.root(ALL[:3]))
