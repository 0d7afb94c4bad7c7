"""The machine's own clock and randomness, which `ports.clock` asks for outside of tests, its disk and its memory."""

from __future__ import annotations

import gc
import os
import secrets
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

VERSION_7: Final = 0x7 << 76
VARIANT: Final = 0b10 << 62
RANDOM_A: Final = (1 << 12) - 1
RANDOM_B: Final = (1 << 62) - 1
COLLECT_EVERY: Final = 10_000
"""New objects after which the youngest are looked through; the interpreter's own 700 are not one message."""


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


def sync(path: Path) -> None:
    """Have a file's bytes, or a folder's names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def spare_collector() -> None:
    """Keep the garbage collector from looking through what this process holds for good, and from looking often; call it once all is loaded.

    A message leaves no cycles behind, so there is little to find. A full look through all modules and the directory took 250 ms on a slow
    machine, during which nobody was answered, and a sixth of a busy gateway's time went into looking.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, *gc.get_threshold()[1:])
