"""`POST /v1/check`: what the bus would say about an envelope, and what it computed; nothing is sent. Open to all, for the envelope is signed."""

from __future__ import annotations

from aiohttp import web

from lgsp.domain import opinion
from lgsp.errors import Refusal
from lgsp.http.commands import told
from lgsp.http.envelopes import check_connection, wire_of
from lgsp.http.problems import language_of
from lgsp.http.requests import query_of
from lgsp.http.wiring import BUS


async def post_check(request: web.Request) -> web.Response:
    """Judge an envelope without accepting it: 200 with the verdict, the steps and what was computed, also when it would be refused."""
    query_of(request)
    language = language_of(request.headers.get("Accept-Language", ""))
    try:
        wire = await wire_of(request)
        check_connection(request, wire)
    except Refusal as refusal:
        if refusal.code != "structured":
            raise
        return told(opinion.unread(refusal).told({}, language))
    formed, computed = await request.app[BUS].sandbox.opinion(wire)
    return told(formed.told(computed, language))
