"""What the bus computed of an envelope, beside what the envelope states, and at which byte the two part.

For the sender, who holds the envelope already: nothing of the body is told but its size and hash. Whether it is accepted is `admission`'s.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any, Final

from lgsp.domain import base64url, envelope, jws, strictjson
from lgsp.domain.directory import Directory, Key
from lgsp.domain.envelope import Wire
from lgsp.errors import Refusal

PARTS: Final = ("protected", "payload", "signature")
KID_IN_HEADER: Final = re.compile(rb'"kid"\s*:\s*"([A-Za-z0-9_-]{43})"')
"""A `kid` wherever it stands: the header need not be of its form."""
ALG_PLACE: Final = "<the key's algorithm>"
KID_PLACE: Final = "<the key's RFC 7638 thumbprint>"
SHOWN_HEADER: Final = 512
"""Bytes of a header that are given back; a right one has at most 107."""
NO_BASE64URL: Final = re.compile(rb"[^A-Za-z0-9_-]")
BOM: Final = b"\xef\xbb\xbf"

Found = dict[str, Any]
"""Members as they are told: texts, integers and objects of them."""


def diagnose(wire: Wire, directory: Directory, refusal: Refusal | None) -> Found:
    """Return what was computed, as far as the envelope can be taken apart; pure, for bytes of any kind. Positions are bytes, counted from 0.

    `encoding`: the part that is no base64url, and its first wrong byte. `header`: the bytes expected for the key that is named, and where those
    received part from them. `key`: the registered key. `signed` and `signature`: what was verified. `manifest`: its bytes, and where its JSON
    breaks or the refused attribute stands. `body`: size and hash, stated and computed, and which other bytes would have the stated hash.
    """
    found: Found = {"env": wire.hash}
    parts = wire.compact.split(b".")
    broken = _broken(parts)
    if broken is not None:
        return found | {"encoding": broken, "body": _measured(wire.body)}
    header, payload, signature = (base64url.decode(part) for part in parts)
    kid = _kid_in(header)
    key = directory.keys.get(kid)
    found["header"] = _header(header, kid or KID_PLACE, key)
    if key is not None:
        found["key"] = {"kid": key.record.id, "alg": key.public.alg, "owner": key.owner, "role": key.role}
    found["signed"] = _measured(wire.compact[: wire.compact.rindex(b".")])
    found["signature"] = _signature(signature, key)
    found["manifest"] = _measured(payload) | _manifest_fault(payload, refusal)
    found["body"] = _measured(wire.body) | _stated(payload, wire.body, refusal)
    return found


def _broken(parts: list[bytes]) -> Found | None:
    if len(parts) != jws.PARTS:
        return {"parts": len(parts)}
    for name, part in zip(PARTS, parts, strict=True):
        try:
            base64url.decode(part)
        except ValueError:
            wrong = NO_BASE64URL.search(part)
            # All its characters are of the alphabet: its length or its last bits are wrong.
            return {"part": name, "differs_at": wrong.start() if wrong else len(part) - 1}
    return None


def _measured(data: bytes) -> Found:
    return {"bytes": len(data), "hash": jws.hash_of(data)}


def _kid_in(header: bytes) -> str:
    named = KID_IN_HEADER.search(header)
    return named[1].decode() if named else ""


def _header(header: bytes, kid: str, key: Key | None) -> Found:
    alg = key.public.alg if key else ALG_PLACE
    received = header[:SHOWN_HEADER].decode("utf-8", "backslashreplace")
    if key is None and jws.HEADER_FORM.fullmatch(header):
        return {"received": received}  # of its form, by a key that is not known: nothing else is expected
    expected = f'{{"alg":"{alg}","kid":"{kid}","typ":"{envelope.TYP}"}}'
    if header == expected.encode():
        return {"received": received}
    at = _parting(header, expected.encode())
    return {"received": received, "expected": expected, "differs_at": at}


def _parting(one: bytes, other: bytes) -> int:
    """Return the first place at which two differ, the length of the shorter where one begins the other."""
    shorter = min(len(one), len(other))
    return next((at for at in range(shorter) if one[at] != other[at]), shorter)


def _signature(signature: bytes, key: Key | None) -> Found:
    found = {"bytes": len(signature)}
    return found if key is None else found | {"expected_bytes": key.public.algorithm.signature_bytes}


def _manifest_fault(payload: bytes, refusal: Refusal | None) -> Found:
    if refusal is None:
        return {}
    if refusal.code == "json":
        at = strictjson.breaks_at(payload)
        return {} if at is None else {"differs_at": at}
    name = refusal.pointer.removeprefix("/")
    at = payload.find(b'"%s"' % name.encode()) if name else -1
    if refusal.code not in {"manifest", "unsupported"} or at < 0:
        return {}
    rule = envelope.TEXT_RULES.get(name)
    return {"differs_at": at} | ({"form": rule.pattern} if rule else {})


def _stated(payload: bytes, body: bytes, refusal: Refusal | None) -> Found:
    """Return what a manifest states of its body; other readings of the body are tried once its signature was proven and the hash alone is wrong."""
    if refusal is not None and refusal.code in {"json", "manifest", "unsupported"}:
        return {}
    try:
        manifest = envelope.parse_manifest(payload)
    except Refusal:
        return {}
    found: Found = {"stated_bytes": manifest.body_size, "stated_hash": manifest.body_hash}
    if refusal is None or refusal.code != "datahash":
        return found
    found["differs_at"] = _parting(manifest.body_hash.encode(), jws.hash_of(body).encode())
    meant = next((name for name, change in CHANGES.items() if _is_meant(change, body, manifest.body_hash)), None)
    return found if meant is None else found | {"resembles": meant}


def _is_meant(change: Callable[[bytes], bytes], body: bytes, stated: str) -> bool:
    try:
        return jws.hash_of(change(body)) == stated
    except ValueError:  # no text, no JSON
        return False


CHANGES: Final[dict[str, Callable[[bytes], bytes]]] = {
    "size": lambda body: body,
    "no_final_newline": lambda body: body.removesuffix(b"\n").removesuffix(b"\r"),
    "final_newline": lambda body: body + b"\n",
    "no_byte_order_mark": lambda body: body.removeprefix(BOM),
    "byte_order_mark": lambda body: BOM + body,
    "lf": lambda body: body.replace(b"\r\n", b"\n"),
    "crlf": lambda body: body.replace(b"\n", b"\r\n"),
    "nfc": lambda body: unicodedata.normalize("NFC", body.decode()).encode(),
    "nfd": lambda body: unicodedata.normalize("NFD", body.decode()).encode(),
    "compact": lambda body: strictjson.compact(strictjson.parse(body)),
}
"""What programs do to a body between hashing and sending, by the word for what was hashed; `size`: the hash is right and the size is not."""
