"""The data folder of a gateway: where each file lies, the lock that one process holds, and `trust.json`, which outsiders verify with.

lgsp.toml            settings                        read by config
trust.json           public: bus, registrar, log     hand it to whoever verifies
keys/                the gateway's private keys
registrar/           the registrar's private key, to be moved off this machine
bus.sqlite           the ledger                      read and written by the backend alone
lock                 held by the process that writes; names it
admin.sock           how commands reach a running gateway
systems/<code>-<name>/   key.pem, system.toml, box.sqlite of a system that lives on this machine
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lgsp.domain import keys, names, notes, strictjson
from lgsp.domain.keys import PublicKey
from lgsp.domain.notes import NoteInvalid, NoteKey
from lgsp.errors import Refusal, Unusable, not_usable

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
SOCKET_PATH_BYTES: Final = 107
"""What `sun_path` of unix(7) holds, without its end."""
LOCK_BYTES: Final = 4_096
"""Read of the lock's file at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFolder:
    """The paths in one data folder."""

    root: Path

    @property
    def settings(self) -> Path:
        """The gateway's settings."""
        return self.root / "lgsp.toml"

    @property
    def trust(self) -> Path:
        """What an outsider needs to verify this bus."""
        return self.root / "trust.json"

    @property
    def registrar_key(self) -> Path:
        """The registrar's private key, until it is moved away."""
        return self.root / "registrar" / "registrar.pem"

    @property
    def lock(self) -> Path:
        """The file whose lock the writing process holds."""
        return self.root / "lock"

    @property
    def admin_socket(self) -> Path:
        """Where a running gateway takes commands."""
        return self.root / "admin.sock"

    def worker_socket(self, number: int) -> Path:
        """Return where one of several workers of the gateway takes commands: the first one as a gateway does that runs alone."""
        return self.root / f"worker-{number}.sock" if number else self.admin_socket

    def system(self, urn: str) -> Path:
        """Return the folder of a system given by URN: `systems/H01.12-vnfishbase`."""
        return self.root / "systems" / names.short_system(urn).replace("/", "-")


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Give a name of a socket's file that fits where the kernel takes 107 bytes, for as long as the block runs (Linux: by way of /proc)."""
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextmanager
def hold(folder: DataFolder, *, command: str = "lgsp") -> Iterator[None]:
    """Hold the data folder for writing as `command`, a name of ours without its arguments.

    Refuses (`data_locked`) while another process does, and says which one. A killed process holds nothing.
    """
    descriptor = _open_lock(folder)
    try:
        if not _is_ours_now(descriptor):
            raise Unusable("data_locked", f"{folder.root}: {_holder_of(descriptor)}")
        _sign_in(descriptor, command)
        yield
    finally:
        os.close(descriptor)


def _open_lock(folder: DataFolder) -> int:
    try:
        return os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    except OSError as error:
        raise not_usable(folder.lock, error) from None


def _is_ours_now(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign_in(descriptor: int, command: str) -> None:
    """Write who holds the folder into the lock's file, for whoever comes second. It is left behind: the lock alone says whether it is held."""
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    members = {"pid": os.getpid(), "command": command, "since": since, "host": socket.gethostname()}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, strictjson.compact(members) + b"\n", 0)


def _holder_of(descriptor: int) -> str:
    """Return in words who signed in; what a process wrote that is gone is not told, for its successor has yet to write."""
    with suppress(ValueError, KeyError, OSError):
        found = strictjson.parse_object(os.pread(descriptor, LOCK_BYTES, 0))
        if found["host"] != socket.gethostname() or Path(f"/proc/{int(found['pid'])}").exists():
            return "held by {command} since {since}, process {pid} on {host}".format(**found)
    return "held by a process that has just begun"


def is_held(folder: DataFolder) -> bool:
    """Tell whether some process holds the folder now."""
    if not folder.lock.exists():
        return False
    descriptor = _open_lock(folder)
    try:
        return not _is_ours_now(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What an outsider pins: the bus, its registrar's key, its log's key, and the witnesses that must have co-signed, where it names any."""

    bus: str
    registrar: PublicKey
    log: NoteKey
    witnesses: tuple[NoteKey, ...] = ()

    def encoded(self) -> bytes:
        """Return the bytes of `trust.json`."""
        members: dict[str, Any] = {
            "bus": self.bus,
            "registrar": self.registrar.jwk,
            "log": notes.format_vkey(self.log),
        }
        if self.witnesses:
            members["witnesses"] = [notes.format_vkey(each) for each in self.witnesses]
        return strictjson.compact(members) + b"\n"


def read_trust(path: Path) -> Trust:
    """Return what a `trust.json` pins; refuse as `data_missing` or `config_invalid`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise not_usable(path, error) from None
    with suppress(ValueError, KeyError, TypeError, Refusal, NoteInvalid):
        return _trust(strictjson.parse_object(data))
    raise Unusable("config_invalid", f"{path}: not the trust file of a bus")


def _trust(members: dict[str, Any]) -> Trust:
    return Trust(
        bus=str(members["bus"]),
        registrar=keys.public_key(members["registrar"]),
        log=notes.parse_vkey(members["log"]),
        witnesses=tuple(notes.parse_vkey(each) for each in members.get("witnesses", [])),
    )
