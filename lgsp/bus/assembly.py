"""How the parts of the bus of one gateway are wired to each other, and how long they live."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from lgsp.bus.announcer import Announcer
from lgsp.bus.auditor import Auditor
from lgsp.bus.authentication import Authenticator
from lgsp.bus.body_keys import BodyKeys
from lgsp.bus.bundles import Bundles
from lgsp.bus.cataloguer import Cataloguer
from lgsp.bus.courier import Courier
from lgsp.bus.custody import Custody
from lgsp.bus.edge_refusals import EdgeRefusals
from lgsp.bus.engines import Engines
from lgsp.bus.fairness import Rates, Turns
from lgsp.bus.figures import Figures
from lgsp.bus.health import Health
from lgsp.bus.hearing import Hearing
from lgsp.bus.ingress import Ingress
from lgsp.bus.logtree import LogTree
from lgsp.bus.moves import Moves
from lgsp.bus.parking import Parking
from lgsp.bus.parts import Parts
from lgsp.bus.persons import Persons
from lgsp.bus.placing import Placing
from lgsp.bus.planning import Planner
from lgsp.bus.progress import Progress
from lgsp.bus.promises import Promises
from lgsp.bus.publisher import Publisher
from lgsp.bus.quotas import Quotas
from lgsp.bus.refusing import Refusing
from lgsp.bus.registry import Registry
from lgsp.bus.replies import Replies
from lgsp.bus.retention import Forgetting
from lgsp.bus.room import Room
from lgsp.bus.sandbox import Sandbox
from lgsp.bus.searching import Searcher
from lgsp.bus.sequencer import Sequencer
from lgsp.bus.settlement import Settlement
from lgsp.bus.steward import Steward
from lgsp.bus.strays import Strays
from lgsp.bus.supervisor import Bus, Tasks
from lgsp.bus.sweep import Sweep
from lgsp.bus.takeover import Takeover
from lgsp.bus.vitals import Vitals
from lgsp.bus.witnessing import Witnessing


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """The parts of the bus that the others stand on."""

    engines: Engines
    figures: Figures
    announcer: Announcer
    sequencer: Sequencer
    registry: Registry
    refusals: EdgeRefusals
    moves: Moves
    quotas: Quotas
    body_keys: BodyKeys
    progress: Progress
    publisher: Publisher
    room: Room


def assemble(parts: Parts, tasks: Tasks) -> Bus:
    """Wire the parts; nothing runs yet."""
    base = _base(parts)
    courier = _courier(parts, base, tasks)
    replies = Replies(
        courier=courier,
        ledger=parts.store,
        inboxes=parts.store,
        progress=base.progress,
        announcer=base.announcer,
        moves=base.moves,
    )
    hearing = _hearing(parts, base, courier, replies)
    ingress = _ingress(parts, base, courier, replies)
    auditor = _auditor(parts, base)
    sweep = _sweep(parts, base, courier, auditor, hearing)
    searcher = Searcher.of(parts, auditor=auditor, cataloguer=sweep.cataloguer, registry=base.registry)
    witnessing = Witnessing(anchor=parts.anchor, auditor=auditor, ingress=ingress, limits=parts.limits)
    return Bus(
        gateway=parts.gateway,
        bus=parts.bus,
        clock=parts.clock,
        entropy=parts.entropy,
        limits=parts.limits,
        ledger=parts.store,
        registry=base.registry,
        authenticator=Authenticator(
            registry=base.registry, sequencer=base.sequencer, clock=parts.clock, limits=parts.limits
        ),
        ingress=ingress,
        sandbox=Sandbox(
            registry=base.registry, ledger=parts.store, quotas=base.quotas, rates=ingress.rates, clock=parts.clock
        ),
        courier=courier,
        settlement=_settlement(parts, base, courier),
        replies=replies,
        progress=base.progress,
        auditor=auditor,
        searcher=searcher,
        bundles=Bundles.of(parts, searcher),
        parking=_parking(parts, base),
        health=Health(
            engines=base.engines,
            registry=base.registry,
            ingress=ingress,
            sweep=sweep,
            room=base.room,
            witnessing=witnessing,
        ),
        persons=Persons.of(parts, sequencer=base.sequencer, registry=base.registry),
        steward=_steward(parts, base),
        refusals=base.refusals,
        sequencer=base.sequencer,
        sweep=sweep,
        hearing=hearing,
        quotas=base.quotas,
        room=base.room,
        figures=base.figures,
        vitals=Vitals(ledger=parts.store, room=base.room, clock=parts.clock),
        tasks=tasks,
    )


def _base(parts: Parts) -> _Base:
    engines, figures = Engines(ledger=parts.store, probes=parts.probes), Figures()
    announcer = Announcer(neighbours=parts.neighbours)
    sequencer = Sequencer(
        ledger=parts.store,
        signer=parts.gateway_key,
        gateway=parts.gateway,
        log=parts.log,
        clock=parts.clock,
        engines=engines,
        figures=figures,
    )
    registry = Registry(store=parts.store, bus=parts.bus, registrar=parts.registrar)
    moves = Moves(
        gateway=parts.gateway,
        holder=parts.neighbours.holder,
        embedded=parts.transport.embedded,
        retry=parts.retry,
        limits=parts.limits,
    )
    progress = Progress(
        registry=registry,
        ledger=parts.store,
        inboxes=parts.store,
        sequencer=sequencer,
        figures=figures,
        announcer=announcer,
    )
    return _Base(
        engines=engines,
        figures=figures,
        announcer=announcer,
        sequencer=sequencer,
        registry=registry,
        refusals=EdgeRefusals(gateway=parts.gateway, clock=parts.clock, limits=parts.limits),
        moves=moves,
        quotas=Quotas(ledger=parts.store, clock=parts.clock),
        body_keys=BodyKeys(
            wrap=parts.body_wrap, store=parts.store, sequencer=sequencer, clock=parts.clock, entropy=parts.entropy
        ),
        progress=progress,
        publisher=Publisher(
            inboxes=parts.store,
            transport=parts.transport,
            progress=progress,
            announcer=announcer,
            moves=moves,
            figures=figures,
        ),
        room=Room(inboxes=parts.store, limits=parts.limits),
    )


def _courier(parts: Parts, base: _Base, tasks: Tasks) -> Courier:
    return Courier(
        registry=base.registry,
        inboxes=parts.store,
        transport=parts.transport,
        publisher=base.publisher,
        progress=base.progress,
        room=base.room,
        body_keys=base.body_keys,
        moves=base.moves,
        figures=base.figures,
        clock=parts.clock,
        entropy=parts.entropy,
        spawn=tasks.spawn,
        strays=Strays(clock=parts.clock),
        limits=parts.limits,
    )


def _settlement(parts: Parts, base: _Base, courier: Courier) -> Settlement:
    return Settlement(
        registry=base.registry,
        inboxes=parts.store,
        progress=base.progress,
        courier=courier,
        moves=base.moves,
        clock=parts.clock,
        limits=parts.limits,
    )


def _ingress(parts: Parts, base: _Base, courier: Courier, replies: Replies) -> Ingress:
    placing = Placing(
        inboxes=parts.store,
        publisher=base.publisher,
        progress=base.progress,
        replies=replies,
        promises=Promises(courier=courier, moves=base.moves, entropy=parts.entropy),
        moves=base.moves,
        room=base.room,
        clock=parts.clock,
    )
    return Ingress(
        registry=base.registry,
        ledger=parts.store,
        sequencer=base.sequencer,
        engines=base.engines,
        figures=base.figures,
        placing=placing,
        planner=Planner(
            gateway=parts.gateway,
            placing=placing,
            moves=base.moves,
            body_keys=base.body_keys,
            subject_keys=parts.subject_keys,
            entropy=parts.entropy,
        ),
        quotas=base.quotas,
        rates=Rates(rate=parts.limits.rate, burst=parts.limits.burst, now=time.monotonic),
        turns=Turns(places=parts.limits.judged_at_once, most=parts.limits.judged_of_one),
        refusing=Refusing(registry=base.registry, sequencer=base.sequencer, edge=base.refusals),
        body_keys=base.body_keys,
        clock=parts.clock,
    )


def _auditor(parts: Parts, base: _Base) -> Auditor:
    return Auditor(
        gateway=parts.gateway,
        origin=parts.log,
        key=parts.log_key,
        ledger=parts.store,
        tree=LogTree(ledger=parts.store, nodes=parts.store),
        sequencer=base.sequencer,
        clock=parts.clock,
    )


def _parking(parts: Parts, base: _Base) -> Parking:
    return Parking(
        gateway=parts.gateway,
        ledger=parts.store,
        inboxes=parts.store,
        publisher=base.publisher,
        progress=base.progress,
        sequencer=base.sequencer,
        body_keys=base.body_keys,
        moves=base.moves,
        clock=parts.clock,
    )


def _steward(parts: Parts, base: _Base) -> Steward:
    return Steward(
        gateway=parts.gateway,
        bus=parts.bus,
        origin=parts.log,
        registry=base.registry,
        ledger=parts.store,
        sequencer=base.sequencer,
        announcer=base.announcer,
        clock=parts.clock,
    )


def _hearing(parts: Parts, base: _Base, courier: Courier, replies: Replies) -> Hearing:
    return Hearing(
        neighbours=parts.neighbours,
        registry=base.registry,
        replies=replies,
        courier=courier,
        progress=base.progress,
        inboxes=parts.store,
    )


def _sweep(parts: Parts, base: _Base, courier: Courier, auditor: Auditor, hearing: Hearing) -> Sweep:
    return Sweep(
        inboxes=parts.store,
        transport=parts.transport,
        publisher=base.publisher,
        progress=base.progress,
        sequencer=base.sequencer,
        courier=courier,
        takeover=Takeover(
            neighbours=parts.neighbours,
            inboxes=parts.store,
            progress=base.progress,
            moves=base.moves,
            clock=parts.clock,
            hear=hearing.hear,
        ),
        neighbours=parts.neighbours,
        auditor=auditor,
        room=base.room,
        quotas=base.quotas,
        refusals=base.refusals,
        moves=base.moves,
        forgetting=Forgetting(store=parts.store, sequencer=base.sequencer),
        custody=Custody.of(parts, keys=base.body_keys, progress=base.progress, moves=base.moves),
        cataloguer=Cataloguer(ledger=parts.store, search=parts.store, sequencer=base.sequencer),
        clock=parts.clock,
    )
