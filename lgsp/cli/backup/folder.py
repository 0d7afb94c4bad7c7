"""A backup as a folder: `manifest.json`, which names every other file with its size and hash, and those files.

manifest.json    what it is a copy of, how much of it, when
trust.json       public: what the log and the directory are verified with
ledger.sqlite    the ledger, one state of it, whatever engine it came from
lgsp.toml, keys/ with `--with-keys` alone: the settings and the secret keys

It is made beside its place and renamed when all of it is on the disk: a folder with a manifest is complete.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from lgsp.cli.files import read_bytes
from lgsp.datafolder import FILE_MODE, FOLDER_MODE
from lgsp.domain import base64url, strictjson
from lgsp.domain.envelope import format_time, parse_time
from lgsp.errors import Unusable, not_usable
from lgsp.machine import sync

VERSION: Final = 1
MANIFEST: Final = "manifest.json"
LEDGER: Final = "ledger.sqlite"
TRUST: Final = "trust.json"
SETTINGS: Final = "lgsp.toml"
KEYS: Final = {
    "gateway": "keys/gateway.pem",
    "log": "keys/log.pem",
    "body": "keys/body.key",
    "subject": "keys/subject.key",
}
"""Where each key of the settings lies in a backup."""
NAMES: Final = frozenset({LEDGER, TRUST, SETTINGS, *KEYS.values()})
PIECE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of a backup."""

    name: str
    bytes: int
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup says of itself."""

    taken: datetime
    bus: str
    gateway: str
    log: str
    storage: str
    form: int
    entries: int
    checkpoint: str
    """The last checkpoint that the ledger kept, as signed; the entries after it are as many seconds old as checkpoints are apart."""
    directory: int
    keys: bool
    program: str
    parts: tuple[Part, ...]

    def encoded(self) -> bytes:
        """Return the bytes of the file."""
        parts = [{"name": part.name, "bytes": part.bytes, "hash": part.hash} for part in self.parts]
        told = {name: getattr(self, name) for name in _TOLD}
        return strictjson.compact({"v": VERSION, "taken": format_time(self.taken)} | told | {"parts": parts}) + b"\n"


_TOLD: Final = (
    "bus", "gateway", "log", "storage", "form", "entries", "checkpoint", "directory", "keys", "program",
)  # fmt: skip


def read_manifest(backup: Path) -> Manifest:
    """Return what a backup says of itself, nothing of it checked; refuse (`backup_invalid`) what is no backup."""
    try:
        data = read_bytes(backup / MANIFEST)
        return _manifest(strictjson.parse_object(data))
    except (Unusable, ValueError, KeyError, TypeError):
        raise Unusable("backup_invalid", f"{backup} holds no manifest of a backup that this program reads") from None


def _manifest(members: dict[str, Any]) -> Manifest:
    if members.pop("v") != VERSION:
        raise ValueError("another version")
    taken, parts = parse_time(members.pop("taken")), members.pop("parts")
    found = Manifest(taken=taken, parts=tuple(Part(**part) for part in parts), **members)
    kinds = {name: int if name in {"form", "entries", "directory"} else str for name in _TOLD} | {"keys": bool}
    if any(type(getattr(found, name)) is not kind for name, kind in kinds.items()):
        raise TypeError("a member of another kind")
    if not {LEDGER, TRUST} <= {part.name for part in found.parts} <= NAMES:
        raise ValueError("another set of parts")
    return found


def check_parts(backup: Path, manifest: Manifest) -> None:
    """Refuse (`backup_invalid`) a backup whose files are not those of its manifest, with each that is not on a line."""
    present = {str(path.relative_to(backup)) for path in backup.rglob("*") if not path.is_dir()} - {MANIFEST}
    problems = [f"{name}: is not in the manifest" for name in sorted(present - {part.name for part in manifest.parts})]
    for part in manifest.parts:
        if part.name not in present:
            problems.append(f"{part.name}: is not there")
        elif part_of(backup, part.name) != part:
            problems.append(f"{part.name}: is not the file that was written")
    if problems:
        raise Unusable("backup_invalid", "\n".join(problems))


def part_of(folder: Path, name: str) -> Part:
    """Return a file's size and hash."""
    digest, size = sha256(), 0
    with (folder / name).open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            size += len(piece)
    return Part(name=name, bytes=size, hash="sha-256:" + base64url.encode(digest.digest()))


@contextmanager
def made_whole(target: Path) -> Iterator[Path]:
    """Give a new folder beside `target` that becomes it when the block ends well, and goes when it does not; refuse (`file_exists`) what is there."""
    if target.exists() or target.is_symlink():
        raise Unusable("file_exists", f"{target}")
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        beside.mkdir(mode=FOLDER_MODE)
    except OSError as error:
        raise not_usable(target, error) from None
    try:
        yield beside
        for path in (*beside.rglob("*"), beside):
            sync(path)
        beside.rename(target)
        sync(target.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def make_private(path: Path) -> None:
    """Make a folder for its owner alone where there is none; refuse (`data_missing`) where none can be."""
    try:
        path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise not_usable(path, error) from None


def copy_private(source: Path, target: Path) -> None:
    """Copy a file to a new one that only its owner may read, a piece at a time; refuse (`file_exists`) what is there."""
    target.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(target, flags, FILE_MODE)
    except FileExistsError:
        raise Unusable("file_exists", f"{target}") from None
    with os.fdopen(descriptor, "wb") as written, source.open("rb") as read:
        shutil.copyfileobj(read, written, PIECE)
