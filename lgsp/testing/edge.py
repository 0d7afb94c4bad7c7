"""A bus behind its HTTP edge on loopback, and a client that speaks the wire by hand: for tests of what travels.

    async with running_edge(world, store, clock=clock, entropy=entropy) as edge:
        answer = await edge.call("GET", "/v1/inbox?max=5", signer="ndxp")
        async with edge.stream("ndxp") as stream:
            await stream.give(credit=10)
            delivered = await stream.receive("deliver")

The client checks nothing: what a receiver has to check is the SDK's.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from lgsp.bus.supervisor import Bus
from lgsp.domain import envelope, framing, statements, strictjson
from lgsp.domain.envelope import Wire
from lgsp.domain.limits import LIMITS, Limits
from lgsp.domain.retry import RETRY, RetryPolicy
from lgsp.domain.statements import Statement
from lgsp.http.certificates import Certificates
from lgsp.http.server import Running, serve
from lgsp.http.settings import HTTP_LIMITS, HttpLimits
from lgsp.ports.anchor import Anchor
from lgsp.ports.clock import Clock, Entropy
from lgsp.ports.store import Store
from lgsp.testing.bus import running_bus
from lgsp.testing.world import BUS, OWNERS, World

PATIENCE: Final = 10.0
"""Seconds that a test waits for anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a call gave."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def members(self) -> dict[str, Any]:
        """The body as a JSON object."""
        return strictjson.parse_object(self.body)

    @property
    def code(self) -> str:
        """The code of a problem."""
        return str(self.members["code"])


class Stream:
    """One stream as a client has it."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse[bool], welcome: dict[str, Any]) -> None:
        self.ws = ws
        self.welcome = welcome
        self._kept: list[dict[str, Any]] = []

    async def put(self, **frame: object) -> None:
        """Send a frame."""
        await self.ws.send_str(strictjson.compact(frame).decode())

    async def give(self, *, credit: int, size: int = 2**24) -> None:
        """Give credit for so many deliveries and bytes."""
        await self.put(op="credit", n=credit, bytes=size)

    async def send(self, ref: int | str, wire: Wire) -> None:
        """Send an envelope."""
        await self.put(op="send", ref=ref, envelope=wire.structured())

    async def ack(self, statement: Statement) -> None:
        """Send an ack."""
        await self.put(op="ack", ack=statement.wire())

    async def receive(self, *ops: str) -> dict[str, Any]:
        """Return the next frame of one of these ops; frames of other ops are kept for later calls."""
        for position, frame in enumerate(self._kept):
            if frame["op"] in ops:
                return self._kept.pop(position)
        while True:
            frame = await self.next_frame()
            if frame["op"] in ops:
                return frame
            self._kept.append(frame)

    async def next_frame(self) -> dict[str, Any]:
        """Return the frame that comes next; raise `ConnectionError` when the stream closes instead."""
        message = await asyncio.wait_for(self.ws.receive(), PATIENCE)
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectionError(f"the stream closed: {message.type.name} {self.ws.close_code}")
        return strictjson.parse_object(str(message.data).encode())

    async def answers(self) -> list[dict[str, Any]]:
        """Return everything sent before this call is answered: a ping marks the end."""
        await self.put(op="ping")
        while True:
            frame = await self.next_frame()
            if frame["op"] == "pong":
                kept, self._kept = self._kept, []
                return kept
            self._kept.append(frame)

    async def closing(self) -> dict[str, Any]:
        """Return the `closing` frame, after which nothing else may come."""
        frame = await self.receive("closing")
        try:
            extra = await self.next_frame()
        except ConnectionError:
            return frame
        raise AssertionError(f"a frame came after closing: {extra['op']}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A running gateway and the means to call it."""

    world: World
    bus: Bus
    running: Running
    client: aiohttp.ClientSession

    def authorization(self, signer: str, method: str, path: str, body: bytes = b"", *, jti: str = "") -> str:
        """Return the header by which a signer of the world makes one call; one that a test added has its owner in the directory."""
        key = self.world.signers[signer]
        owner = OWNERS[signer][0] if signer in OWNERS else self.world.directory.keys[key.kid].record.owner
        statement = statements.sign_auth(
            signer=key,
            iss=owner,
            aud=BUS,
            method=method,
            path=path,
            body=body,
            at=self.bus.clock.now(),
            jti=jti or self.bus.entropy.uuid7(),
        )
        return f"LGSP {statement}"

    async def call(
        self,
        method: str,
        path: str,
        *,
        signer: str = "",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make a call, signed where a signer is named."""
        sent = dict(headers or {})
        if signer:
            sent.setdefault("Authorization", self.authorization(signer, method, path, body))
        limit = aiohttp.ClientTimeout(total=PATIENCE)
        url = self.running.url + path
        async with self.client.request(method, url, data=body or None, headers=sent, timeout=limit) as answer:
            return Answer(status=answer.status, headers=answer.headers, body=await answer.read())

    async def post(self, wire: Wire, **headers: str) -> Answer:
        """Post an envelope in binary form."""
        sent = {"lgsp-env": wire.compact.decode(), "Content-Type": "application/json"} | headers
        return await self.call("POST", "/v1/envelopes", body=wire.body, headers=sent)

    async def post_structured(self, wire: Wire) -> Answer:
        """Post an envelope in structured form."""
        body = strictjson.compact(wire.structured())
        return await self.call("POST", "/v1/envelopes", body=body, headers={"Content-Type": envelope.MEDIA_TYPE})

    async def post_acks(self, signer: str, **groups: object) -> Answer:
        """Settle, put back, extend, see."""
        return await self.call("POST", "/v1/acks", signer=signer, body=strictjson.compact(groups))

    @asynccontextmanager
    async def stream(
        self, signer: str, *, language: str = "en", protocols: Sequence[str] = (framing.SINGLE,)
    ) -> AsyncIterator[Stream]:
        """Open a stream and say hello; by default one with a frame in each message."""
        async with self.silent_stream(language=language, protocols=protocols) as stream:
            nonce = stream.welcome["nonce"]
            auth = self.authorization(signer, "GET", "/v1/stream", jti=nonce).removeprefix("LGSP ")
            await stream.put(op="hello", auth=auth)
            yield stream

    @asynccontextmanager
    async def silent_stream(
        self, *, language: str = "en", protocols: Sequence[str] = (framing.SINGLE,)
    ) -> AsyncIterator[Stream]:
        """Open a stream without saying hello."""
        ws = await self.client.ws_connect(
            f"{self.running.url}/v1/stream", protocols=protocols, headers={"Accept-Language": language}
        )
        try:
            stream = Stream(ws, {})
            stream.welcome = await stream.next_frame()
            yield stream
        finally:
            await ws.close()


@asynccontextmanager
async def running_edge(
    world: World,
    store: Store,
    *,
    clock: Clock,
    entropy: Entropy,
    limits: Limits = LIMITS,
    retry: RetryPolicy = RETRY,
    settings: HttpLimits = HTTP_LIMITS,
    anchor: Anchor | None = None,
) -> AsyncIterator[Edge]:
    """Run a bus over the store behind its edge on a free port of loopback."""
    running = running_bus(world, store, clock=clock, entropy=entropy, limits=limits, retry=retry, anchor=anchor)
    async with running as bus, behind_edge(world, bus, settings=settings) as edge:
        yield edge


@asynccontextmanager
async def behind_edge(
    world: World,
    bus: Bus,
    *,
    settings: HttpLimits = HTTP_LIMITS,
    tls: Certificates | None = None,
    trusting: ssl.SSLContext | bool = True,
) -> AsyncIterator[Edge]:
    """Put an edge on a free port of loopback before a bus that runs; with `tls` its client believes, and shows, what `trusting` says."""
    running = await serve(bus, host="127.0.0.1", port=0, settings=settings, tls=tls)
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as client:
            yield Edge(world=world, bus=bus, running=running, client=client)
    finally:
        await running.close()
