"""What a call carries, read within bounds: who calls, its body, its query. Plain forms only: nothing is normalised, what is odd is refused."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from aiohttp import HttpVersion10, HttpVersion11, web

from lgsp.bus.authentication import Caller
from lgsp.domain import strictjson
from lgsp.errors import Refusal
from lgsp.http.clients import Presented, presented
from lgsp.http.wiring import BUS, CLIENTS, SETTINGS

PLAIN_PATH: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~:-]+)+")
"""Segments of unreserved characters and colons (RFC 3986 2.3): all that our paths need, so nothing is ever percent-encoded."""
PLAIN_QUERY: Final = re.compile(r"[A-Za-z0-9._~:=&-]*")
PLAIN_HOST: Final = re.compile(r"[A-Za-z0-9._~:\[\]-]*")
"""A name or an address with its port. Nothing here depends on it, but whoever stands in front may read another one out of an odd one."""
SPOKEN: Final = frozenset({HttpVersion10, HttpVersion11})
DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")


def check_form(request: web.Request) -> None:
    """Refuse (`bad_request`) a request that could be read in two ways, by us and by a proxy in front: its target, host or length.

    Such are doubled slashes, dot segments, escapes, another form than a path, and codings whose length is not that of plain chunks.
    """
    headers = request.headers
    if request.version not in SPOKEN:
        raise Refusal("bad_request", "this is HTTP/1.0 or HTTP/1.1")
    path, _, query = request.raw_path.partition("?")
    if PLAIN_PATH.fullmatch(path) is None:
        raise Refusal("bad_request", "the path is not in its plain form")
    if PLAIN_QUERY.fullmatch(query) is None:
        raise Refusal("bad_request", "the query is not in its plain form")
    if PLAIN_HOST.fullmatch(headers.get("Host", "")) is None:
        raise Refusal("bad_request", "the host is not in its plain form")
    if headers.get("Transfer-Encoding", "chunked").lower() != "chunked":
        raise Refusal("bad_request", "a body comes with its length or in chunks, without another coding")
    if "Content-Encoding" in headers:
        raise Refusal("unsupported", "bodies are sent without a content encoding")


def one_header(request: web.Request, name: str) -> str | None:
    """Return a header that may stand once, None when it is absent; refuse (`bad_request`) it when it stands twice."""
    found = request.headers.getall(name, [])
    if len(found) > 1:
        raise Refusal("bad_request", f"{name} stands more than once")
    return found[0] if found else None


def query_of(request: web.Request, *allowed: str) -> dict[str, str]:
    """Return the query; refuse (`bad_request`) a name that the call does not have, or has twice."""
    found: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in allowed or name in found:
            raise Refusal("bad_request", f"the query of this call has: {', '.join(allowed) or 'nothing'}, each once")
        found[name] = value
    return found


def integer(text: str, low: int, high: int, what: str) -> int:
    """Return a plain decimal between two bounds, both included; refuse (`bad_request`) anything else."""
    if DECIMAL.fullmatch(text) is None or not low <= int(text) <= high:
        raise Refusal("bad_request", f"{what} is an integer from {low} to {high}")
    return int(text)


async def read_body(request: web.Request, most: int) -> bytes:
    """Return the body of at most `most` bytes; refuse as `too_large`, or as `bad_request` when it breaks off or takes too long."""
    if request.content_length is not None and request.content_length > most:
        raise Refusal("too_large", "the body")
    try:
        async with asyncio.timeout(request.app[SETTINGS].body_seconds):
            return await _read_at_most(request, most)
    except TimeoutError:
        raise Refusal("bad_request", "the body did not arrive in time") from None
    except (web.RequestPayloadError, ConnectionError):
        raise Refusal("bad_request", "the body broke off") from None


async def _read_at_most(request: web.Request, most: int) -> bytes:
    found = bytearray()
    while chunk := await request.content.readany():
        found += chunk
        if len(found) > most:
            raise Refusal("too_large", "the body")
    return bytes(found)


def members_in(body: bytes) -> dict[str, Any]:
    """Return the strict JSON object in a body; refuse (`bad_request`) anything else."""
    try:
        return strictjson.parse_object(body)
    except strictjson.NotStrict:
        raise Refusal("bad_request", "the body is not one strict JSON object") from None


async def caller_of(request: web.Request) -> Caller:
    """Return who signed this call, which takes no body; a "no" is counted by code and peer."""
    caller, _ = await signed_body(request, 0)
    return caller


async def signed_body(request: web.Request, most: int) -> tuple[Caller, bytes]:
    """Return who signed this call, and its body of at most `most` bytes: nobody's is read before that is proven.

    Refuses as the authenticator does, or as `read_body`; a "no" is counted by code and peer.
    """
    bus = request.app[BUS]
    try:
        with bus.figures.timed("authenticate"):
            promise = bus.authenticator.proven(
                one_header(request, "Authorization"), method=request.method, path=request.raw_path
            )
            check_certificate(request, promise.caller)
            body = await read_body(request, most)
            caller = await bus.authenticator.keep(promise, body)
    except Refusal as refusal:
        bus.refusals.count(refusal.code, peer_of(request))
        raise
    return caller, body


async def system_of(request: web.Request) -> str:
    """Return the system that signed this call, which takes no body; refuse (`forbidden`) an officer."""
    system, _ = await systems_body(request, 0)
    return system


async def systems_body(request: web.Request, most: int) -> tuple[str, bytes]:
    """Return the system that signed this call, and its body; refuse (`forbidden`) an officer, and as `signed_body`."""
    caller, body = await signed_body(request, most)
    if caller.role != "system":
        raise Refusal("forbidden", "this call is a system's")
    return caller.urn, body


def presented_of(request: web.Request) -> Presented | None:
    """Return the certificate that the connection showed, None where clients' certificates are not looked at."""
    return presented(request, request.app.get(CLIENTS))


def check_certificate(request: web.Request, caller: Caller) -> None:
    """Refuse (`certificate_missing`, `certificate_mismatch`) a proven caller over a connection that is another's."""
    shown = presented_of(request)
    if shown is not None:
        shown.check(caller)


def peer_of(request: web.BaseRequest) -> str:
    """Return the address of the other end, "local" on a socket file."""
    return request.remote or "local"


def is_gone(request: web.BaseRequest) -> bool:
    """Tell whether the caller has hung up."""
    return request.transport is None or request.transport.is_closing()
