"""Commands on a running bus: put a directory in place, tell the status, decide on what is parked. Through which doors they come is `commands`'."""

from __future__ import annotations

from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from lgsp.http import bodies, breach, evidence, parked, persons
from lgsp.http.calls import Count, Form, Nothing, Reason, json_of
from lgsp.http.commands import Asked, Command, told
from lgsp.http.wiring import BUS, SHOWN_STREAMS


class Publication(Form):
    """A new version of the directory: statement, records and new schema documents, as the texts that are signed and hashed."""

    statement: str
    records: list[str]
    documents: dict[str, str] = Field(default_factory=dict)
    reason: Reason


class Published(Form):
    """The version that is in force now."""

    version: Annotated[int, Field(ge=1)]


class Status(Form):
    """What the gateway is doing; each part is `ok`, or what is wrong with it in a word."""

    bus: str
    gateway: str
    version: Annotated[int, Field(ge=0, description="The version of the directory in force.")]
    entries: Annotated[int, Field(ge=0, description="The size of the log.")]
    streams: Count
    in_flight: Annotated[dict[str, int], Field(description="Deliveries that are leased, by receiver.")]
    ready: bool
    parts: dict[str, str]


async def post_directory(request: web.Request, asked: Asked[Publication]) -> web.Response:
    """Put a directory in place that the registrar signed, and give its version."""
    publication = asked.stated
    version = await request.app[BUS].steward.publish_directory(
        statement=publication.statement.encode(),
        records=[record.encode() for record in publication.records],
        documents={urn: text.encode() for urn, text in publication.documents.items()},
        reason=publication.reason,
        by=asked.by,
    )
    return told({"version": version})


async def get_status(request: web.Request, _: Asked[Nothing]) -> web.Response:
    """Tell what the gateway is doing."""
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
    Command(
        method="POST",
        path="/admin/directory",
        run=post_directory,
        states=Publication,
        vi="Đưa vào hiệu lực một danh bạ do bộ phận quản lý danh bạ ký; cho số phiên bản.",
        answers=(json_of(Published, "The directory is in force."),),
        codes=frozenset({"directory_invalid", "directory_moved"}),
        roles=frozenset({"registrar"}),
    ),
    Command(
        method="GET",
        path="/admin/status",
        run=get_status,
        states=Nothing,
        vi="Cho biết cổng đang làm gì.",
        answers=(json_of(Status, "The status."),),
        roles=frozenset({"viewer", "operator", "registrar"}),
    ),
    *parked.COMMANDS,
    *evidence.COMMANDS,
    *bodies.COMMANDS,
    *persons.COMMANDS,
    *breach.COMMANDS,
)
