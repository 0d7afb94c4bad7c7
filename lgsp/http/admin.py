"""The admin socket: commands on a running bus, for whoever may open a file of mode 0600 in its data folder.

What is asked for is signed by the registrar (the directory) or read only (the status); nothing here is decided.
"""

from __future__ import annotations

from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lgsp.bus.supervisor import Bus
from lgsp.domain import strictjson
from lgsp.errors import Refusal
from lgsp.http.edge import create_bare_app
from lgsp.http.requests import query_of, read_members
from lgsp.http.settings import HTTP_LIMITS, HttpLimits
from lgsp.http.streams import Streams
from lgsp.http.wiring import BUS, SETTINGS, SHOWN_STREAMS, STREAMS

REASON_MAX: Final = 200


class Publication(BaseModel):
    """A new version of the directory: statement, records and new schema documents, as the texts that are signed and hashed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    statement: str
    records: list[str]
    documents: dict[str, str] = Field(default_factory=dict)
    reason: Annotated[str, Field(min_length=1, max_length=REASON_MAX)]


def create_admin_app(
    bus: Bus, *, streams: Streams | None = None, settings: HttpLimits = HTTP_LIMITS
) -> web.Application:
    """Return the application of the admin socket; `streams` are those of the public one, for the status."""
    app = create_bare_app(bus, settings=settings)
    app[SHOWN_STREAMS] = app[STREAMS] if streams is None else streams
    app.router.add_route("POST", "/admin/directory", post_directory)
    app.router.add_route("GET", "/admin/status", get_status)
    return app


async def post_directory(request: web.Request) -> web.Response:
    """Put a directory in place that the registrar signed, and give its version."""
    query_of(request)
    _, members = await read_members(request, request.app[SETTINGS].admin_bytes)
    publication = _publication(members)
    version = await request.app[BUS].steward.publish_directory(
        statement=publication.statement.encode(),
        records=[record.encode() for record in publication.records],
        documents={urn: text.encode() for urn, text in publication.documents.items()},
        reason=publication.reason,
    )
    return web.Response(text=f'{{"version":{version}}}', content_type="application/json")


def _publication(members: dict[str, object]) -> Publication:
    try:
        return Publication.model_validate(members)
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, row['loc']))}: {row['msg']}" for row in error.errors(include_url=False))
        raise Refusal("bad_request", found) from None


async def get_status(request: web.Request) -> web.Response:
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
    return web.Response(body=strictjson.compact(members), content_type="application/json")
