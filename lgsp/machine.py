"""The machine's own clock and randomness, which `ports.clock` asks for outside of tests, its disk and its memory."""

from __future__ import annotations

import gc
import os
import secrets
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

VARIANT: Final = {f"{digit:x}": f"{0b1000 | digit & 0b11:x}" for digit in range(16)}
"""The digit of a UUID that holds its variant, by a random one: its upper two bits are 10, the others by chance."""
PIECE: Final = 4096
"""Random bytes asked for at once."""
COLLECT_EVERY: Final = 10_000
"""New objects after which the youngest are looked through; the interpreter's own 700 are not one message."""


class SystemClock:
    """The operating system's clock."""

    def now(self) -> datetime:
        """Return the present moment as an aware UTC time."""
        return datetime.now(UTC)


class SystemEntropy:
    """The operating system's randomness, asked for in larger pieces: a call for each token cost a busy gateway a twentieth of its time.

    No byte is given out twice, whatever thread or forked process asks.
    """

    def __init__(self) -> None:
        self._one = threading.Lock()
        self._piece = b""
        self._place = 0
        self._process = 0

    def token(self, size: int) -> bytes:
        """Return `size` random bytes."""
        with self._one:
            if self._place + size > len(self._piece) or self._process != os.getpid():
                self._piece, self._place, self._process = secrets.token_bytes(max(PIECE, size)), 0, os.getpid()
            self._place += size
            return self._piece[self._place - size : self._place]

    def uuid7(self) -> str:
        """Return a UUIDv7 (RFC 9562 section 5.7) of the present moment, lower case: 48 bits of milliseconds, 74 random bits."""
        digits = (time.time_ns() // 1_000_000).to_bytes(6).hex() + self.token(10).hex()
        return f"{digits[:8]}-{digits[8:12]}-7{digits[13:16]}-{VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"


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
