"""Probes: alive, ready, and the figures."""

from __future__ import annotations

from aiohttp import web

from lgsp.domain import strictjson
from lgsp.errors import Refusal
from lgsp.http.metrics import Metrics
from lgsp.http.requests import query_of
from lgsp.http.wiring import BUS, METRICS, SHOWN_METRICS, SIBLINGS


async def get_live(request: web.Request) -> web.Response:
    """Tell that the process answers; refuse as `unavailable` when it should be started again."""
    query_of(request)
    if not request.app[BUS].health.live():
        raise Refusal("unavailable")
    return web.Response(text='{"live":true}', content_type="application/json")


async def get_ready(request: web.Request) -> web.Response:
    """Tell whether envelopes are taken, part by part; refuse as `not_ready` with what is wrong."""
    query_of(request)
    ready, states = await request.app[BUS].health.ready()
    if not ready:
        wrong = [f"{name}: {state}" for name, state in states.items() if state != "ok"]
        raise Refusal("not_ready", degraded=wrong)
    return web.Response(body=strictjson.compact({"ready": True, "parts": states}), content_type="application/json")


async def get_metrics(request: web.Request) -> web.Response:
    """Give all figures in Prometheus text format, those of the other workers too where there are some."""
    query_of(request)
    text, content_type = _figures(request, request.app[METRICS])
    siblings = request.app.get(SIBLINGS)
    if siblings is not None:
        text = (await siblings.figures(text.decode())).encode()
    return web.Response(body=text, headers={"Content-Type": content_type})


async def get_own_metrics(request: web.Request) -> web.Response:
    """Give the figures of this process alone, to another worker of the gateway."""
    query_of(request)
    text, content_type = _figures(request, request.app[SHOWN_METRICS])
    return web.Response(body=text, headers={"Content-Type": content_type})


def _figures(request: web.Request, metrics: Metrics) -> tuple[bytes, str]:
    metrics.show_depths(request.app[BUS].room.depths)
    return metrics.exposition()
