"""Parked deliveries over HTTP: the list, one envelope's story, its bytes, and the decisions. No answer but that of `read` holds any of a body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from lgsp.bus.parking import LISTED_MAX, Choice, Parked, Place
from lgsp.domain import envelope, strictjson
from lgsp.domain.entries import REASON_MAX
from lgsp.domain.exchange import Delivery, Exchange
from lgsp.domain.records import SystemUrn
from lgsp.errors import Refusal
from lgsp.http.commands import Asked, told
from lgsp.http.requests import integer, query_of
from lgsp.http.wiring import BUS

AT_ONCE: Final = 256
"""Deliveries in one decision: one transaction."""
SHOWN: Final = "100"
"""Deliveries in a list that does not ask for more."""

Reason = Annotated[str, Field(min_length=1, max_length=REASON_MAX)]


class Named(BaseModel):
    """One delivery; without `to` the only one of the envelope that is parked."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    env: Annotated[str, Field(pattern=f"^{envelope.HASH_FORM.pattern}$")]
    to: SystemUrn | None = None

    @property
    def place(self) -> Place:
        """What the bus calls it."""
        return self.env, self.to or ""


class Reading(Named):
    """Whose bytes are to be read, and why."""

    reason: Reason


class Decision(BaseModel):
    """What is to be replayed or dropped, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    deliveries: Annotated[list[Named], Field(min_length=1, max_length=AT_ONCE)]
    reason: Reason

    @property
    def places(self) -> list[Place]:
        """What the bus calls them."""
        return [named.place for named in self.deliveries]


async def get_list(request: web.Request, _asked: Asked) -> web.Response:
    """Tell which deliveries are parked, oldest first."""
    query = query_of(request, "system", "type", "code", "limit")
    limit = integer(query.pop("limit", SHOWN), 1, LISTED_MAX, "limit")
    bus = request.app[BUS]
    found = await bus.parking.listing(Choice(**query), limit=limit)
    items = [_parked_members(item) for item in found.items]
    return told(
        {"now": envelope.format_time(bus.clock.now()), "total": found.total, "whole": found.whole, "items": items}
    )


def _parked_members(item: Parked) -> dict[str, Any]:
    held = item.delivery
    return {
        "env": held.env,
        "to": held.to,
        "source": held.source,
        "type": item.type,
        "code": held.code,
        "attempts": held.attempts,
        "expires": envelope.format_time(held.expires),
    }


async def get_lineage(request: web.Request, _asked: Asked) -> web.Response:
    """Tell how an envelope came about and what became of it."""
    query_of(request)
    env = request.match_info["env"]
    if envelope.HASH_FORM.fullmatch(env) is None:
        raise Refusal("not_found", "a story is told of an env hash")
    found = await request.app[BUS].parking.lineage(env)
    chain = [_exchange_members(exchange, deliveries) for exchange, deliveries in found.chain]
    return told({"chain": chain, "entries": found.entries, "searched": found.searched, "whole": found.whole})


def _exchange_members(exchange: Exchange, deliveries: Sequence[Delivery]) -> dict[str, Any]:
    return {
        "env": exchange.env,
        "id": exchange.id,
        "source": exchange.source,
        "type": exchange.type,
        "audience": exchange.audience,
        "accepted_at": envelope.format_time(exchange.accepted_at),
        "expires": envelope.format_time(exchange.expires),
        "cause": exchange.cause,
        "deliveries": [
            {"to": held.to, "state": held.state, "attempts": held.attempts, "code": held.code} for held in deliveries
        ],
    }


async def post_read(request: web.Request, asked: Asked) -> web.Response:
    """Give the original bytes of a parked delivery in structured form, after an entry says who reads them."""
    query_of(request)
    reading = asked.read(Reading)
    wire = await request.app[BUS].parking.read(reading.place, by=asked.by, reason=reading.reason)
    return web.Response(body=strictjson.compact(wire.structured()), content_type=envelope.MEDIA_TYPE)


async def post_replay(request: web.Request, asked: Asked) -> web.Response:
    """Let parked deliveries go out again; one result each."""
    query_of(request)
    decision = asked.read(Decision)
    results = await request.app[BUS].parking.replay(decision.places, by=asked.by, reason=decision.reason)
    return told({"results": [_result(each) for each in results]})


async def post_drop(request: web.Request, asked: Asked) -> web.Response:
    """End parked deliveries; one result each."""
    query_of(request)
    decision = asked.read(Decision)
    results = await request.app[BUS].parking.drop(decision.places, by=asked.by, reason=decision.reason)
    return told({"results": [_result(each) for each in results]})


def _result(refusal: Refusal | None) -> dict[str, str]:
    return {} if refusal is None else {"code": refusal.code, "detail": refusal.detail}
