"""What went wrong in a call, as the refusal that answers it; a fault of ours is logged with the call's id and told without its cause."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from lgsp.errors import Refusal
from lgsp.http.wiring import REQUEST_ID
from lgsp.logs import get_logger

CODES: Final = {404: "not_found", 405: "method", 413: "too_large", 417: "unsupported", 426: "bad_request"}
"""Which code a status of aiohttp's own stands for; any other is `bad_request`."""


def refusal_of(error: web.HTTPException) -> Refusal:
    """Return the refusal that an exception of aiohttp's stands for; nothing of its text is kept, for it may echo the request."""
    return Refusal(CODES.get(error.status, "bad_request"))


def as_refusal(request: web.Request, error: Exception) -> Refusal:
    """Return the refusal that an exception is answered with: itself, what aiohttp meant, or `internal` after a line in the diary."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, web.HTTPException):
        return refusal_of(error)
    # The path as the route has it, for a caller may have put anything into it.
    get_logger().error(
        "request.failed", request_id=request[REQUEST_ID], method=request.method, path=route_of(request), exc_info=error
    )
    return Refusal("internal")


def route_of(request: web.Request) -> str:
    """Return the route's pattern, "none" where no route is: a word of ours in either case."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"
