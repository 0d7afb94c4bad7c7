"""Time and chance, as the bus asks for them."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """What time it is."""

    def now(self) -> datetime:
        """Return the present moment as an aware UTC time."""


class Entropy(Protocol):
    """What nobody can guess."""

    def token(self, size: int) -> bytes:
        """Return `size` random bytes."""

    def uuid7(self) -> str:
        """Return a UUIDv7 (RFC 9562) of the present moment, lower case."""
