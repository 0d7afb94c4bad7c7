"""The witness of the mock: co-signs checkpoints of the logs it knows, each only when it continues the last one (C2SP tlog-witness).

What it is going to sign it first writes to disk, and waits until it is there: so whatever happens to it, it never signs two roots for one size, nor a
log that has become shorter. HTTP is left to `server`.
"""

import json
import os
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from adapters.ndxp.mock import notes, tree
from adapters.ndxp.mock.notes import Checkpoint

MOST_HASHES = 63
Head = tuple[int, bytes]
"""Size and root."""


class Refused(Exception):
    """It does not co-sign; `status` is that of the protocol, `holds` the size that it has seen where that is told."""

    def __init__(self, status: int, holds: int | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.holds = holds


@dataclass(slots=True, kw_only=True)
class Witness:
    """One witness with its key, the logs it knows, and the file of what it has seen."""

    name: str
    signer: Ed25519PrivateKey
    logs: Mapping[str, bytes]
    """Public keys by origin."""
    file: Path
    now: Callable[[], float]
    crash: Callable[[], None] = lambda: None
    """Called between writing and answering, for tests that stop it there."""
    _seen: dict[str, Head] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take up what was seen before."""
        if self.file.exists():
            seen = json.loads(self.file.read_bytes())
            self._seen = {origin: (size, bytes.fromhex(root)) for origin, (size, root) in seen.items()}

    @property
    def key(self) -> str:
        """The text form of its key, for those who verify."""
        return notes.witness_key(self.name, self.signer)

    def add(self, body: bytes) -> str:
        """Return the co-signing line for the checkpoint in the body of a call, or raise Refused."""
        try:
            old, path, checkpoint, lines = _read(body)
        except notes.Unreadable:
            raise Refused(400) from None
        public = self.logs.get(checkpoint.origin)
        if public is None:
            raise Refused(404)
        try:
            notes.check_signed(checkpoint, lines, public)
        except (notes.Unsigned, notes.Unreadable):
            raise Refused(403) from None
        self._compare(old, path, checkpoint)
        self._write(checkpoint)
        self.crash()
        return notes.cosignature(checkpoint, self.name, self.signer, int(self.now()))

    def _compare(self, old: int, path: list[bytes], checkpoint: Checkpoint) -> None:
        seen = self._seen.get(checkpoint.origin, (0, tree.NOTHING))
        new = (checkpoint.size, checkpoint.root)
        if old > checkpoint.size:
            raise Refused(400)
        if old != seen[0]:
            raise Refused(409, seen[0])
        if old == checkpoint.size and new != seen:
            raise Refused(409, seen[0])
        if not tree.continues(seen, new, path):
            raise Refused(422)

    def _write(self, checkpoint: Checkpoint) -> None:
        """Have the checkpoint on disk, in place of the one before or not at all."""
        head = (checkpoint.size, checkpoint.root)
        if self._seen.get(checkpoint.origin) == head:
            return
        seen = {**self._seen, checkpoint.origin: head}
        new = self.file.with_name(f".{self.file.name}.new")
        with new.open("wb") as file:
            file.write(json.dumps({origin: [size, root.hex()] for origin, (size, root) in seen.items()}).encode())
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.file)
        _sync_folder(self.file.parent)
        self._seen = seen


def _read(body: bytes) -> tuple[int, list[bytes], Checkpoint, list[str]]:
    head, blank, note = body.partition(b"\n\n")
    try:
        first, *hashes = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise notes.Unreadable("the lines above the checkpoint are ASCII") from None
    size = first.removeprefix("old ")
    if not (blank and first.startswith("old ") and notes.SIZE.fullmatch(size)) or len(hashes) > MOST_HASHES:
        raise notes.Unreadable("not a size and a path")
    path = [notes.decoded(each) for each in hashes]
    if any(
        b64encode(each).decode() != text or len(each) != notes.HASH_BYTES
        for each, text in zip(path, hashes, strict=True)
    ):
        raise notes.Unreadable("not hashes")
    return (int(size), path, *notes.parts_of(note))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def opened(folder: Path, name: str, logs: Sequence[str], now: Callable[[], float]) -> Witness:
    """Return the witness of a folder, which holds its key and what it has seen; a new key is made where there is none.

    `logs` are the text forms of the logs' keys, beside those in the file `logs` there, one a line. Its own one is written to the file `vkey`, for
    whoever verifies. Raises notes.Unreadable.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = folder / "key.pem"
    if not key.exists():
        _make_key(key)
    signer = load_pem_private_key(key.read_bytes(), password=None)
    if not isinstance(signer, Ed25519PrivateKey):
        raise notes.Unreadable("key.pem is no Ed25519 key")
    known = dict(map(notes.log_key, [*logs, *_written(folder / "logs")]))
    found = Witness(name=name, signer=signer, logs=known, file=folder / "seen.json", now=now)
    (folder / "vkey").write_text(found.key + "\n", encoding="ascii")
    return found


def _written(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").split() if file.exists() else []


def _make_key(path: Path) -> None:
    data = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    _sync_folder(path.parent)
