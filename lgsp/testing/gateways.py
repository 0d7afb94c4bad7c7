"""Several gateways of the made-up world on one PostgreSQL database, in this process, each with its edge: for tests of what holds between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from lgsp.app import beside_others, run_on_broker
from lgsp.backends.sql import PostgresLedger
from lgsp.bus.assembly import run_bus
from lgsp.machine import SystemEntropy
from lgsp.ports.anchor import Anchor
from lgsp.ports.clock import Clock
from lgsp.testing.bus import parts_of, publish
from lgsp.testing.edge import Edge, behind_edge
from lgsp.testing.world import BUS, World, key_record, signer_named


def gateway_urn(name: str) -> str:
    """Return the URN of the world's gateway of a name."""
    return f"{BUS}:gw:{name}"


def world_of_gateways(now: datetime, *others: str) -> World:
    """Return the usual world in which gateways of these names have keys too, beside its own, `a`."""
    return World.make(
        now=now, added=[key_record(signer_named(gateway_urn(each)), gateway_urn(each), "gateway") for each in others]
    )


@asynccontextmanager
async def running_gateway(
    world: World,
    dsn: str,
    name: str,
    *,
    clock: Clock,
    broker: str = "",
    patience: float = 8.0,
    anchor: Anchor | None = None,
) -> AsyncIterator[Edge]:
    """Run the gateway of a name on a database, deliveries carried by its rows or by a broker; the first one puts the world's directory in place."""
    store = await PostgresLedger.open(dsn, create=True)
    parts = replace(
        parts_of(world, store, clock=clock, entropy=SystemEntropy()),
        gateway=gateway_urn(name),
        anchor=anchor,
        gateway_key=world.signers["gateway"] if name == "a" else signer_named(gateway_urn(name)),
    )
    try:
        async with (
            beside_others(parts, dsn, name=parts.gateway, patience=patience) as placed,
            run_on_broker(placed, broker) if broker else run_bus(placed) as bus,
        ):
            if bus.registry.current.version == 0:
                await publish(bus, world)
            async with behind_edge(world, bus) as edge:
                yield edge
    finally:
        await store.close()
