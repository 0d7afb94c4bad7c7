"""Write and open what the log shows to outsiders: checkpoints and inclusion proofs.

Texts of C2SP tlog-checkpoint and tlog-proof@v1, protocol section 7. Hashing is left to `merkle`, signature
lines to `notes`; deciding which sizes are committed, keeping keys and asking witnesses to ledger and anchor.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lgsp.domain.merkle import EMPTY_ROOT, HASH_BYTES, leaf_hash, verify_inclusion
from lgsp.domain.notes import LOG_KEY, WITNESS_KEY, NoteInvalid, NoteKey, decode_standard, open_note

MAX_SIZE: Final = 2**63 - 1
MAX_PATH: Final = 63
"""Hashes on the path of a leaf in the largest tree."""

_PROOF_HEADER: Final = "c2sp.org/tlog-proof@v1"
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The head of a log: so many leaves under this root. `origin` names the log and its key."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not (self.origin and 0 <= self.size <= MAX_SIZE and len(self.root) == HASH_BYTES):
            raise NoteInvalid("a checkpoint has an origin, a size below 2^63 and a root of 32 bytes")
        if not self.size and self.root != EMPTY_ROOT:
            raise NoteInvalid("the root of an empty log is the hash of nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The parts of an inclusion proof's text; nothing in it is verified, and `extra` never is."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None


def checkpoint_body(checkpoint: Checkpoint) -> str:
    """Return the three lines that log and witnesses sign, last newline included."""
    return f"{checkpoint.origin}\n{checkpoint.size}\n{_base64(checkpoint.root)}\n"


def parse_checkpoint(body: str) -> Checkpoint:
    """Return the checkpoint of a note's body; raises NoteInvalid unless it is exactly three lines.

    Extension lines, which the format allows, are refused: this log writes none, and nobody could audit them.
    """
    match body.split("\n"):
        case [origin, size, root, ""]:
            return Checkpoint(origin=origin, size=_parse_number(size), root=_parse_hash(root))
        case _:
            raise NoteInvalid("a checkpoint has three lines: origin, size and root")


def stated_size(text: str) -> int:
    """Return the size that a checkpoint's note states, nothing of it proven; raises NoteInvalid."""
    return parse_checkpoint(text.partition("\n\n")[0] + "\n").size


def open_checkpoint(text: str, log_key: NoteKey, witness_keys: Sequence[NoteKey] = ()) -> Checkpoint:
    """Return the checkpoint of a note signed by the log's key and cosigned by each of the witnesses.

    Raises NoteInvalid when one signature is missing or wrong, or the origin is not the name of the log's key.
    """
    if log_key.kind != LOG_KEY or any(key.kind != WITNESS_KEY for key in witness_keys):
        raise NoteInvalid("a log's key or a witness's key is of the other kind")
    note = open_note(text, (log_key, *witness_keys))
    if not all(note.is_signed_by(key) for key in (log_key, *witness_keys)):
        raise NoteInvalid("the log or a demanded witness has not signed the checkpoint")
    checkpoint = parse_checkpoint(note.body)
    if checkpoint.origin != log_key.name:
        raise NoteInvalid("the checkpoint is of another log")
    return checkpoint


def format_proof(index: int, path: Sequence[bytes], checkpoint_text: str, extra: bytes | None = None) -> str:
    """Return the text of an inclusion proof under a signed checkpoint; nothing authenticates `extra`."""
    head = [_PROOF_HEADER]
    if extra:
        head.append(f"extra {_base64(extra)}")
    head += [f"index {index}", *map(_base64, path)]
    return "\n".join(head) + f"\n\n{checkpoint_text}"


def parse_proof(text: str) -> Proof:
    """Return the parts of a proof's text, its hashes and signatures unverified; raises NoteInvalid."""
    head, blank, checkpoint = text.partition("\n\n")
    header, *lines = head.split("\n")
    if header != _PROOF_HEADER or not blank:
        raise NoteInvalid("not a proof of this version")
    extra = _take_word(lines, "extra ")
    index = _take_word(lines, "index ")
    if index is None or len(lines) > MAX_PATH:
        raise NoteInvalid("a proof has one index and at most 63 hashes")
    return Proof(
        index=_parse_number(index),
        path=tuple(map(_parse_hash, lines)),
        checkpoint=checkpoint,
        extra=None if extra is None else decode_standard(extra),
    )


def verify_proof(
    proof_text: str, leaf_bytes: bytes, log_key: NoteKey, witness_keys: Sequence[NoteKey] = ()
) -> Checkpoint:
    """Return the checkpoint under which the entry's exact bytes are in the log, or raise NoteInvalid.

    The log's key and each of the witnesses must have signed it. The index is that of the parsed proof.
    """
    proof = parse_proof(proof_text)
    checkpoint = open_checkpoint(proof.checkpoint, log_key, witness_keys)
    leaf = leaf_hash(leaf_bytes)
    if not verify_inclusion(leaf, proof.index, checkpoint.size, proof.path, checkpoint.root):
        raise NoteInvalid("the entry is not in the log at this index")
    return checkpoint


def _take_word(lines: list[str], word: str) -> str | None:
    """Remove the first line when it starts with the word, and return what follows."""
    return lines.pop(0).removeprefix(word) if lines and lines[0].startswith(word) else None


def _parse_number(text: str) -> int:
    if not _NUMBER.fullmatch(text) or (number := int(text)) > MAX_SIZE:
        raise NoteInvalid("a size or index is a plain decimal below 2^63")
    return number


def _parse_hash(text: str) -> bytes:
    data = decode_standard(text)
    if len(data) != HASH_BYTES:
        raise NoteInvalid("a hash has 32 bytes")
    return data


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")
