"""A log as plain files in the layout of C2SP tlog-tiles: written once when a log is closed, and checked without bus, database or network.

`checkpoint` is the last signed one, `tile/0/…` and above hold hashes, `tile/entries/…` the entries, each after its length in two bytes. Whoever has
the entries may read all that auditors may.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lgsp.bus.auditor import broken
from lgsp.bus.logtree import LogTree
from lgsp.cli.files import read_bytes, read_text
from lgsp.domain import merkle, tiles
from lgsp.domain.checkpoint import Checkpoint, open_checkpoint
from lgsp.domain.notes import NoteInvalid, NoteKey
from lgsp.domain.tiles import Edge, Tile
from lgsp.errors import Unusable
from lgsp.machine import sync
from lgsp.ports.store import Store

CHECKPOINT: Final = "checkpoint"
ENTRIES: Final = "entries"
LENGTH_BYTES: Final = 2


async def write_static(store: Store, tree: LogTree, note: str, size: int, out: Path) -> None:
    """Write the first `size` entries, which the tree covers, under their signed checkpoint into a new folder, whole or not at all."""
    new = place_beside(out)
    for tile in _tiles(0, size):
        entries = await store.entries(tile.start, tile.stop)
        _write(new, ENTRIES, tile, b"".join(len(each).to_bytes(LENGTH_BYTES) + each for each in entries))
    for level in tiles.levels(size):
        for tile in _tiles(level, size):
            _write(new, str(level), tile, b"".join(await tree.tile(tile)))
    (new / CHECKPOINT).write_text(note, encoding="utf-8")
    os.sync()  # a call for each of many files would take hours
    new.rename(out)
    sync(out.parent)


def place_beside(out: Path) -> Path:
    """Return the empty folder in which the files are written before they are all there; refuse as `file_exists`, or where none can be made."""
    if out.exists():
        raise Unusable("file_exists", f"{out}: lgsp audit verify --dir tells whether it is this log's")
    new = out.with_name(f".{out.name}.new")
    shutil.rmtree(new, ignore_errors=True)  # of a command that was stopped
    new.mkdir(mode=0o700)
    return new


def _tiles(level: int, size: int) -> Iterator[Tile]:
    """Yield the tiles of a level, the last one as wide as it is."""
    for start in range(0, tiles.count(level, size), tiles.WIDTH):
        yield tiles.tile_of(level, start, size)


def _path(folder: Path, kind: str, tile: Tile) -> Path:
    return folder / "tile" / kind / tiles.number_path(tile.number, tile.width)


def _write(folder: Path, kind: str, tile: Tile, data: bytes) -> None:
    path = _path(folder, kind, tile)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(data)


@dataclass(slots=True, kw_only=True)
class _Check:
    """The check of one folder, entry by entry."""

    folder: Path
    edge: Edge
    above: dict[int, list[bytes]]
    """By level, 1 and more, the hashes of the tile that is not compared yet."""

    def take(self, tile: Tile) -> None:
        """Hash the entries of a level-0 tile and compare with all tiles that they make whole."""
        leaves = [merkle.leaf_hash(each) for each in self._entries(tile)]
        self._compare(tile, leaves, first=tile.start)
        for whole in self.edge.append(leaves):
            held = self.above.setdefault(whole.level, [])
            held.append(whole.root)
            if len(held) == tiles.WIDTH:
                self._compare(Tile(level=whole.level, number=whole.number // tiles.WIDTH), held, first=None)
                held.clear()

    def end(self, size: int) -> None:
        """Compare the tiles of the higher levels that are not whole."""
        for level, held in self.above.items():
            if held:
                self._compare(tiles.tile_of(level, tiles.count(level, size) - 1, size), held, first=None)

    def _entries(self, tile: Tile) -> list[bytes]:
        data, found = self._read(ENTRIES, tile), list[bytes]()
        while data:
            length = int.from_bytes(data[:LENGTH_BYTES])
            if len(data) < LENGTH_BYTES + length:
                raise broken(
                    f"index {tile.start + len(found)}: {_path(self.folder, ENTRIES, tile)} ends within the entry"
                )
            found.append(data[LENGTH_BYTES : LENGTH_BYTES + length])
            data = data[LENGTH_BYTES + length :]
        if len(found) != tile.width:
            raise broken(
                f"index {tile.start + min(len(found), tile.width)}: {_path(self.folder, ENTRIES, tile)} holds {len(found)} entries"
            )
        return found

    def _compare(self, tile: Tile, hashes: Sequence[bytes], *, first: int | None) -> None:
        data = self._read(str(tile.level), tile)
        if data == b"".join(hashes):
            return
        path = _path(self.folder, str(tile.level), tile)
        if first is None:
            raise broken(f"{path}: the hashes are not those over the entries")
        stored = [data[at : at + merkle.HASH_BYTES] for at in range(0, len(data), merkle.HASH_BYTES)]
        bad = next(
            (place for place, pair in enumerate(zip(hashes, stored, strict=False)) if pair[0] != pair[1]), len(stored)
        )
        raise broken(f"index {first + bad}: the entry is not the one that was hashed in {path}")

    def _read(self, kind: str, tile: Tile) -> bytes:
        path = _path(self.folder, kind, tile)
        if not path.is_file():
            raise broken(f"index {tile.start << tiles.HEIGHT * tile.level}: {path} is missing")
        return read_bytes(path)


def verify_static(folder: Path, log: NoteKey, witnesses: Sequence[NoteKey] = ()) -> Checkpoint:
    """Return the checkpoint under which a folder's entries and tiles all fit; refuse (`log_broken`) with the first index that does not."""
    try:
        stated = open_checkpoint(read_text(folder / CHECKPOINT), log, witnesses)
    except NoteInvalid as error:
        raise broken(f"{folder / CHECKPOINT}: {error}") from None
    run = _Check(folder=folder, edge=Edge(), above={})
    for tile in _tiles(0, stated.size):
        run.take(tile)
    run.end(stated.size)
    if run.edge.root() != stated.root:
        raise broken(f"the root over the {stated.size} entries is not that of the signed checkpoint")
    return stated
