"""Public and private keys: JWK thumbprints, signing and verifying, and what a key of each role may sign (protocol sections 1, 2 and 8).

What differs from algorithm to algorithm is the table in `algorithms`. Reading key files is the work of `lgsp.keyfiles`; which key belongs to
whom is the directory's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from lgsp.domain import algorithms, base64url, strictjson
from lgsp.domain.algorithms import Algorithm, PrivateHandle, PublicHandle
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
    algorithm: Algorithm = field(repr=False, compare=False)
    jwk: dict[str, str] = field(hash=False)
    handle: PublicHandle = field(repr=False, compare=False)

    @property
    def alg(self) -> str:
        """The JWS algorithm."""
        return self.algorithm.name

    @property
    def x(self) -> bytes:
        """The JWK's `x` as bytes: for Ed25519 the whole key (RFC 8037), as signed notes name it."""
        return base64url.decode(self.jwk["x"])

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Tell whether the raw `signature` is this key's over `data`."""
        if len(signature) != self.algorithm.signature_bytes:
            return False
        try:
            self.algorithm.verify(self.handle, signature, data)
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
        """Return the raw signature over `data`."""
        return self.public.algorithm.sign(self.handle, data)


def thumbprint(jwk: dict[str, Any]) -> str:
    """Return the RFC 7638 SHA-256 thumbprint of a public JWK as 43 characters of base64url."""
    required = {name: jwk.get(name) for name in algorithms.by_jwk(jwk).members}
    if not all(isinstance(value, str) for value in required.values()):
        raise Refusal("key_refused", "a member that the thumbprint needs is missing or no text")
    return base64url.encode(hashlib.sha256(strictjson.compact(required)).digest())


def public_key(jwk: dict[str, Any]) -> PublicKey:
    """Return the key of a public JWK; refuse (`key_refused`) private members, foreign curves, low-order, non-canonical and off-curve points."""
    if "d" in jwk:
        raise Refusal("key_refused", "a private key was given where a public one belongs")
    algorithm = algorithms.by_jwk(jwk)
    handle = algorithm.read(jwk)
    required = algorithm.write(handle)
    kid = thumbprint(required)
    whole = required | {"kid": kid, "alg": algorithm.name, "use": "sig"}
    return PublicKey(kid=kid, algorithm=algorithm, jwk=whole, handle=handle)


def jwk_of(handle: PublicHandle) -> dict[str, str]:
    """Return the required members of a public key's JWK; refuse (`key_refused`) a type or curve that the table does not have."""
    return algorithms.by_handle(handle).write(handle)


def private_key(handle: PrivateHandle) -> PrivateKey:
    """Return the key with its public half, checked as registration would."""
    return PrivateKey(public=public_key(jwk_of(handle.public_key())), handle=handle)


def ed25519_from_seed(seed: bytes) -> PrivateKey:
    """Return the Ed25519 key of a 32-byte seed."""
    return private_key(ed25519.Ed25519PrivateKey.from_private_bytes(seed))


def p256_from_scalar(scalar: int) -> PrivateKey:
    """Return the P-256 key of a private scalar in 1..n-1."""
    return private_key(ec.derive_private_key(scalar, ec.SECP256R1()))
