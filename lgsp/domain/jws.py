"""A strict profile of compact JWS (RFC 7515): one header form, one algorithm per key, no second spelling of anything.

Steps 2 to 7 of protocol section 4. What a payload means is the work of `envelope` and `statements`.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final

from lgsp.domain import base64url
from lgsp.domain.keys import PublicKey, Signer
from lgsp.domain.values import fixed
from lgsp.errors import Refusal

HEADER_FORM: Final = re.compile(
    rb'\{"alg":"(Ed25519|ES256|PS256|RS256)","kid":"([A-Za-z0-9_-]{43})","typ":"(lgsp-[a-z]{3,8}\.v1\+jws)"\}'
)
PARTS: Final = 3


@fixed
class Jws:
    """A compact JWS taken apart; nothing in it is proven until `verify`."""

    compact: bytes
    alg: str
    kid: str
    typ: str
    payload: bytes
    signature: bytes

    @property
    def signing_input(self) -> bytes:
        """The bytes that were signed: all before the second dot."""
        return self.compact[: self.compact.rindex(b".")]


def parse(compact: bytes, *, typ: str) -> Jws:
    """Take a compact JWS of the expected `typ` apart; refuse as `compact`, `base64`, `header_template` or `typ`."""
    parts = compact.split(b".")
    if len(parts) != PARTS:
        raise Refusal("compact")
    try:
        payload, signature = base64url.decode(parts[1]), base64url.decode(parts[2])
    except ValueError:
        raise Refusal("base64") from None
    alg, kid, found_typ = _header(parts[0])
    if found_typ != typ:
        raise Refusal("typ")
    return Jws(compact=compact, alg=alg, kid=kid, typ=found_typ, payload=payload, signature=signature)


@lru_cache(maxsize=4096)
def _header(part: bytes) -> tuple[str, str, str]:
    try:
        header = base64url.decode(part)
    except ValueError:
        raise Refusal("base64") from None
    found = HEADER_FORM.fullmatch(header)
    if found is None:
        raise Refusal("header_template")
    return found[1].decode(), found[2].decode(), found[3].decode()


def verify(jws: Jws, key: PublicKey) -> None:
    """Check algorithm and signature under the registered key; refuse as `alg_mismatch` or `signature`."""
    if jws.alg != key.alg:
        raise Refusal("alg_mismatch")
    if not key.verifies(jws.signature, jws.signing_input):
        raise Refusal("signature")


def sign(payload: bytes, *, typ: str, signer: Signer) -> bytes:
    """Return the compact JWS of `payload` under the signer's key."""
    signing_input = f"{_written_header(signer.alg, signer.kid, typ)}.{base64url.encode(payload)}".encode()
    return signing_input + b"." + base64url.encode(signer.sign(signing_input)).encode()


@lru_cache(maxsize=256)
def _written_header(alg: str, kid: str, typ: str) -> str:
    return base64url.encode(f'{{"alg":"{alg}","kid":"{kid}","typ":"{typ}"}}'.encode())


def hash_of(data: bytes) -> str:
    """Return the SHA-256 of `data` written `sha-256:<b64url>`: the form of every hash in the protocol."""
    return "sha-256:" + base64url.encode(hashlib.sha256(data).digest())
