"""The two doors for commands on a running bus: the admin socket and, for officers, the public port.

The socket is for whoever may open a file of mode 0600 in the data folder, the port for officers to whom the directory gives the role that a
command needs. A command is the same at both and is told who asks. Which commands there are is `admin`'s table.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, NoReturn

from aiohttp import web
from pydantic import BaseModel, ValidationError

from lgsp.bus.authentication import Promise
from lgsp.domain import strictjson
from lgsp.domain.guesses import problems_of
from lgsp.domain.records import OfficerRole
from lgsp.errors import Refusal
from lgsp.http.calls import Content, Declared, Handler, M, Nothing, read_query
from lgsp.http.requests import check_certificate, one_header, peer_of, read_body
from lgsp.http.wiring import BUS, SETTINGS
from lgsp.logs import get_logger

LOCAL: Final = "local"
"""Who acts through the admin socket, as the log names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Generic[M]):
    """A command as it came through either door: who asks, and what for."""

    by: str
    stated: M


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Declared, Generic[M]):
    """One command: its call, what carries it out, and the roles of which an officer needs one."""

    run: Callable[[web.Request, Asked[M]], Awaitable[web.Response]]
    states: type[M]
    """What is asked for: of a GET in its query, of a POST in its body."""
    roles: frozenset[OfficerRole]
    noted: bool = False
    """Whether it is an entry when somebody is proven to have called without the role."""

    def query_model(self) -> type[BaseModel]:
        """Return what the query is checked by."""
        return self.states if self.method == "GET" else Nothing

    def contents(self) -> tuple[Content, ...]:
        """Return what its body may be."""
        return (Content(model=self.states),) if self.method == "POST" else ()

    def local(self) -> Handler:
        """Return what serves the command on the admin socket."""

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._run(request, by=LOCAL, body=await read_body(request, self._most(request)))

        return handle

    def public(self) -> Handler:
        """Return what serves the command on the public port: nobody's body is read before an officer with the role has signed for it."""

        async def handle(request: web.Request) -> web.StreamResponse:
            bus = request.app[BUS]
            try:
                promise = bus.authenticator.proven(
                    one_header(request, "Authorization"), method=request.method, path=request.raw_path
                )
                check_certificate(request, promise.caller)
                if not promise.has_one_of(self.roles):
                    await self._turn_away(request, promise)
                body = await read_body(request, self._most(request))
                caller = await bus.authenticator.keep(promise, body)
            except Refusal as refusal:
                bus.refusals.count(refusal.code, peer_of(request))
                raise
            return await self._run(request, by=caller.urn, body=body)

        return handle

    async def _turn_away(self, request: web.Request, promise: Promise) -> NoReturn:
        """Refuse (`forbidden`) a proven caller without the role, after an entry says so where the command wants it."""
        if self.noted:
            bus = request.app[BUS]
            await bus.persons.note_attempt(promise.caller.urn, self.path, bus.authenticator.once(promise))
        raise Refusal("forbidden", f"this call is for officers with the role {' or '.join(sorted(self.roles))}")

    def _most(self, request: web.Request) -> int:
        return request.app[SETTINGS].admin_bytes if self.method == "POST" else 0

    async def _run(self, request: web.Request, *, by: str, body: bytes) -> web.Response:
        if self.method == "POST":
            get_logger().info("admin.asked", by=by, path=self.path)
            read_query(request, Nothing)
            stated = read_stated(body, self.states)
        else:
            stated = read_query(request, self.states)
        return await self.run(request, Asked(by=by, stated=stated))


def read_stated(body: bytes, model: type[M]) -> M:
    """Return a body as strict JSON of this form; refuse (`bad_request`) with everything that is wrong with it."""
    try:
        return model.model_validate(strictjson.parse_object(body))
    except strictjson.NotStrict:
        raise Refusal("bad_request", "the body is not one strict JSON object") from None
    except ValidationError as error:
        raise Refusal("bad_request", "; ".join(problems_of(error, model))) from None


def told(members: dict[str, Any]) -> web.Response:
    """Return the answer to a command as JSON."""
    return web.Response(body=strictjson.compact(members), content_type="application/json")
