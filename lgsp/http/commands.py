"""The two doors for commands on a running bus: the admin socket and, for officers, the public port.

The socket is for whoever may open a file of mode 0600 in the data folder, the port for officers to whom the directory gives the role that a
command needs. A command is the same at both and is told who asks. Which commands there are is `admin`'s table.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from lgsp.bus.authentication import Promise
from lgsp.domain import strictjson
from lgsp.domain.records import OfficerRole
from lgsp.errors import Refusal
from lgsp.http.requests import check_certificate, one_header, peer_of, read_body
from lgsp.http.wiring import BUS, SETTINGS
from lgsp.logs import get_logger

LOCAL: Final = "local"
"""Who acts through the admin socket, as the log names it."""
Model = TypeVar("Model", bound=BaseModel)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A command as it came through either door: who asks, and the body."""

    by: str
    body: bytes

    def read(self, model: type[Model]) -> Model:
        """Return the body as strict JSON of this form; refuse (`bad_request`) with everything that is wrong with it."""
        try:
            return model.model_validate(strictjson.parse_object(self.body))
        except strictjson.NotStrict:
            raise Refusal("bad_request", "the body is not one strict JSON object") from None
        except ValidationError as error:
            rows = error.errors(include_url=False, include_input=False)
            found = "; ".join(f"{'.'.join(map(str, row['loc']))}: {row['msg']}" for row in rows)
            raise Refusal("bad_request", found) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command: its call, what carries it out, and the roles of which an officer needs one."""

    method: str
    path: str
    run: Callable[[web.Request, Asked], Awaitable[web.Response]]
    roles: frozenset[OfficerRole]
    noted: bool = False
    """Whether it is an entry when somebody is proven to have called without the role."""

    def local(self) -> Handler:
        """Return what serves the command on the admin socket."""

        async def handle(request: web.Request) -> web.StreamResponse:
            asked = Asked(by=LOCAL, body=await read_body(request, self._most(request)))
            return await self._run(request, asked)

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
            return await self._run(request, Asked(by=caller.urn, body=body))

        return handle

    async def _turn_away(self, request: web.Request, promise: Promise) -> NoReturn:
        """Refuse (`forbidden`) a proven caller without the role, after an entry says so where the command wants it."""
        if self.noted:
            bus = request.app[BUS]
            await bus.persons.note_attempt(promise.caller.urn, self.path, bus.authenticator.once(promise))
        raise Refusal("forbidden", f"this call is for officers with the role {' or '.join(sorted(self.roles))}")

    def _most(self, request: web.Request) -> int:
        return request.app[SETTINGS].admin_bytes if self.method == "POST" else 0

    async def _run(self, request: web.Request, asked: Asked) -> web.Response:
        if self.method == "POST":
            get_logger().info("admin.asked", by=asked.by, path=self.path)
        return await self.run(request, asked)


def told(members: dict[str, Any]) -> web.Response:
    """Return the answer to a command as JSON."""
    return web.Response(body=strictjson.compact(members), content_type="application/json")
