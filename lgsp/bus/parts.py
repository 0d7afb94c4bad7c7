"""What a gateway is made of: all of it comes from outside the bus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lgsp.bus.engines import Probe
from lgsp.domain.keys import PrivateKey, PublicKey
from lgsp.domain.limits import LIMITS, Limits
from lgsp.domain.retry import RETRY, RetryPolicy
from lgsp.ports.anchor import Anchor
from lgsp.ports.clock import Clock, Entropy
from lgsp.ports.neighbours import Neighbours
from lgsp.ports.persons import SubjectKeys
from lgsp.ports.store import Store
from lgsp.ports.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One gateway's: who it is, its keys, its engines."""

    bus: str
    gateway: str
    log: str
    gateway_key: PrivateKey
    log_key: PrivateKey
    registrar: PublicKey
    body_wrap: bytes = field(repr=False)
    subject_keys: SubjectKeys
    store: Store
    transport: Transport
    clock: Clock
    entropy: Entropy
    neighbours: Neighbours
    limits: Limits = LIMITS
    retry: RetryPolicy = RETRY
    probes: Mapping[str, Probe] = field(default_factory=dict)
    anchor: Anchor | None = None
