"""A bus in this process, over any store, with the made-up world's directory in place: for tests of what the bus does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from lgsp.backends.embedded import EmbeddedTransport
from lgsp.backends.memory import Neighbourhood
from lgsp.bus.assembly import run_bus
from lgsp.bus.inbox import Handover
from lgsp.bus.parts import Parts
from lgsp.bus.supervisor import Bus
from lgsp.domain import keys, statements
from lgsp.domain.exchange import Delivery
from lgsp.domain.limits import LIMITS, Limits
from lgsp.domain.retry import RETRY, RetryPolicy
from lgsp.domain.statements import Statement
from lgsp.errors import Refusal
from lgsp.ports.anchor import Anchor
from lgsp.ports.clock import Clock, Entropy
from lgsp.ports.store import Store
from lgsp.ports.transport import Transport
from lgsp.testing.world import BUS, GATEWAY, LOG, World

SECRET = bytes(32)


class MadeUpRing:
    """Subject keys in memory (`lgsp.ports.persons.SubjectKeys`); the first one is no secret."""

    def __init__(self) -> None:
        self._keys = [SECRET]

    @property
    def newest(self) -> bytes:
        """The key that makes new pseudonyms."""
        return self._keys[0]

    def all(self) -> list[bytes]:
        """Return every key, the newest first."""
        return list(self._keys)

    def add(self, key: bytes) -> None:
        """Put a key before the others."""
        self._keys.insert(0, key)

    def retire(self) -> bytes:
        """Drop the oldest key and return it; refuse (`last_key`) when it is the only one."""
        if len(self._keys) == 1:
            raise Refusal("last_key")
        return self._keys.pop()


@asynccontextmanager
async def running_bus(
    world: World,
    store: Store,
    *,
    clock: Clock,
    entropy: Entropy,
    transport: Transport | None = None,
    limits: Limits = LIMITS,
    retry: RetryPolicy = RETRY,
    anchor: Anchor | None = None,
) -> AsyncIterator[Bus]:
    """Run a bus over the store, on the embedded transport unless another is given; a store without a directory gets the world's."""
    parts = parts_of(world, store, clock=clock, entropy=entropy)
    parts = replace(parts, transport=transport or parts.transport, limits=limits, retry=retry, anchor=anchor)
    async with run_bus(parts) as bus:
        if bus.registry.current.version == 0:
            await publish(bus, world)
        yield bus


def parts_of(world: World, store: Store, *, clock: Clock, entropy: Entropy) -> Parts:
    """Return the parts of the world's gateway over the store, on the embedded transport."""
    return Parts(
        bus=BUS,
        gateway=GATEWAY,
        log=LOG,
        gateway_key=world.signers["gateway"],
        log_key=world.signers["log"],
        registrar=world.signers["registrar"].public,
        body_wrap=SECRET,
        subject_keys=MadeUpRing(),
        store=store,
        transport=EmbeddedTransport(store),
        clock=clock,
        entropy=entropy,
        neighbours=Neighbourhood().join(),
    )


async def publish(bus: Bus, world: World, *, reason: str = "test") -> int:
    """Put the world's directory in place as the next version."""
    return await bus.steward.publish_directory(
        statement=world.directory.statement, records=world.directory.encoded, documents=world.documents, reason=reason
    )


def ack_of(
    world: World, signer: str, system: str, *envs: str, outcome: str = "accepted", code: str = ""
) -> list[Statement]:
    """Return a receiver's acks of these envelopes under one signature."""
    items = [statements.ack_item(env, outcome, code=code) for env in envs]
    head = statements.ack_head(system=system, at=world.now)
    signing: keys.PrivateKey = world.signers[signer]
    return statements.sign_batch(items, head, typ=statements.ACK, signer=signing)


@dataclass(slots=True)
class Tray:
    """A receiver that keeps what it is handed."""

    handed: list[Handover] = field(default_factory=list)
    outcomes: list[Delivery] = field(default_factory=list)

    def hand_over(self, handover: Handover) -> None:
        """Keep one delivery."""
        self.handed.append(handover)

    def outcome(self, delivery: Delivery) -> None:
        """Keep what became of something sent."""
        self.outcomes.append(delivery)
