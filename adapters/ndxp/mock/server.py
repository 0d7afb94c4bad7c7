"""HTTP of the mock: `POST /token` like an API gateway's, the population service behind Bearer, and the witness where there is one."""

import asyncio
import hmac
from dataclasses import dataclass

from aiohttp import web

from adapters.ndxp import soap
from adapters.ndxp.client import SERVICE_PATH, TOKEN_PATH, Credentials
from adapters.ndxp.mock.faults import Faults
from adapters.ndxp.mock.registry import Registry
from adapters.ndxp.mock.service import Declined, Rules, answered, fault
from adapters.ndxp.mock.tokens import Tokens
from adapters.ndxp.mock.witness import Refused, Witness

INVALID_TOKEN = {"code": "900901", "message": "Invalid Credentials"}
SCOPE = "am_application_scope default"
WITNESS_PATH = "/witness"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """All that the mock needs to answer."""

    registry: Registry
    rules: Rules
    credentials: Credentials
    tokens: Tokens
    faults: Faults
    witness: Witness | None = None

    def application(self) -> web.Application:
        """Return the endpoints."""
        application = web.Application(client_max_size=soap.MOST_BYTES)
        application.router.add_post(TOKEN_PATH, self._give_token)
        application.router.add_post(SERVICE_PATH, self._answer)
        if self.witness is not None:
            application.router.add_post(f"{WITNESS_PATH}/add-checkpoint", self._cosign)
        return application

    async def _cosign(self, request: web.Request) -> web.Response:
        assert self.witness is not None
        body = await request.read()
        if self.faults.delay:
            await asyncio.sleep(self.faults.delay)
        try:
            return web.Response(text=self.witness.add(body))
        except Refused as refused:
            if refused.holds is None:
                return web.Response(status=refused.status)
            return web.Response(status=refused.status, text=f"{refused.holds}\n", content_type="text/x.tlog.size")

    async def _give_token(self, request: web.Request) -> web.Response:
        if not self._knows(request.headers.get("Authorization", "")):
            return web.json_response({"error": "invalid_client"}, status=401)
        form = await request.post()
        if form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        return web.json_response(
            {
                "access_token": self.tokens.issue(),
                "scope": SCOPE,
                "token_type": "Bearer",
                "expires_in": self.tokens.lifetime,
            }
        )

    def _knows(self, header: str) -> bool:
        return hmac.compare_digest(header.encode(), self.credentials.basic.encode())

    async def _answer(self, request: web.Request) -> web.Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not self.tokens.is_valid(token):
            return web.json_response(INVALID_TOKEN, status=401)
        message = await request.read()
        if self.faults.delay:
            await asyncio.sleep(self.faults.delay)
        return self._reply(message)

    def _reply(self, message: bytes) -> web.Response:
        mishap = self.faults.draw()
        if mishap == "bad_gateway":
            return web.Response(status=502, text="Bad Gateway")
        if mishap == "empty":
            return _xml(b"")
        try:
            return _xml(answered(message, self.registry, self.rules))
        except Declined as declined:
            return _xml(fault(declined.code), status=500)  # SOAP 1.1 over HTTP, section 6.2


async def started(platform: Platform, port: int, *, host: str = LOOPBACK) -> tuple[web.AppRunner, int]:
    """Listen on `host`, on any free port for 0; return the runner, to be cleaned up, and the port."""
    runner = web.AppRunner(platform.application(), access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner, int(runner.addresses[0][1])


def _xml(body: bytes, status: int = 200) -> web.Response:
    return web.Response(status=status, body=body, content_type=soap.CONTENT_TYPE, charset="utf-8")
