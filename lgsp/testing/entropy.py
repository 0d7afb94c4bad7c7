"""Chance that is the same in every run: for tests and made-up data, never for keys that matter."""

from __future__ import annotations

import random
from typing import Final
from uuid import UUID

from lgsp.ports.clock import Clock
from lgsp.testing.clock import ManualClock

UUID_VERSION: Final = 7 << 76
UUID_VARIANT: Final = 0b10 << 62


def uuid7(milliseconds: int, chance: int) -> str:
    """Return the UUIDv7 (RFC 9562 section 5.7) of a moment and 74 bits of chance."""
    high, low = chance >> 62 & 0xFFF, chance & ((1 << 62) - 1)
    return str(UUID(int=milliseconds << 80 | UUID_VERSION | high << 64 | UUID_VARIANT | low))


class SeededEntropy:
    """Chance drawn from a seed, UUIDs of the clock's moment."""

    def __init__(self, seed: int = 0, clock: Clock | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - to be guessed is its very purpose
        self._clock = clock or ManualClock()

    def token(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        return self._random.randbytes(size)

    def uuid7(self) -> str:
        """Return a UUIDv7 of the clock's moment."""
        return uuid7(int(self._clock.now().timestamp() * 1000), self._random.getrandbits(74))
