"""Connections as aiohttp serves them, with its own answers to broken HTTP replaced: it would echo what it could not read.

Bounds their number too. Requests that can be read are the application's.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from lgsp.errors import Refusal
from lgsp.http.edge import SAFE_HEADERS
from lgsp.http.faults import refusal_of
from lgsp.http.problems import language_of, problem_response
from lgsp.http.requests import peer_of
from lgsp.http.wiring import BUS, METRICS, SETTINGS
from lgsp.logs import get_logger

LINGERING: Final = 2.0
"""Seconds for which an unread body is read on after the answer, so that the answer is not lost to a reset."""


class Front:
    """What the connections of one listener share, and how many there are."""

    def __init__(self, server: web.Server, app: web.Application) -> None:
        self.server = server
        self.bus = app[BUS]
        self.settings = app[SETTINGS]
        self.metrics = app[METRICS]
        self.open = 0

    def connect(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self)


class Connection(web.RequestHandler):
    """One connection; every answer that is not the application's is made here."""

    def __init__(self, front: Front) -> None:
        super().__init__(
            front.server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=front.settings.idle_seconds,
            lingering_time=LINGERING,
            access_log=None,  # type: ignore[arg-type] # None is how it is turned off; its lines would carry paths and addresses
            auto_decompress=False,
        )
        self._front = front

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or cut it when there are too many."""
        self._front.open += 1
        super().connection_made(transport)
        if self._front.open > self._front.settings.connections:
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let a connection go."""
        self._front.open -= 1
        super().connection_lost(exc)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; one that aiohttp made past the application becomes a problem."""
        if isinstance(resp, web.HTTPException):
            resp = self._problem(request, refusal_of(resp))
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it echoes what was received
    ) -> web.StreamResponse:
        """Answer what is not HTTP, is too long for it, or failed past the application; the connection is closed."""
        if status == web.HTTPBadRequest.status_code:
            refusal = (
                Refusal("too_large", "the request line or a header") if _is_too_long(exc) else Refusal("bad_request")
            )
            self._front.bus.refusals.count(refusal.code, peer_of(request))
        else:
            self.log_exception("the edge failed", exc_info=exc)
            refusal = Refusal("internal")
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer is sent already")
        response = self._problem(request, refusal)
        response.force_close()
        return response

    def log_exception(self, *_args: object, **fields: object) -> None:
        """Log a failure of ours as every other one, in place of aiohttp's own words."""
        get_logger().error("request.failed", method="", path="", exc_info=fields.get("exc_info"))

    def _problem(self, request: web.BaseRequest, refusal: Refusal) -> web.Response:
        self._front.metrics.count_refusal(refusal.code)
        self._front.metrics.count_request(request.method, "none", refusal.entry.status)
        request_id = self._front.bus.entropy.uuid7()
        language = language_of(request.headers.get("Accept-Language", ""))
        response = _Undressed(problem_response(refusal, language=language, request_id=request_id))
        response.headers.update(SAFE_HEADERS | {"Cache-Control": "no-store", "X-Request-Id": request_id})
        return response


def _is_too_long(error: BaseException | None) -> bool:
    return isinstance(error, LineTooLong)


class _Undressed(web.Response):
    """An answer outside of the application, where no hook takes the server's name off."""

    def __init__(self, answer: web.Response) -> None:
        super().__init__(status=answer.status, body=answer.body, headers=answer.headers)

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.pop("Server", None)
