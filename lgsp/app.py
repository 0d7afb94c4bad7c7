"""The composition root: it opens the engines of one gateway and runs the bus on them. Engines that its settings do not name are not loaded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lgsp.backends import sql
from lgsp.backends.embedded import EmbeddedTransport
from lgsp.backends.memory import Neighbourhood
from lgsp.backends.witness import HttpWitness
from lgsp.bus.assembly import run_bus
from lgsp.bus.parts import Parts
from lgsp.bus.supervisor import Bus
from lgsp.config import Settings
from lgsp.keyfiles import GatewayKeys
from lgsp.ledgers import open_ledger
from lgsp.machine import SystemClock, SystemEntropy
from lgsp.ports.anchor import Anchor
from lgsp.tls import trusting

if TYPE_CHECKING:
    from lgsp.backends.rabbitmq import RabbitTransport

BROKER_SECONDS: Final = 2.0
"""How long a start waits for the broker; a gateway without it runs, and says that it is not ready."""
MISMATCH: Final = "carrier_mismatch"
"""The code of a delivery whose message was not what its row says."""
PATIENCE: Final = 8.0
"""Seconds for which a gateway waits at its start for the one of its name to be gone from the database's view."""


@asynccontextmanager
async def beside_others(parts: Parts, dsn: str, *, name: str, patience: float = PATIENCE) -> AsyncIterator[Parts]:
    """Take the place of a name among the gateways on a database for the block, and give the parts that say so; refuse as `gateway_running`."""
    neighbours = sql.PostgresNeighbours(dsn, gateway=name, clock=parts.clock, patience=patience)
    async with neighbours.running():
        probes = {**parts.probes, "neighbours": neighbours.state, "clock": neighbours.clock_state}
        yield replace(parts, neighbours=neighbours, probes=probes)


@asynccontextmanager
async def open_bus(settings: Settings, *, create: bool = False, worker: int = 0) -> AsyncIterator[Bus]:
    """Run the bus of a data folder, whose lock the caller holds; `create` makes an empty ledger where there is none.

    Several workers of one gateway, each in a process of its own, are numbered from 0.
    """
    files = settings.keys
    keys = GatewayKeys.read(gateway=files.gateway, log=files.log, body=files.body, subject=files.subject)
    async with open_ledger(settings, create=create, write=True) as store, witness_of(settings) as anchor:
        parts = Parts(
            bus=settings.bus.urn,
            gateway=settings.bus.gateway,
            log=settings.bus.log,
            gateway_key=keys.gateway,
            log_key=keys.log,
            registrar=files.registrar_key(),
            body_wrap=keys.body,
            subject_keys=keys.subject,
            store=store,
            transport=EmbeddedTransport(store),
            clock=SystemClock(),
            entropy=SystemEntropy(),
            neighbours=Neighbourhood().join(),
            limits=settings.limits(),
            anchor=anchor,
        )
        async with _placed(parts, settings, worker) as parts:
            running = (
                run_bus(parts)
                if settings.transport.kind == "embedded"
                else run_on_broker(parts, settings.transport.address)
            )
            async with running as bus:
                yield bus


def _placed(parts: Parts, settings: Settings, worker: int) -> AbstractAsyncContextManager[Parts]:
    """Return the parts in their place beside other gateways; a ledger in a file is one gateway's alone, by its data folder's lock."""
    if settings.storage.kind == "sqlite":
        return nullcontext(parts)
    name = f"{parts.gateway}#{worker}" if worker else parts.gateway
    return beside_others(parts, settings.storage.address, name=name)


def witness_of(settings: Settings) -> AbstractAsyncContextManager[Anchor | None]:
    """Return the witness of the settings for a block, None where none is named."""
    witness = settings.witness
    if not witness.url:
        return nullcontext()
    return HttpWitness.open(witness.url, witness.key(), trusting=trusting(witness.ca))


@asynccontextmanager
async def run_on_broker(parts: Parts, url: str) -> AsyncIterator[Bus]:
    """Run a bus made of these parts whose deliveries RabbitMQ carries, whether it is there yet or not."""
    from lgsp.backends.rabbitmq import RabbitTransport  # noqa: PLC0415 - only where there is a broker

    transport = RabbitTransport(
        url, parts.store, bus=parts.bus, clock=parts.clock, inbox_bytes=parts.limits.inbox_bytes
    )
    async with transport.running():
        await transport.connected(BROKER_SECONDS)
        parts = replace(parts, transport=transport, probes={**parts.probes, "broker": transport.state})
        async with run_bus(parts) as bus:
            watch_carriers(transport, bus)
            yield bus


async def broker_trouble(settings: Settings) -> str:
    """Return why the broker of these settings cannot be reached, in a word, or nothing; there must be one."""
    from lgsp.backends.rabbitmq import RabbitTransport  # noqa: PLC0415 - only where there is a broker

    async with open_ledger(settings) as store:
        transport = RabbitTransport(settings.transport.address, store, bus=settings.bus.urn, clock=SystemClock())
        async with transport.running():
            return "" if await transport.connected(BROKER_SECONDS) else transport.trouble or "no answer"


def watch_carriers(transport: RabbitTransport, bus: Bus) -> None:
    """Have the bus park deliveries whose messages are not what their rows say (R06 in docs/security.md), and publish again what was lost."""

    async def park(inbox: str, env: str) -> None:
        await bus.courier.set_aside(inbox, env, code=MISMATCH)

    transport.report_to(mismatched=park, lost=bus.sweep.republish)
