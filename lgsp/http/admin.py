"""Commands on a running bus: put a directory in place, tell the status, decide on what is parked. Through which doors they come is `commands`'."""

from __future__ import annotations

from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from lgsp.domain.entries import REASON_MAX
from lgsp.http import bodies, breach, evidence, parked, persons
from lgsp.http.commands import Asked, Command, told
from lgsp.http.requests import query_of
from lgsp.http.wiring import BUS, SHOWN_STREAMS


class Publication(BaseModel):
    """A new version of the directory: statement, records and new schema documents, as the texts that are signed and hashed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    statement: str
    records: list[str]
    documents: dict[str, str] = Field(default_factory=dict)
    reason: Annotated[str, Field(min_length=1, max_length=REASON_MAX)]


async def post_directory(request: web.Request, asked: Asked) -> web.Response:
    """Put a directory in place that the registrar signed, and give its version."""
    query_of(request)
    publication = asked.read(Publication)
    version = await request.app[BUS].steward.publish_directory(
        statement=publication.statement.encode(),
        records=[record.encode() for record in publication.records],
        documents={urn: text.encode() for urn, text in publication.documents.items()},
        reason=publication.reason,
        by=asked.by,
    )
    return told({"version": version})


async def get_status(request: web.Request, _asked: Asked) -> web.Response:
    """Tell what the gateway is doing."""
    query_of(request)
    bus = request.app[BUS]
    ready, states = await bus.health.ready()
    members = {
        "bus": bus.bus,
        "gateway": bus.gateway,
        "version": bus.registry.current.version,
        "entries": await bus.ledger.size(),
        "streams": len(request.app[SHOWN_STREAMS]),
        "in_flight": dict(bus.courier.in_flight()),
        "ready": ready,
        "parts": states,
    }
    return told(members)


COMMANDS: Final = (
    Command(method="POST", path="/admin/directory", run=post_directory, roles=frozenset({"registrar"})),
    Command(method="GET", path="/admin/status", run=get_status, roles=frozenset({"viewer", "operator", "registrar"})),
    Command(method="GET", path="/admin/parked", run=parked.get_list, roles=frozenset({"viewer", "operator"})),
    Command(method="GET", path="/admin/parked/{env}", run=parked.get_lineage, roles=frozenset({"viewer", "operator"})),
    Command(method="POST", path="/admin/parked/read", run=parked.post_read, roles=frozenset({"operator"})),
    Command(method="POST", path="/admin/parked/replay", run=parked.post_replay, roles=frozenset({"operator"})),
    Command(method="POST", path="/admin/parked/drop", run=parked.post_drop, roles=frozenset({"operator"})),
    Command(method="POST", path="/admin/evidence/body", run=evidence.post_body, roles=frozenset({"operator"})),
    *bodies.COMMANDS,
    *persons.COMMANDS,
    *breach.COMMANDS,
)
