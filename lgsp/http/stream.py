"""`GET /v1/stream`: the handshake, the hello, and the connection's end (protocol section 6). What happens between is `session`'s."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Final

from aiohttp import WSMsgType, web

from lgsp.bus.authentication import Caller
from lgsp.domain import admission, framing
from lgsp.errors import Refusal
from lgsp.http import frames
from lgsp.http.calls import Answer, Call, Header, Nothing
from lgsp.http.envelopes import STRUCTURED_ROOM
from lgsp.http.outgoing import Outgoing
from lgsp.http.problems import language_of, problem_text
from lgsp.http.requests import peer_of, presented_of
from lgsp.http.session import GONE, LOST, Session, Socket, Surroundings
from lgsp.http.wiring import BUS, METRICS, SETTINGS, STREAMS

POLICY: Final = 1008
CLOSE_CODES: Final = {"drain": 1001, "internal": 1011, GONE: 1000, LOST: 1006}
"""WebSocket close codes (RFC 6455 7.4.1) by reason; any other reason is a breach of what was agreed."""


async def open_stream(request: web.Request, _: Nothing) -> web.StreamResponse:
    """Serve one stream until it ends."""
    around = _surroundings(request)
    _check_handshake(request)
    ws: Socket = web.WebSocketResponse(
        protocols=framing.SUBPROTOCOLS,
        heartbeat=around.settings.heartbeat_seconds,
        timeout=around.settings.closing_seconds,
        max_msg_size=_largest_frame(around),
        compress=False,
        decode_text=False,
    )
    with request.app[STREAMS].unknown():
        writer = await ws.prepare(request)
        caller = await _greet(ws, around)
    transport = request.transport
    if caller is not None and transport is not None:
        grouped = ws.ws_protocol == framing.GROUPED
        session = Session(around, caller, grouped=grouped)
        outgoing = Outgoing(
            transport, writer, grouped=grouped, most=around.bus.limits.unsent_bytes, overflow=session.overflow
        )
        await _serve(request, ws, session, outgoing)
    return ws


async def _serve(request: web.Request, ws: Socket, session: Session, outgoing: Outgoing) -> None:
    close = partial(_close, request, ws)
    try:
        with request.app[STREAMS].known(session.system, session):
            await session.run(ws, outgoing, close)
    except Refusal as refusal:
        with suppress(ConnectionError):  # it may have hung up meanwhile
            await ws.send_str(frames.closing(refusal.code, retry_after=request.app[SETTINGS].retry_after))
        await close(refusal.code)


async def _close(request: web.Request, ws: Socket, reason: str) -> None:
    """Close the connection, and cut it when its buffer does not empty."""
    transport = request.transport
    with suppress(TimeoutError):
        async with asyncio.timeout(request.app[SETTINGS].closing_seconds):
            await ws.close(code=CLOSE_CODES.get(reason, POLICY), message=reason.encode())
    if transport is not None and (reason == LOST or transport.get_write_buffer_size()):
        transport.abort()


def _surroundings(request: web.Request) -> Surroundings:
    return Surroundings(
        bus=request.app[BUS],
        settings=request.app[SETTINGS],
        metrics=request.app[METRICS],
        leavings=request.app[STREAMS].leavings,
        language=language_of(request.headers.get("Accept-Language", "")),
        peer=peer_of(request),
        presented=presented_of(request),
    )


def _check_handshake(request: web.Request) -> None:
    offered = {name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")}
    if offered.isdisjoint(framing.SUBPROTOCOLS):
        raise Refusal("bad_request", f"this is a WebSocket with the subprotocol {framing.SINGLE} or {framing.GROUPED}")


def _largest_frame(around: Surroundings) -> int:
    """Return the size of the largest frame: the protocol's, or more where a service allows larger bodies."""
    limits = around.bus.limits
    largest = admission.largest_body(around.bus.registry.current, limits)
    return max(limits.frame_bytes, limits.envelope_bytes + 2 * STRUCTURED_ROOM + (largest + 2) // 3 * 4)


async def _greet(ws: Socket, around: Surroundings) -> Caller | None:
    """Say welcome and return who says hello; None when nobody does, or nobody who may."""
    bus = around.bus
    nonce = bus.entropy.uuid7()
    await ws.send_str(frames.welcome(nonce=nonce, max_inflight=bus.limits.max_inflight, now=bus.clock.now()))
    try:
        caller = bus.authenticator.check_hello(await _hello(ws, around), nonce=nonce)
        if around.presented is not None:
            around.presented.check(caller)
    except Refusal as refusal:
        bus.refusals.count(refusal.code, around.peer)
        around.metrics.count_refusal(refusal.code)
        problem = problem_text(refusal, language=around.language, request_id=bus.entropy.uuid7())
        with suppress(ConnectionError):  # it may have hung up without a word
            await ws.send_str(frames.closing(refusal.code, problem=problem))
            await ws.close(code=POLICY, message=refusal.code.encode())
        return None
    return caller


async def _hello(ws: Socket, around: Surroundings) -> str:
    try:
        async with asyncio.timeout(around.settings.hello_seconds):
            message = await ws.receive()
    except TimeoutError:
        raise Refusal("auth_missing", "no hello in time") from None
    if message.type is not WSMsgType.TEXT:
        raise Refusal("auth_missing", "a stream begins with hello")
    [frame] = frames.parse(message.data, grouped=False)
    auth = frame.get("auth")
    if frame["op"] != "hello" or not isinstance(auth, str):
        raise Refusal("auth_missing", "a stream begins with hello")
    return auth


CALLS: Final = (
    Call(
        method="GET",
        path="/v1/stream",
        run=open_stream,
        query=Nothing,
        headers=(
            Header(
                name="Sec-WebSocket-Protocol",
                words=f"Names {framing.SINGLE}, or {framing.GROUPED} by who takes several frames in one message.",
                needed=True,
                pattern=r"([a-z0-9.]+, *)*lgsp\.v1(\.groups)?(, *[a-z0-9.]+)*",
            ),
        ),
        vi="Mở một kết nối WebSocket hai chiều cho một hệ thống, cho đến khi kết thúc.",
        answers=(
            Answer(
                status=101,
                words=(
                    f"The connection is a WebSocket (RFC 6455) with the subprotocol {framing.SINGLE}, where each message is one frame, or "
                    f"{framing.GROUPED}, where it may be a JSON array of frames. The gateway opens with a frame `welcome`; the "
                    "client answers with `hello` and a signed authorization for this call whose `jti` is the nonce of the welcome. Frames are JSON "
                    "texts: the client sends send, credit, ack, nack, extend, seen and ping; the gateway sends receipt, refused, deliver, settled, "
                    "outcome, checkpoint, closing and pong. Their members stand in section 6 of the protocol."
                ),
            ),
        ),
        codes=frozenset({"draining", "rate_limited"}),
    ),
)
