"""The application: its routes, and what every answer has in common.

Every "no" leaves as problem+json in the caller's language, with a request id that the log knows; aiohttp's own bodies never do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from lgsp.bus.refusing import EnvelopeRefused
from lgsp.bus.supervisor import Bus
from lgsp.http import admin, audit, catalogue, entry_search, envelopes, evidence, health, inbox, outcomes, sandbox
from lgsp.http.bus_figures import BusFigures
from lgsp.http.clients import ClientRule
from lgsp.http.faults import as_refusal, route_of
from lgsp.http.metrics import Metrics
from lgsp.http.problems import language_of, problem_response
from lgsp.http.requests import check_target
from lgsp.http.settings import HTTP_LIMITS, HttpLimits
from lgsp.http.siblings import Siblings
from lgsp.http.stream import open_stream
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

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ENTRIES: Final = "/v1/audit/entries"
EVIDENCE: Final = "/v1/evidence/{env}"
ROUTES: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("POST", "/v1/envelopes", envelopes.post_envelope),
    ("GET", "/v1/envelopes/{env}", envelopes.get_envelope),
    ("POST", "/v1/check", sandbox.post_check),
    ("GET", "/v1/stream", open_stream),
    ("GET", "/v1/inbox", inbox.get_inbox),
    ("POST", "/v1/acks", inbox.post_acks),
    ("GET", "/v1/outcomes", outcomes.get_outcomes),
    ("GET", "/v1/directory", catalogue.get_directory),
    ("GET", "/v1/services", catalogue.get_services),
    ("GET", "/v1/schemas/{urn}", catalogue.get_schema),
    ("GET", "/v1/audit/checkpoint", audit.get_checkpoint),
    ("GET", "/v1/audit/proof", audit.get_proof),
    ("GET", "/v1/audit/tile/entries/{number:.+}", audit.get_entry_bundle),
    ("GET", "/v1/audit/tile/{level}/{number:.+}", audit.get_tile),
    ("GET", ENTRIES, entry_search.get_entries),
    ("POST", ENTRIES, entry_search.post_entries),
    ("GET", EVIDENCE, evidence.get_evidence),
    ("POST", EVIDENCE, evidence.post_evidence),
    ("GET", "/healthz", health.get_live),
    ("GET", "/readyz", health.get_ready),
    ("GET", "/metrics", health.get_metrics),
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
    for method, path, handler in ROUTES:
        app.router.add_route(method, path, handler)
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
    app.router.add_get("/metrics", health.get_own_metrics)
    app.router.add_post(ENTRIES, entry_search.post_entries_locally)
    for command in admin.COMMANDS:
        app.router.add_route(command.method, command.path, command.local())
    return app


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
    try:
        check_target(request)
        response = await handler(request)
    except Exception as error:  # noqa: BLE001 - the edge is where everything ends; what is not a refusal is logged
        response = _refuse(request, error)
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
