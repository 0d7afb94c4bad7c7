"""Connections as aiohttp serves them, with its own answers to broken HTTP replaced: it would echo what it could not read.

Bounds their number too. Requests that can be read are the application's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_websocket import WebSocketReader

from lgsp.errors import Refusal
from lgsp.http.edge import SAFE_HEADERS
from lgsp.http.faults import refusal_of
from lgsp.http.problems import language_of, problem_response
from lgsp.http.requests import peer_of
from lgsp.http.wiring import BUS, METRICS, SETTINGS
from lgsp.logs import get_logger

LINGERING: Final = 2.0
"""Seconds for which an unread body is read on after the answer, so that the answer is not lost to a reset."""

# RFC 6455 5.2, the frame of a WebSocket.
ANNOUNCED: Final = 4
"""Bytes in which the kind of a frame stands and, unless it is beyond 65,535, its size; a client's frame has at least six."""
LONG: Final = 126
LONGER: Final = 127
WHOLE: Final = 0x80
PINGS: Final = frozenset({0x89, 0x8A})
BEYOND_ALL: Final = b"\x81\x7f" + b"\xff" * 8


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

    def set_parser(self, parser: WebSocketReader, data_received_cb: Callable[[], None] | None = None) -> None:
        """Have a stream's bytes parsed, once its first frame shows that it is no larger than a hello."""
        first = FirstFrame(parser, most=self._front.settings.hello_bytes, passed=self._believe)
        super().set_parser(first, data_received_cb)  # type: ignore[arg-type] # two methods of a parser are called, and it has them

    def _believe(self, parser: WebSocketReader) -> None:
        self._payload_parser = parser

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


class FirstFrame:
    """Stands before the parser of a stream until its first frame is announced: what has proven nothing fills no memory.

    That frame is small, whole, and no ping or pong, after which a large one could come. The parser is told of anything else as it takes it itself:
    as a frame beyond all bounds.
    """

    def __init__(self, parser: WebSocketReader, *, most: int, passed: Callable[[WebSocketReader], None]) -> None:
        self._parser = parser
        self._most = most
        self._passed = passed
        self._begun = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Pass on what has come as soon as it says how large the first frame is."""
        self._begun += data
        if len(self._begun) < ANNOUNCED:
            return False, b""
        self._passed(self._parser)
        return self._parser.feed_data(self._begun if self._is_small() else BEYOND_ALL)

    def feed_eof(self) -> None:
        """Pass on that nothing more comes."""
        self._parser.feed_eof()

    def _is_small(self) -> bool:
        kind, size = self._begun[0], self._begun[1] & 0x7F
        if size == LONG:
            size = int.from_bytes(self._begun[2:4], "big")
        elif size == LONGER:
            return False
        return kind >= WHOLE and kind not in PINGS and size <= self._most


def _is_too_long(error: BaseException | None) -> bool:
    return isinstance(error, LineTooLong)


class _Undressed(web.Response):
    """An answer outside of the application, where no hook takes the server's name off."""

    def __init__(self, answer: web.Response) -> None:
        super().__init__(status=answer.status, body=answer.body, headers=answer.headers)

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.pop("Server", None)
