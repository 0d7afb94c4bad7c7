"""The name of a lease: a UUIDv7 (RFC 9562) that tells when the lease began and, in its last 8 digits, which running gateway holds it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

HOLDER_DIGITS: Final = 8
"""Of a running gateway's number, in hexadecimal: 32 bits, so that the rest of the name is still chance enough."""


def lease_name(uuid7: str, holder: str) -> str:
    """Return the name of a lease from a fresh UUIDv7 and the number of the running gateway that holds it."""
    return uuid7[:-HOLDER_DIGITS] + holder


def holder_of(lease: str) -> str:
    """Return the number of the running gateway that holds a lease."""
    return lease[-HOLDER_DIGITS:]


def begun_at(lease: str) -> datetime:
    """Return when a lease began: the first 48 bits of its name are milliseconds since 1970."""
    milliseconds = int(lease.replace("-", "")[:12], 16)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
