"""Every size and time limit of the protocol in one documented place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of protocol sections 3-5; sizes in bytes, times as durations."""

    envelope_bytes: int = 7_168
    """A compact JWS; fits an HTTP header of 8,190 bytes."""
    statement_bytes: int = 7_168
    """A receipt, ack, auth or directory statement in compact form."""
    body_bytes: int = 64 * 1024
    """A body, unless its service states more."""
    schema_bytes: int = 256 * 1024
    """A schema document; what one may hold is bounded by `domain.dialect`."""
    clock_ahead: timedelta = timedelta(seconds=60)
    """How far a `recordedtime` may lie after the bus clock."""
    auth_life: timedelta = timedelta(seconds=60)
    """`exp` - `iat` of an authorization."""
    auth_skew: timedelta = timedelta(seconds=300)
    """How far an authorization's clock may differ from the bus clock."""
    auth_memory: timedelta = timedelta(minutes=11)
    """How long a `jti` is remembered: twice the skew plus the life."""
    lease: timedelta = timedelta(minutes=5)
    """How long a receiver holds a delivery; at most 10 minutes."""
    lease_max: timedelta = timedelta(minutes=10)
    """How long a lease can be extended to."""
    refusals_per_minute: int = 20
    """Identical refusals of one sender that get an entry of their own in a minute."""
    frame_bytes: int = 256 * 1024
    """One stream frame: an envelope of the largest body in base64url, with room."""
    group_frames: int = 64
    """Frames in one message of a stream that agreed to groups."""
    group_bytes: int = 128 * 1024
    """Those frames together; a larger one goes alone."""
    unsent_bytes: int = 4 * 1024 * 1024
    """What may wait unsent on one stream before it is closed as a slow reader."""
    max_inflight: int = 512
    """Unanswered `send` frames on one stream."""
    inflight_bytes: int = 8 * 1024 * 1024
    """Their envelopes together; the message that reaches it is taken, and nothing more is read until some are answered."""
    judged_at_once: int = 16
    """Places for envelopes that are being judged: the others wait, one of each sender before a second of any."""
    judged_of_one: int = 8
    """How many of these places one sender may hold; a group of its envelopes, up to 32, holds them until all of it is judged, sixteen at a
    time, eight while people ask."""
    rate: float = 400.0
    """Envelopes a second that one sender may send in the long run, unless `http.sender_rate` says otherwise."""
    burst: int = 800
    """Envelopes that one sender may send at once, after a rest; always twice the rate."""
    inbox_bytes: int = 256 * 1024 * 1024
    """What may be open in one inbox; what would be more is refused (`inbox_full`)."""
    requests_open: int = 8
    """Requests of one sender that may wait or be in hand in the request lane of one inbox; what is more goes by the bulk lane."""
    republish: timedelta = timedelta(seconds=5)
    """How long a delivery may be accepted and not queued before the sweep publishes it, whoever accepted it."""
    witness_alarm: timedelta = timedelta(minutes=10)
    """How long the log may be without a word of its witness before somebody is told."""
    unwitnessed: timedelta | None = None
    """How long envelopes are taken in without a word of the witness; None for as long as it takes."""
    credit: int = 1_024
    """Deliveries that one stream may hold at most, whatever credit it gives."""


LIMITS = Limits()
"""The protocol's own figures; tests hand smaller ones to what they test."""
