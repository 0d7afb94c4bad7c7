"""Turn a person's number into what the log may hold: a commitment, closed without its salt and pseudonym.

Protocol section 7. Salts and pseudonyms live in an index that can be erased; making salts, holding the key,
finding numbers in a body and judging their form are left to others.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal, get_args

from lgsp.domain.base64url import encode
from lgsp.errors import Refusal

Scheme = Literal["CCCD", "CMND", "BHXH"]
"""Personal number of twelve digits, old identity card of nine, social insurance."""
SCHEMES: Final[tuple[Scheme, ...]] = get_args(Scheme)

NUMBER_FORMS: Final[dict[str, re.Pattern[str]]] = {
    "CCCD": re.compile("[0-9]{12}"),
    "CMND": re.compile("[0-9]{9}|[0-9]{12}"),
    "BHXH": re.compile("[0-9]{10}"),
}
"""How a number looks that people ask about; what bodies may hold is said by their schemas."""

KEY_BYTES: Final = 32
SALT_BYTES: Final = 16
PSEUDONYM_BYTES: Final = 32

_PSEUDONYM_LABEL: Final = b"lgsp/subject/v1\x00"
_COMMITMENT_LABEL: Final = b"lgsp/sc/v1\x00"
_KEY_LABEL: Final = b"lgsp/subject-key/v1\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Whom a question is about; the number shows in no text of this value."""

    scheme: str
    number: str = field(repr=False)

    def pseudonym(self, key: bytes) -> bytes:
        """Return the 32 bytes that stand for this person under a key."""
        return pseudonym(key, self.scheme, self.number)


def person(scheme: str, number: str) -> Person:
    """Return the person of a number; refuse (`bad_request`), never with the number, what no number of this scheme looks like."""
    form = NUMBER_FORMS.get(scheme)
    if form is None:
        raise Refusal("bad_request", f"the scheme of a number is one of {', '.join(SCHEMES)}", pointer="/scheme")
    if form.fullmatch(number) is None:
        raise Refusal("bad_request", f"the number is none of the scheme {scheme}", pointer="/number")
    return Person(scheme=scheme, number=number)


def key_name(key: bytes) -> str:
    """Return what the log calls a subject key: nothing of the key can be told from it."""
    return "subject-key:" + encode(sha256(_KEY_LABEL + key).digest()[:16])


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
