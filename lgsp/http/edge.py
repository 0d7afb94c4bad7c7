"""The application: its routes, and what every answer has in common.

Every "no" leaves as problem+json in the caller's language, with a request id that the log knows; aiohttp's own bodies never do.
"""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from lgsp.bus.refusing import EnvelopeRefused
from lgsp.bus.supervisor import Bus
from lgsp.http import (
    admin,
    audit,
    catalogue,
    description,
    entry_search,
    envelopes,
    evidence,
    health,
    inbox,
    outcomes,
    sandbox,
    stream,
)
from lgsp.http.bus_figures import BusFigures
from lgsp.http.calls import Call, Handler
from lgsp.http.clients import ClientRule
from lgsp.http.description import DESCRIPTION, Description
from lgsp.http.faults import as_refusal, route_of
from lgsp.http.metrics import Metrics
from lgsp.http.problems import language_of, problem_response
from lgsp.http.requests import check_form
from lgsp.http.settings import HTTP_LIMITS, HttpLimits
from lgsp.http.siblings import Siblings
from lgsp.http.streams import Streams
from lgsp.http.wiring import (
    BUS,
    CLIENTS,
    METRICS,
    REQUEST_ID,
    SETTINGS,
    SHOWN_METRICS,
    SHOWN_STREAMS,
    SIBLINGS,
    STREAMS,
)

CALLS: Final[tuple[Call[Any], ...]] = (
    *envelopes.CALLS,
    *sandbox.CALLS,
    *stream.CALLS,
    *inbox.CALLS,
    *outcomes.CALLS,
    *catalogue.CALLS,
    *audit.CALLS,
    *entry_search.CALLS,
    *evidence.CALLS,
    *health.CALLS,
    *description.CALLS,
)
SAFE_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


def create_app(
    bus: Bus,
    *,
    settings: HttpLimits = HTTP_LIMITS,
    siblings: Siblings | None = None,
    clients: ClientRule | None = None,
) -> web.Application:
    """Return the application that departments' systems call."""
    app = create_bare_app(bus, settings=settings)
    for call in CALLS:
        _add(app, call)
    app[DESCRIPTION] = Description((*CALLS, *admin.COMMANDS))
    app[SHOWN_STREAMS] = app[STREAMS]
    if siblings is not None:
        app[SIBLINGS] = siblings
    if clients is not None:
        app[CLIENTS] = clients
    for command in admin.COMMANDS:
        app.router.add_route(command.method, command.path, command.public())
    return app


def create_admin_app(
    bus: Bus, *, shown: web.Application | None = None, settings: HttpLimits = HTTP_LIMITS
) -> web.Application:
    """Return the application of the admin socket; `shown` is the public one, whose streams and figures it tells."""
    app = create_bare_app(bus, settings=settings)
    app[SHOWN_STREAMS] = (shown or app)[STREAMS]
    app[SHOWN_METRICS] = (shown or app)[METRICS]
    _add(app, health.OWN_METRICS)
    _add(app, entry_search.LOCAL_ENTRIES)
    for command in admin.COMMANDS:
        app.router.add_route(command.method, command.path, command.local())
    return app


def _add(app: web.Application, call: Call[Any]) -> None:
    app.router.add_route(call.method, call.pattern or call.path, call.serve)


def create_bare_app(bus: Bus, *, settings: HttpLimits) -> web.Application:
    """Return an application without routes, whose answers have all that every answer has."""
    app = web.Application(middlewares=[answer])
    metrics = Metrics(BusFigures(bus))
    app[BUS] = bus
    app[SETTINGS] = settings
    app[METRICS] = metrics
    app[STREAMS] = Streams(settings, metrics)
    app.on_response_prepare.append(_dress)
    return app


@web.middleware
async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id, and turn whatever is raised into a problem."""
    request[REQUEST_ID] = request.app[BUS].entropy.uuid7()
    is_plain = False
    try:
        check_form(request)
        is_plain = True
        response = await handler(request)
    except Exception as error:  # noqa: BLE001 - the edge is where everything ends; what is not a refusal is logged
        response = _refuse(request, error)
    if not is_plain or "Upgrade" in request.headers:
        # Where this one ends may be read in two ways, and a proxy may take a refused upgrade for a tunnel: nothing after it is read.
        response.force_close()
    if request.app[BUS].is_draining:
        response.force_close()  # the next call is better made elsewhere
    request.app[METRICS].count_request(request.method, route_of(request), response.status)
    return response


def _refuse(request: web.Request, error: Exception) -> web.Response:
    if isinstance(error, EnvelopeRefused):
        refusal, receipt = error.refusal, error.receipt or ""
    else:
        refusal, receipt = as_refusal(request, error), ""
    request.app[METRICS].count_refusal(refusal.code)
    language = language_of(request.headers.get("Accept-Language", ""))
    response = problem_response(refusal, language=language, request_id=request[REQUEST_ID], receipt=receipt)
    if isinstance(error, web.HTTPMethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
    return response


async def _dress(request: web.Request, response: web.StreamResponse) -> None:
    headers = response.headers
    headers.pop("Server", None)
    headers.update(SAFE_HEADERS)
    headers.setdefault("Cache-Control", "no-store")
    if REQUEST_ID in request:
        headers["X-Request-Id"] = request[REQUEST_ID]
    if request.secure:
        headers["Strict-Transport-Security"] = "max-age=31536000"
