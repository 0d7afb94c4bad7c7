"""The closed table of signature algorithms: how a key of each is read, checked, used. A further algorithm is a further row.

Points that prove nothing are refused here: low order, not canonical, off the curve (protocol section 8).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lgsp.domain import base64url
from lgsp.errors import Refusal

ED25519_PRIME: Final = 2**255 - 19
COORDINATE_BYTES: Final = 32
LOW_ORDER_Y: Final = frozenset(
    {
        0,
        1,
        ED25519_PRIME - 1,
        55188659117513257062467267217118295137698188065244968500265048394206261417927,
        2707385501144840649318225287225658788936804267575313519463743609750303402022,
    }
)
"""y of the points whose order divides 8: a signature under them proves nothing."""

PublicHandle = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey
PrivateHandle = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """One row: names of RFC 7518 and RFC 8037, and what is done with keys of the library."""

    name: str
    kty: str
    crv: str
    members: tuple[str, ...]
    """What the thumbprint is made of, in order (RFC 7638)."""
    signature_bytes: int
    public: type
    """The library's class of public keys."""
    read: Callable[[dict[str, Any]], PublicHandle]
    """From a JWK, after every check; refuses as `key_refused`."""
    write: Callable[[Any], dict[str, str]]
    """The JWK's required members."""
    verify: Callable[[Any, bytes, bytes], None]
    """Check (key, raw signature, data); raises the library's InvalidSignature."""
    sign: Callable[[Any, bytes], bytes]
    """The raw signature of (private key, data)."""


def by_jwk(jwk: dict[str, Any]) -> Algorithm:
    """Return the row of a JWK's type and curve; refuse (`key_refused`) others."""
    for row in ALGORITHMS.values():
        if (jwk.get("kty"), jwk.get("crv")) == (row.kty, row.crv):
            return row
    raise Refusal("key_refused", "the bus takes Ed25519 and P-256 keys")


def by_handle(handle: PublicHandle) -> Algorithm:
    """Return the row of a key of the library; refuse (`key_refused`) other types and curves."""
    for row in ALGORITHMS.values():
        if isinstance(handle, row.public) and (isinstance(handle, ed25519.Ed25519PublicKey) or _is_p256(handle)):
            return row
    raise Refusal("key_refused", "the bus takes Ed25519 and P-256 keys")


def _is_p256(handle: ec.EllipticCurvePublicKey) -> bool:
    return isinstance(handle.curve, ec.SECP256R1)


def _coordinate(jwk: dict[str, Any], name: str) -> bytes:
    try:
        value = base64url.decode(str(jwk.get(name, "")))
    except ValueError:
        raise Refusal("key_refused", f"member {name} is not base64url", pointer=f"/{name}") from None
    if len(value) != COORDINATE_BYTES:
        raise Refusal("key_refused", f"member {name} has the wrong length", pointer=f"/{name}")
    return value


def _read_ed25519(jwk: dict[str, Any]) -> ed25519.Ed25519PublicKey:
    point = _coordinate(jwk, "x")
    y = int.from_bytes(point, "little") & ((1 << 255) - 1)
    if y >= ED25519_PRIME:
        raise Refusal("key_refused", "the point is not in canonical form", pointer="/x")
    if y in LOW_ORDER_Y:
        raise Refusal("key_refused", "the point is of low order", pointer="/x")
    if not _on_edwards_curve(y):
        raise Refusal("key_refused", "the point is not on the curve", pointer="/x")
    return ed25519.Ed25519PublicKey.from_public_bytes(point)


def _on_edwards_curve(y: int) -> bool:
    """Tell whether some x satisfies -x² + y² = 1 + d·x²·y² (RFC 8032 section 5.1.3)."""
    p = ED25519_PRIME
    d = -121665 * pow(121666, -1, p) % p
    x_squared = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
    return x_squared == 0 or pow(x_squared, (p - 1) // 2, p) == 1


def _write_ed25519(handle: ed25519.Ed25519PublicKey) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(handle.public_bytes(Encoding.Raw, PublicFormat.Raw))}


def _verify_ed25519(handle: ed25519.Ed25519PublicKey, signature: bytes, data: bytes) -> None:
    # Called on the key itself: the class's own method is abstract and checks nothing.
    handle.verify(signature, data)


def _sign_ed25519(handle: ed25519.Ed25519PrivateKey, data: bytes) -> bytes:
    return handle.sign(data)


def _read_p256(jwk: dict[str, Any]) -> ec.EllipticCurvePublicKey:
    point = b"\x04" + _coordinate(jwk, "x") + _coordinate(jwk, "y")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise Refusal("key_refused", "the point is not on the curve", pointer="/x") from None


def _write_p256(handle: ec.EllipticCurvePublicKey) -> dict[str, str]:
    point = handle.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    x, y = point[1 : COORDINATE_BYTES + 1], point[COORDINATE_BYTES + 1 :]
    return {"kty": "EC", "crv": "P-256", "x": base64url.encode(x), "y": base64url.encode(y)}


def _verify_p256(handle: ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> None:
    r, s = signature[:COORDINATE_BYTES], signature[COORDINATE_BYTES:]
    der = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    handle.verify(der, data, ec.ECDSA(hashes.SHA256()))


def _sign_p256(handle: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """Return r || s, 32 bytes each (RFC 7518 section 3.4)."""
    r, s = decode_dss_signature(handle.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(COORDINATE_BYTES, "big") + s.to_bytes(COORDINATE_BYTES, "big")


ALGORITHMS: Final[dict[str, Algorithm]] = {
    "Ed25519": Algorithm(
        name="Ed25519",
        kty="OKP",
        crv="Ed25519",
        members=("crv", "kty", "x"),
        signature_bytes=64,
        public=ed25519.Ed25519PublicKey,
        read=_read_ed25519,
        write=_write_ed25519,
        verify=_verify_ed25519,
        sign=_sign_ed25519,
    ),
    "ES256": Algorithm(
        name="ES256",
        kty="EC",
        crv="P-256",
        members=("crv", "kty", "x", "y"),
        signature_bytes=64,
        public=ec.EllipticCurvePublicKey,
        read=_read_p256,
        write=_write_p256,
        verify=_verify_p256,
        sign=_sign_p256,
    ),
}
"""JWS name -> row. The header's form names two more that no key can have yet."""
