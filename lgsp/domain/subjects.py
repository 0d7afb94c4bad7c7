"""Turn a person's number into what the log may hold: a commitment, closed without its salt and pseudonym.

Protocol section 7. Salts and pseudonyms live in an index that can be erased; making salts, holding the key,
finding numbers in a body and judging their form are left to others.
"""

import hmac
from hashlib import sha256
from typing import Final, Literal, get_args

from lgsp.domain.base64url import encode

Scheme = Literal["CCCD", "CMND", "BHXH"]
"""Personal number of twelve digits, old identity card of nine, social insurance."""
SCHEMES: Final[tuple[Scheme, ...]] = get_args(Scheme)

KEY_BYTES: Final = 32
SALT_BYTES: Final = 16
PSEUDONYM_BYTES: Final = 32

_PSEUDONYM_LABEL: Final = b"lgsp/subject/v1\x00"
_COMMITMENT_LABEL: Final = b"lgsp/sc/v1\x00"


def pseudonym(key: bytes, scheme: str, number: str) -> bytes:
    """Return the 32 bytes that stand for one person under one key.

    Raises ValueError, never with the number in it, for a key that is not 32 bytes, an unknown scheme, or a
    number that is empty or not ASCII digits and letters.
    """
    if len(key) != KEY_BYTES:
        raise ValueError("a subject key has 32 bytes")
    if scheme not in SCHEMES:
        raise ValueError("unknown scheme of personal numbers")
    if not (number.isascii() and number.isalnum()):
        raise ValueError("a personal number is ASCII digits and letters")
    message = _PSEUDONYM_LABEL + scheme.encode("ascii") + b"\x00" + number.encode("ascii")
    return hmac.digest(key, message, "sha256")


def commitment(salt: bytes, ps: bytes) -> str:
    """Return the log's `sc` member, 43 characters; ValueError unless salt has 16 bytes and pseudonym 32."""
    if len(salt) != SALT_BYTES or len(ps) != PSEUDONYM_BYTES:
        raise ValueError("a commitment needs 16 bytes of salt and 32 of pseudonym")
    return encode(sha256(_COMMITMENT_LABEL + salt + ps).digest())
