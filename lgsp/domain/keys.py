"""Public and private keys: the closed table of algorithms, JWK thumbprints, and what a key of each role may sign (protocol sections 1, 2 and 8).

Reading key files is the work of `lgsp.keyfiles`; which key belongs to whom is the directory's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lgsp.domain import base64url, strictjson
from lgsp.errors import Refusal

Role = Literal["system", "officer", "gateway", "registrar", "log"]

ROLE_SIGNS: Final[dict[Role, frozenset[str]]] = {
    "system": frozenset({"lgsp-env.v1+jws", "lgsp-ack.v1+jws", "lgsp-auth.v1+jws"}),
    "officer": frozenset({"lgsp-auth.v1+jws"}),
    "gateway": frozenset({"lgsp-rcpt.v1+jws"}),
    "registrar": frozenset({"lgsp-dir.v1+jws"}),
    "log": frozenset(),
}
"""Which `typ`s a key of a role may carry; the log's key signs checkpoints, which are notes and no JWS."""

ED25519_PRIME: Final = 2**255 - 19
P256_COORDINATE: Final = 32
SIGNATURE_BYTES: Final = 64
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


class Signer(Protocol):
    """What signs: a key in a file, or one behind a hardware module."""

    @property
    def kid(self) -> str:
        """The RFC 7638 thumbprint of the public key."""

    @property
    def alg(self) -> str:
        """The JWS algorithm."""

    def sign(self, data: bytes) -> bytes:
        """Return the JWS signature over `data`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A public key with the algorithm that it alone decides."""

    kid: str
    alg: str
    jwk: dict[str, str] = field(hash=False)
    handle: PublicHandle = field(repr=False, compare=False)

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Tell whether `signature` (raw, 64 bytes for both algorithms) is this key's over `data`."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        try:
            if isinstance(self.handle, ed25519.Ed25519PublicKey):
                self.handle.verify(signature, data)
            else:
                self.handle.verify(_der(signature), data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKey:
    """A private key held in memory; its representation shows the thumbprint alone."""

    public: PublicKey
    handle: PrivateHandle = field(repr=False, compare=False)

    @property
    def kid(self) -> str:
        """The thumbprint of the public key."""
        return self.public.kid

    @property
    def alg(self) -> str:
        """The JWS algorithm."""
        return self.public.alg

    def sign(self, data: bytes) -> bytes:
        """Return the raw signature over `data`; ES256 as r || s, 32 bytes each (RFC 7518 section 3.4)."""
        if isinstance(self.handle, ed25519.Ed25519PrivateKey):
            return self.handle.sign(data)
        r, s = decode_dss_signature(self.handle.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(P256_COORDINATE, "big") + s.to_bytes(P256_COORDINATE, "big")


def _der(signature: bytes) -> bytes:
    r, s = signature[:P256_COORDINATE], signature[P256_COORDINATE:]
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))


def thumbprint(jwk: dict[str, Any]) -> str:
    """Return the RFC 7638 SHA-256 thumbprint of a public JWK as 43 characters of base64url."""
    names = {"OKP": ("crv", "kty", "x"), "EC": ("crv", "kty", "x", "y")}.get(str(jwk.get("kty")))
    if names is None:
        raise Refusal("key_refused", "the key type is not one that the bus takes")
    required = {name: jwk.get(name) for name in names}
    if not all(isinstance(value, str) for value in required.values()):
        raise Refusal("key_refused", "a member that the thumbprint needs is missing or no text")
    return base64url.encode(hashlib.sha256(strictjson.compact(required)).digest())


def public_key(jwk: dict[str, Any]) -> PublicKey:
    """Return the key of a public JWK; refuse (`key_refused`) private members, foreign curves, low-order, non-canonical and off-curve points."""
    if "d" in jwk:
        raise Refusal("key_refused", "a private key was given where a public one belongs")
    match (jwk.get("kty"), jwk.get("crv")):
        case ("OKP", "Ed25519"):
            return _described(_ed25519(_coordinate(jwk, "x")))
        case ("EC", "P-256"):
            return _described(_p256(_coordinate(jwk, "x"), _coordinate(jwk, "y")))
    raise Refusal("key_refused", "the bus takes Ed25519 and P-256 keys")


def _coordinate(jwk: dict[str, Any], name: str) -> bytes:
    try:
        value = base64url.decode(str(jwk.get(name, "")))
    except ValueError:
        raise Refusal("key_refused", f"member {name} is not base64url", pointer=f"/{name}") from None
    if len(value) != P256_COORDINATE:
        raise Refusal("key_refused", f"member {name} has the wrong length", pointer=f"/{name}")
    return value


def _ed25519(point: bytes) -> ed25519.Ed25519PublicKey:
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


def _p256(x: bytes, y: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)
    except ValueError:
        raise Refusal("key_refused", "the point is not on the curve", pointer="/x") from None


def _described(handle: PublicHandle) -> PublicKey:
    jwk = jwk_of(handle)
    kid = thumbprint(jwk)
    alg = "Ed25519" if jwk["kty"] == "OKP" else "ES256"
    return PublicKey(kid=kid, alg=alg, jwk=jwk | {"kid": kid, "alg": alg, "use": "sig"}, handle=handle)


def jwk_of(handle: PublicHandle) -> dict[str, str]:
    """Return the required members of a public key's JWK, unchecked; P-384 and other curves come out as what `public_key` refuses."""
    if isinstance(handle, ed25519.Ed25519PublicKey):
        return {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": base64url.encode(handle.public_bytes(Encoding.Raw, PublicFormat.Raw)),
        }
    point = handle.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return {"kty": "EC", "crv": "P-256", "x": base64url.encode(point[1:33]), "y": base64url.encode(point[33:])}


def private_key(handle: PrivateHandle) -> PrivateKey:
    """Return the key with its public half, checked as registration would."""
    return PrivateKey(public=public_key(jwk_of(handle.public_key())), handle=handle)


def ed25519_from_seed(seed: bytes) -> PrivateKey:
    """Return the Ed25519 key of a 32-byte seed."""
    return private_key(ed25519.Ed25519PrivateKey.from_private_bytes(seed))


def p256_from_scalar(scalar: int) -> PrivateKey:
    """Return the P-256 key of a private scalar in 1..n-1."""
    return private_key(ec.derive_private_key(scalar, ec.SECP256R1()))
