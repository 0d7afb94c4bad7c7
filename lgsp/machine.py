"""The machine's own clock and randomness: what `ports.clock` asks for, outside of tests."""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime
from typing import Final

VERSION_7: Final = 0x7 << 76
VARIANT: Final = 0b10 << 62
RANDOM_A: Final = (1 << 12) - 1
RANDOM_B: Final = (1 << 62) - 1


class SystemClock:
    """The operating system's clock."""

    def now(self) -> datetime:
        """Return the present moment as an aware UTC time."""
        return datetime.now(UTC)


class SystemEntropy:
    """The operating system's randomness."""

    def token(self, size: int) -> bytes:
        """Return `size` random bytes."""
        return secrets.token_bytes(size)

    def uuid7(self) -> str:
        """Return a UUIDv7 (RFC 9562 section 5.7) of the present moment, lower case: 48 bits of milliseconds, 74 random bits."""
        milliseconds = int(datetime.now(UTC).timestamp() * 1000)
        chance = secrets.randbits(74)
        high = (chance >> 62) & RANDOM_A
        return str(uuid.UUID(int=(milliseconds << 80) | VERSION_7 | (high << 64) | VARIANT | (chance & RANDOM_B)))
