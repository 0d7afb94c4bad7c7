"""Write and open signed notes: a text with signature lines under it (C2SP signed-note, tlog-cosignature).

Two kinds of key: Ed25519 over the text (0x01), and the timestamped cosignature of a witness (0x04). Their
text form ("vkey") is read and written here too. What the text says is left to `checkpoint`; which keys are
trusted, and whether a cosignature is recent enough, to the caller.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LOG_KEY: Final = 0x01
WITNESS_KEY: Final = 0x04

PUBLIC_BYTES: Final = 32
KEY_ID_BYTES: Final = 4
TIME_BYTES: Final = 8
MAX_TIME: Final = 2**63 - 1
MAX_NOTE_CHARS: Final = 131_072
"""Room for a text and the 16 signatures, of up to 5 kB, that the format asks every reader to accept."""

_NAME: Final = r"[^\s+\x00-\x1f\x7f\ud800-\udfff]+"
_VKEY: Final = re.compile(rf"({_NAME})\+([0-9a-f]{{8}})\+([A-Za-z0-9+/=]+)")
_LINE: Final = re.compile(rf"\u2014 ({_NAME}) ([A-Za-z0-9+/=]+)")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


class NoteInvalid(ValueError):
    """A note, checkpoint or proof that does not follow its grammar or is not signed as demanded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteKey:
    """A public key that signs notes, known by its name; `kind` is `LOG_KEY` or `WITNESS_KEY`."""

    name: str
    kind: int
    public: bytes

    def __post_init__(self) -> None:
        if not re.fullmatch(_NAME, self.name):
            raise NoteInvalid("a key name is not empty and has no space, plus or control character")
        if self.kind not in (LOG_KEY, WITNESS_KEY) or len(self.public) != PUBLIC_BYTES:
            raise NoteInvalid("unsupported kind or size of a note key")

    @property
    def key_id(self) -> bytes:
        """The four bytes that point to the key; a hint, not a proof."""
        return sha256(self.name.encode("utf-8") + b"\n" + self.material).digest()[:KEY_ID_BYTES]

    @property
    def material(self) -> bytes:
        """The kind's byte and the public key, as hashed into the id and written in the text form."""
        return bytes([self.kind]) + self.public


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSignature:
    """A verified signature; `time` in POSIX seconds, of a witness only."""

    key: NoteKey
    time: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text that at least one known key has signed, with every verified signature."""

    body: str
    signatures: tuple[NoteSignature, ...]

    def is_signed_by(self, key: NoteKey) -> bool:
        """Tell whether this key is among the verified ones."""
        return any(signature.key == key for signature in self.signatures)


def parse_vkey(text: str) -> NoteKey:
    """Return the key of a `name+hash+base64` text; raises NoteInvalid, also when the hash is wrong."""
    match = _VKEY.fullmatch(text)
    if not match:
        raise NoteInvalid("not a note key: name+hash+base64 expected")
    name, key_id, encoded = match.groups()
    typed = decode_standard(encoded)
    key = NoteKey(name=name, kind=typed[0], public=typed[1:])
    if key.key_id.hex() != key_id:
        raise NoteInvalid("the hash in the note key does not fit name and key")
    return key


def format_vkey(key: NoteKey) -> str:
    """Return the text form of a key, as it is handed to those who verify."""
    return f"{key.name}+{key.key_id.hex()}+{_encode_standard(key.material)}"


def sign_note(body: str, name: str, sign: Callable[[bytes], bytes], public: bytes) -> str:
    """Return the note of a text that ends in a newline, signed once with an Ed25519 key of kind `LOG_KEY`."""
    key = NoteKey(name=name, kind=LOG_KEY, public=public)
    return f"{body}\n{format_signature(key, sign(_body_bytes(body)))}"


def format_signature(key: NoteKey, signature: bytes) -> str:
    """Return one signature line with its newline; a witness's signature starts with eight bytes of time."""
    return f"\u2014 {key.name} {_encode_standard(key.key_id + signature)}\n"


def cosign_note(body: str, name: str, sign: Callable[[bytes], bytes], public: bytes, time: int) -> str:
    """Return the signature line of a witness for a checkpoint's body; `time` in POSIX seconds."""
    key = NoteKey(name=name, kind=WITNESS_KEY, public=public)
    message = cosignature_message(body, time)
    return format_signature(key, time.to_bytes(TIME_BYTES, "big") + sign(message))


def cosignature_message(body: str, time: int) -> bytes:
    """Return the bytes that a witness signs; raises NoteInvalid for a time that the format cannot hold."""
    if not 0 <= time <= MAX_TIME:
        raise NoteInvalid("the time of a cosignature is out of range")
    return f"cosignature/v1\ntime {time}\n".encode("ascii") + _body_bytes(body)


def open_note(text: str, keys: Iterable[NoteKey]) -> Note:
    """Return the note when its grammar holds and at least one of the keys has signed it.

    Signatures of other keys are ignored. Raises NoteInvalid when a known key's one is wrong or given twice.
    """
    body, lines = _split(text)
    known = {(key.name, key.key_id): key for key in keys}
    verified: dict[NoteKey, NoteSignature] = {}
    for name, key_id, signature in map(_parse_line, lines):
        key = known.get((name, key_id))
        if key is None:
            continue
        if key in verified:
            raise NoteInvalid("a key has signed the note twice")
        verified[key] = _verify(key, body, signature)
    if not verified:
        raise NoteInvalid("no known key has signed the note")
    return Note(body=body, signatures=tuple(verified.values()))


def is_named_in(key: NoteKey, text: str) -> bool:
    """Tell whether a note has a signature line under this key's name and id, right or wrong; raises NoteInvalid for what is no note."""
    return (key.name, key.key_id) in {(name, key_id) for name, key_id, _ in map(_parse_line, _split(text)[1])}


def decode_standard(text: str) -> bytes:
    """Return the bytes of canonical, padded standard base64; raises NoteInvalid for any other spelling."""
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        raise NoteInvalid("not canonical base64") from None
    if not data or _encode_standard(data) != text:
        raise NoteInvalid("not canonical base64")
    return data


def _encode_standard(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _body_bytes(body: str) -> bytes:
    if not body.endswith("\n") or _CONTROL.search(body):
        raise NoteInvalid("the text of a note ends in a newline and has no other control character")
    try:
        return body.encode("utf-8")
    except UnicodeEncodeError:
        raise NoteInvalid("the text of a note is Unicode without lone surrogates") from None


def _split(text: str) -> tuple[str, list[str]]:
    """Part text and signature lines at the last empty line."""
    if len(text) > MAX_NOTE_CHARS:
        raise NoteInvalid("the note is too long")
    body, blank, signatures = text.rpartition("\n\n")
    if not (blank and body and signatures.endswith("\n")):
        raise NoteInvalid("a note is a text, an empty line and signature lines, each ended by a newline")
    return f"{body}\n", signatures[:-1].split("\n")


def _parse_line(line: str) -> tuple[str, bytes, bytes]:
    """Return key name, key id and signature of one line."""
    match = _LINE.fullmatch(line)
    data = decode_standard(match[2]) if match else b""
    if not match or len(data) <= KEY_ID_BYTES:
        raise NoteInvalid("not a signature line: dash, key name and base64 expected")
    return match[1], data[:KEY_ID_BYTES], data[KEY_ID_BYTES:]


def _verify(key: NoteKey, body: str, signature: bytes) -> NoteSignature:
    time = None
    message = _body_bytes(body)
    if key.kind == WITNESS_KEY:
        time = int.from_bytes(signature[:TIME_BYTES], "big")
        signature, message = signature[TIME_BYTES:], cosignature_message(body, time)
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except InvalidSignature:
        raise NoteInvalid("the signature of a known key is wrong") from None
    return NoteSignature(key=key, time=time)
