"""Encrypt a private key for its file: PKCS#8 under a passphrase (PBES2 of RFC 8018, with scrypt and AES-256-CBC), as PEM.

The library reads this form and writes only one whose passphrase is quick to guess, so the few bytes around the ciphertext are written here.
Reading is the library's. Where files and passphrases come from is left to `keyfiles` and `passphrases`.
"""

from __future__ import annotations

import base64
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7

SALT_BYTES: Final = 16
IV_BYTES: Final = 16
COST: Final = 2**14
"""N of scrypt: with r = 8 one guess takes 16 MiB. Twice as much is beyond what OpenSSL reads without being told to."""
BLOCK: Final = 8
PARALLEL: Final = 5
"""p of scrypt: five passes for each guess (OWASP's advice for this N)."""
INTEGER, OCTETS, SEQUENCE = 0x02, 0x04, 0x30
LONG: Final = 0x80
"""From here on a length in DER is written with its own length before it."""
PBES2: Final = bytes.fromhex("06092a864886f70d01050d")
SCRYPT: Final = bytes.fromhex("06092b06010401da47040b")
AES_256_CBC: Final = bytes.fromhex("060960864801650304012a")
LABEL: Final = "ENCRYPTED PRIVATE KEY"
"""What stands in the first and last line of the PEM form (RFC 7468)."""
LINE: Final = 64


def encrypt_key(pkcs8: bytes, passphrase: bytes, *, salt: bytes, iv: bytes) -> bytes:
    """Return an unencrypted PKCS#8 key (DER) as encrypted PEM; salt and IV are 16 random bytes each, never used again."""
    if len(salt) != SALT_BYTES or len(iv) != IV_BYTES:
        raise ValueError("salt and IV have 16 bytes each")
    key = Scrypt(salt=salt, length=32, n=COST, r=BLOCK, p=PARALLEL).derive(passphrase)
    padder, encryptor = PKCS7(128).padder(), Cipher(AES256(key), CBC(iv)).encryptor()
    sealed = encryptor.update(padder.update(pkcs8) + padder.finalize()) + encryptor.finalize()
    costs = b"".join(_integer(number) for number in (COST, BLOCK, PARALLEL))
    kdf = _tlv(SEQUENCE, SCRYPT + _tlv(SEQUENCE, _tlv(OCTETS, salt) + costs))
    cipher = _tlv(SEQUENCE, AES_256_CBC + _tlv(OCTETS, iv))
    scheme = _tlv(SEQUENCE, PBES2 + _tlv(SEQUENCE, kdf + cipher))
    return _pem(_tlv(SEQUENCE, scheme + _tlv(OCTETS, sealed)))


def _tlv(tag: int, value: bytes) -> bytes:
    """Return a value in DER: tag, length, bytes."""
    size = len(value)
    if size < LONG:
        return bytes((tag, size)) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, LONG | len(length))) + length + value


def _integer(number: int) -> bytes:
    return _tlv(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))  # one bit more: it is positive


def _pem(der: bytes) -> bytes:
    text = base64.b64encode(der).decode()
    lines = (text[start : start + LINE] for start in range(0, len(text), LINE))
    return "\n".join((f"-----BEGIN {LABEL}-----", *lines, f"-----END {LABEL}-----", "")).encode()
