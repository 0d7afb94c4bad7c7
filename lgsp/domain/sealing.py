"""Seal a body for the broker and the ledger, and open it again: AES-256-GCM bound to the envelope's hash.

Protocol section 6: 12-byte nonce || ciphertext || 16-byte tag, associated data the text of the env hash.
Choosing the day's key, drawing the nonce and wrapping keys are left to the key store.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16


class SealBroken(ValueError):
    """The sealed bytes were altered, cut, sealed under another key, or belong to another envelope."""


def seal(key: bytes, env_hash: str, body: bytes, nonce: bytes) -> bytes:
    """Return the sealed body; a nonce must never serve twice under one key.

    Raises ValueError when the key is not 32 bytes or the nonce not 12.
    """
    if len(nonce) != NONCE_BYTES:
        raise ValueError("a nonce has 12 bytes")
    return nonce + _cipher(key).encrypt(nonce, body, env_hash.encode("utf-8"))


def open_sealed(key: bytes, env_hash: str, sealed: bytes) -> bytes:
    """Return the body; raises SealBroken when it does not open, ValueError when the key is not 32 bytes."""
    cipher = _cipher(key)
    if len(sealed) < NONCE_BYTES + TAG_BYTES:
        raise SealBroken("the sealed body is too short")
    try:
        return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], env_hash.encode("utf-8"))
    except InvalidTag:
        raise SealBroken("the sealed body does not open with this key and env hash") from None


def opened_size(sealed: bytes) -> int:
    """Return the size of the body in these sealed bytes."""
    return max(len(sealed) - NONCE_BYTES - TAG_BYTES, 0)


def _cipher(key: bytes) -> AESGCM:
    if len(key) != KEY_BYTES:
        raise ValueError("a body key has 32 bytes")
    return AESGCM(key)
