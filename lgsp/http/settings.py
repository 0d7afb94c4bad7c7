"""What the edge allows a connection: counts, sizes and times that are its own and not the protocol's (those are `domain.limits`)."""

from __future__ import annotations

from dataclasses import dataclass

from lgsp.bus.elsewhere import WAIT_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Limits of the edge; times in seconds, sizes in bytes."""

    connections: int = 2_000
    """Open connections; one more is closed unanswered."""
    idle_seconds: float = 75.0
    """How long a connection may be open without a whole request; above the 60 s that a call may wait."""
    body_seconds: float = 15.0
    """In which a request's body has to be complete."""
    wait_seconds: int = WAIT_MAX
    """The longest `wait` of an inbox or of `Prefer`."""
    inbox_items: int = 100
    """Deliveries in one answer of the inbox."""
    outcome_items: int = 256
    """Outcomes in one answer, and in one page on a stream."""
    outcomes_again_seconds: float = 5.0
    """After which a stream that was told all it may hold looks whether some of it was seen another way."""
    entry_items: int = 1_000
    """Log entries in one answer."""
    local_entry_items: int = 5_000
    """The same on the admin socket, where a command asks for all that there are."""
    batch_items: int = 256
    """Acks, nacks, extensions or sightings in one call."""
    batch_bytes: int = 1024 * 1024
    """The body of `POST /v1/acks`."""
    admin_bytes: int = 64 * 1024 * 1024
    """The body of a command on the admin socket: every record and schema of a directory."""
    streams_of_one: int = 16
    """Streams of one system."""
    streams_unknown: int = 256
    """Streams that have not said hello."""
    hello_bytes: int = 8 * 1024
    """The first frame of a stream; larger ones are for those who have said hello."""
    hello_seconds: float = 5.0
    """In which a stream has to say hello."""
    heartbeat_seconds: float = 30.0
    """After which a silent stream is asked for a sign of life; half of it is left for the answer."""
    closing_seconds: float = 0.4
    """How long a suspended stream's unanswered work is awaited, and again how long its last frames may take; twice this is under a second."""
    drain_seconds: float = 5.0
    """The same for an orderly end and for a slow reader."""
    retry_after: float = 2.0
    """What a drained stream is told to wait before it connects again."""


HTTP_LIMITS = HttpLimits()
"""The edge's own figures; tests hand smaller ones to what they test."""
