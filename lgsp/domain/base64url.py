"""Write and read base64url without padding, one text for each byte string.

RFC 4648 section 5. Reading is strict: a hash or signature that can be spelled in two ways can be sent twice.
Standard base64 (signed notes) is left to its own module.
"""

from base64 import urlsafe_b64encode
from binascii import Error, a2b_base64
from typing import Final

_TO_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/!!!")
"""What base64url does not know becomes what the decoder does not know."""
_PADDING: Final = (b"", b"", b"==", b"=")
"""By the length of the text modulo 4: what the decoder wants after it. There is no text of 4n+1."""
_LAST: Final = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")
"""By the length of the text modulo 4: the last characters whose spare bits are zero."""
_REFUSED: Final = "not canonical base64url"


def encode(data: bytes) -> str:
    """Return the unpadded base64url text of any bytes."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str | bytes) -> bytes:
    """Return the bytes of an unpadded base64url text.

    Raises ValueError, with a text that never repeats the input, for any text that `encode` does not write:
    padding, white space, the standard alphabet, set tail bits, a length of 4n+1.
    """
    try:
        raw = text.encode("ascii") if isinstance(text, str) else text
        rest = len(raw) % 4
        data = a2b_base64(raw.translate(_TO_STANDARD) + _PADDING[rest], strict_mode=True)
    except (Error, UnicodeEncodeError):
        raise ValueError(_REFUSED) from None
    if rest and raw[-1] not in _LAST[rest]:
        raise ValueError(_REFUSED)
    return data
