"""The composition root: the only module that names a backend. It wires the parts of one gateway and owns their life."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from lgsp import keyfiles
from lgsp.backends.embedded import EmbeddedTransport
from lgsp.backends.sql.sqlite import SqliteLedger
from lgsp.bus.auditor import Auditor
from lgsp.bus.authentication import Authenticator
from lgsp.bus.body_keys import BodyKeys
from lgsp.bus.courier import Courier
from lgsp.bus.edge_refusals import EdgeRefusals
from lgsp.bus.health import Health
from lgsp.bus.ingress import Ingress
from lgsp.bus.moves import Moves
from lgsp.bus.quotas import Quotas
from lgsp.bus.registry import Registry
from lgsp.bus.sequencer import Sequencer
from lgsp.bus.steward import Steward
from lgsp.bus.supervisor import Bus, Tasks
from lgsp.bus.sweep import Sweep
from lgsp.config import Settings
from lgsp.domain.keys import PrivateKey, PublicKey
from lgsp.domain.limits import LIMITS, Limits
from lgsp.domain.retry import RETRY, RetryPolicy
from lgsp.machine import SystemClock, SystemEntropy
from lgsp.ports.clock import Clock, Entropy
from lgsp.ports.directory import DirectoryStore
from lgsp.ports.inboxes import Inboxes
from lgsp.ports.ledger import Ledger
from lgsp.ports.transport import Transport


class Store(Ledger, Inboxes, DirectoryStore, Protocol):
    """A backend that keeps everything: log, deliveries and directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a gateway is made of, from outside the bus."""

    bus: str
    gateway: str
    log: str
    gateway_key: PrivateKey
    log_key: PrivateKey
    registrar: PublicKey
    body_wrap: bytes = field(repr=False)
    subject_key: bytes = field(repr=False)
    store: Store
    transport: Transport
    clock: Clock
    entropy: Entropy
    limits: Limits = LIMITS
    retry: RetryPolicy = RETRY


@asynccontextmanager
async def open_bus(settings: Settings, *, create: bool = False) -> AsyncIterator[Bus]:
    """Run the bus of a data folder, whose lock the caller holds; `create` makes an empty ledger where there is none."""
    gateway_key = keyfiles.read_private(settings.keys.gateway)
    log_key = keyfiles.read_private(settings.keys.log)
    body_wrap = keyfiles.read_secret(settings.keys.body)
    subject_key = keyfiles.read_secret(settings.keys.subject)
    store = SqliteLedger.open(settings.storage.path, create=create)
    try:
        parts = Parts(
            bus=settings.bus.urn,
            gateway=settings.bus.gateway,
            log=settings.bus.log,
            gateway_key=gateway_key,
            log_key=log_key,
            registrar=settings.keys.registrar_key(),
            body_wrap=body_wrap,
            subject_key=subject_key,
            store=store,
            transport=EmbeddedTransport(store),
            clock=SystemClock(),
            entropy=SystemEntropy(),
        )
        async with run_bus(parts) as bus:
            yield bus
    finally:
        await store.close()


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """Open what a data folder holds for reading, beside a running gateway or without one."""
    store = SqliteLedger.open(settings.storage.path)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def run_bus(parts: Parts) -> AsyncIterator[Bus]:
    """Run a bus made of these parts until the block ends; when one of its tasks fails the block is cancelled."""
    async with asyncio.TaskGroup() as group:
        bus = assemble(parts, Tasks(group))
        await bus.start()
        try:
            yield bus
        finally:
            await bus.drain()


def assemble(parts: Parts, tasks: Tasks) -> Bus:
    """Wire the parts; nothing runs yet."""
    store, clock, entropy = parts.store, parts.clock, parts.entropy
    sequencer = Sequencer(ledger=store, signer=parts.gateway_key, gateway=parts.gateway, log=parts.log, clock=clock)
    registry = Registry(store=store, bus=parts.bus, registrar=parts.registrar)
    refusals = EdgeRefusals(gateway=parts.gateway, clock=clock, limits=parts.limits)
    moves = Moves(gateway=parts.gateway, retry=parts.retry)
    quotas = Quotas(clock=clock)
    body_keys = BodyKeys(wrap=parts.body_wrap, store=store, sequencer=sequencer, clock=clock, entropy=entropy)
    auditor = Auditor(
        gateway=parts.gateway,
        origin=parts.log,
        key=parts.log_key,
        ledger=store,
        sequencer=sequencer,
        clock=clock,
    )
    courier = Courier(
        registry=registry,
        ledger=store,
        inboxes=store,
        transport=parts.transport,
        sequencer=sequencer,
        body_keys=body_keys,
        moves=moves,
        clock=clock,
        entropy=entropy,
        spawn=tasks.spawn,
        limits=parts.limits,
    )
    ingress = Ingress(
        gateway=parts.gateway,
        registry=registry,
        ledger=store,
        sequencer=sequencer,
        courier=courier,
        quotas=quotas,
        refusals=refusals,
        body_keys=body_keys,
        subject_key=parts.subject_key,
        clock=clock,
        entropy=entropy,
        queued_at_once=parts.transport.embedded,
    )
    return Bus(
        gateway=parts.gateway,
        bus=parts.bus,
        clock=clock,
        entropy=entropy,
        limits=parts.limits,
        ledger=store,
        registry=registry,
        authenticator=Authenticator(registry=registry, sequencer=sequencer, clock=clock, limits=parts.limits),
        ingress=ingress,
        courier=courier,
        auditor=auditor,
        health=Health(ledger=store, registry=registry, ingress=ingress),
        steward=Steward(
            gateway=parts.gateway,
            bus=parts.bus,
            origin=parts.log,
            registry=registry,
            ledger=store,
            sequencer=sequencer,
            clock=clock,
        ),
        refusals=refusals,
        sequencer=sequencer,
        sweep=Sweep(
            inboxes=store,
            transport=parts.transport,
            sequencer=sequencer,
            courier=courier,
            auditor=auditor,
            refusals=refusals,
            moves=moves,
            clock=clock,
        ),
        quotas=quotas,
        tasks=tasks,
    )
