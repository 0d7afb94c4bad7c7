"""Signed notes as a witness needs them: read a checkpoint that a known log has signed, write a line that co-signs it (C2SP formats). Pure.

Written apart from the bus's own, so that each finds the other's mistakes.
"""

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

LOG, WITNESS = b"\x01", b"\x04"
SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
HASH_BYTES = 32


class Unreadable(Exception):
    """It does not follow the grammar."""


class Unsigned(Exception):
    """The log's key has not signed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a log states of itself; `text` are the bytes that are signed."""

    origin: str
    size: int
    root: bytes
    text: bytes


def key_id(name: str, kind: bytes, public: bytes) -> bytes:
    """Return the four bytes that point to a key."""
    return sha256(name.encode() + b"\n" + kind + public).digest()[:4]


def log_key(vkey: str) -> tuple[str, bytes]:
    """Return name and public key of a log from its text form `name+hash+base64`; raise Unreadable."""
    name, _, rest = vkey.partition("+")
    stated, _, encoded = rest.partition("+")
    typed = decoded(encoded)
    if typed[:1] != LOG or len(typed) != 1 + HASH_BYTES or key_id(name, LOG, typed[1:]).hex() != stated:
        raise Unreadable("not the key of a log")
    return name, typed[1:]


def witness_key(name: str, signer: Ed25519PrivateKey) -> str:
    """Return the text form of a witness's key, for those who verify."""
    public = signer.public_key().public_bytes_raw()
    return f"{name}+{key_id(name, WITNESS, public).hex()}+{b64encode(WITNESS + public).decode()}"


def parts_of(note: bytes) -> tuple[Checkpoint, list[str]]:
    """Return what a note states and its signature lines, none of them verified; raise Unreadable."""
    text, blank, lines = note.rpartition(b"\n\n")
    try:
        origin, size, root = text.decode().split("\n")
        signatures = lines.decode().splitlines()
    except ValueError:
        raise Unreadable("not a checkpoint of three lines and its signatures") from None
    if not (blank and origin and SIZE.fullmatch(size) and len(decoded(root)) == HASH_BYTES):
        raise Unreadable("not a checkpoint")
    return Checkpoint(origin=origin, size=int(size), root=decoded(root), text=text + b"\n"), signatures


def check_signed(checkpoint: Checkpoint, lines: list[str], public: bytes) -> None:
    """Raise Unsigned unless one of the lines is the log's good signature."""
    start = f"— {checkpoint.origin} "
    for line in lines:
        if line.startswith(start):
            data = decoded(line.removeprefix(start))
            if data[:4] == key_id(checkpoint.origin, LOG, public) and _holds(public, data[4:], checkpoint.text):
                return
    raise Unsigned


def _holds(public: bytes, signature: bytes, text: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, text)
    except InvalidSignature:
        return False
    return True


def cosignature(checkpoint: Checkpoint, name: str, signer: Ed25519PrivateKey, now: int) -> str:
    """Return the line that co-signs a checkpoint at a time in POSIX seconds."""
    signature = signer.sign(f"cosignature/v1\ntime {now}\n".encode() + checkpoint.text)
    public = signer.public_key().public_bytes_raw()
    data = key_id(name, WITNESS, public) + now.to_bytes(8, "big") + signature
    return f"— {name} {b64encode(data).decode()}\n"


def decoded(text: str) -> bytes:
    """Return the bytes of standard base64; raise Unreadable."""
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise Unreadable("not base64") from None
