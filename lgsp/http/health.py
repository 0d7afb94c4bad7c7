"""Probes: alive, ready, and the figures."""

from __future__ import annotations

from typing import Final, Literal

from aiohttp import web

from lgsp.domain import strictjson
from lgsp.errors import Refusal
from lgsp.http.calls import Answer, Call, Content, Form, Nothing, json_of
from lgsp.http.wiring import BUS, METRICS, SHOWN_METRICS, SIBLINGS


class Live(Form):
    """The process answers."""

    live: Literal[True]


class Ready(Form):
    """Envelopes are taken; each part is `ok`, or what is wrong with it in a word."""

    ready: Literal[True]
    parts: dict[str, str]


async def get_live(request: web.Request, _: Nothing) -> web.Response:
    """Tell that the process answers; refuse as `unavailable` when it should be started again."""
    if not request.app[BUS].health.live():
        raise Refusal("unavailable")
    return web.Response(text='{"live":true}', content_type="application/json")


async def get_ready(request: web.Request, _: Nothing) -> web.Response:
    """Tell whether envelopes are taken, part by part; refuse as `not_ready` with what is wrong."""
    ready, states = await request.app[BUS].health.ready()
    if not ready:
        wrong = [f"{name}: {state}" for name, state in states.items() if state != "ok"]
        raise Refusal("not_ready", degraded=wrong)
    return web.Response(body=strictjson.compact({"ready": True, "parts": states}), content_type="application/json")


async def get_metrics(request: web.Request, _: Nothing) -> web.Response:
    """Give all figures in Prometheus text format, those of the other workers too where there are some."""
    text, content_type = request.app[METRICS].exposition()
    siblings = request.app.get(SIBLINGS)
    if siblings is not None:
        text = (await siblings.figures(text.decode())).encode()
    return web.Response(body=text, headers={"Content-Type": content_type})


async def get_own_metrics(request: web.Request, _: Nothing) -> web.Response:
    """Give the figures of this process alone, to another worker of the gateway."""
    text, content_type = request.app[SHOWN_METRICS].exposition()
    return web.Response(body=text, headers={"Content-Type": content_type})


FIGURES: Final = Content(media_type="text/plain", words="Figures in Prometheus text format.")
CALLS: Final = (
    Call(
        method="GET",
        path="/healthz",
        run=get_live,
        query=Nothing,
        vi="Cho biết tiến trình có trả lời hay không.",
        answers=(json_of(Live, "The process lives."),),
        codes=frozenset({"unavailable"}),
    ),
    Call(
        method="GET",
        path="/readyz",
        run=get_ready,
        query=Nothing,
        vi="Cho biết cổng có tiếp nhận phong bì hay không, theo từng phần.",
        answers=(json_of(Ready, "Envelopes are taken."),),
        codes=frozenset({"not_ready"}),
    ),
    Call(
        method="GET",
        path="/metrics",
        run=get_metrics,
        query=Nothing,
        vi="Cho các số đo ở dạng văn bản Prometheus.",
        answers=(Answer(words="All figures.", content=FIGURES),),
    ),
)
OWN_METRICS: Final = Call(
    method="GET",
    path="/metrics",
    run=get_own_metrics,
    query=Nothing,
    vi="Cho các số đo của riêng tiến trình này.",
    answers=(Answer(words="The figures of this process.", content=FIGURES),),
)
"""What the admin socket has in the place of the figures of all workers."""
