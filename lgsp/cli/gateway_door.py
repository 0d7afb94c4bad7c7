"""How commands speak with a bus: over its admin socket while a gateway runs, with an officer's signature over the network, and else by themselves.

With no gateway on the data folder a command holds the folder, runs the bus for a moment and asks it through the same socket: there is one way to
carry a command out. Reading beside a running gateway is `kept`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from lgsp import datafolder, keyfiles
from lgsp.cli.reach import Reach
from lgsp.cli.registrar import Sealed
from lgsp.config import Settings
from lgsp.datafolder import DataFolder
from lgsp.domain import statements, strictjson
from lgsp.errors import Refusal, Unusable, catalogue
from lgsp.machine import SystemClock, SystemEntropy
from lgsp.tls import trusting

TIME_LIMIT: Final = aiohttp.ClientTimeout(total=60)
PATIENCE: Final = 5.0
"""Seconds for which a command waits for another one to let go of the data folder."""
AGAIN: Final = 0.1
ANSWER_MAX: Final = 64 * 1024 * 1024
PROBLEM: Final = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call to the bus."""

    method: str
    path: str
    body: bytes = b""


async def ask(reach: Reach, method: str, path: str, members: dict[str, Any] | None = None, *, command: str) -> bytes:
    """Have the bus carry out a command and return its answer; refuse as the bus does.

    Refuses too as `data_locked` when somebody else holds the data folder, as `unavailable` when the gateway does not answer: then the
    command may have taken effect.
    """
    call = Call(method=method, path=path, body=b"" if members is None else strictjson.compact(members))
    if reach.url is None:
        return await _ask_near(reach, call, command)
    async with _far(reach) as session:
        return await _asked(session, reach.url, call, {"Authorization": _signed(reach, call)})


async def ask_openly(reach: Reach, call: Call, headers: dict[str, str]) -> bytes:
    """Make a call that needs no authorization over the network, and return its answer; refuse as the gateway does, or as `unavailable`."""
    async with _far(reach) as session:
        return await _asked(session, str(reach.url), call, headers)


@asynccontextmanager
async def reading(reach: Reach) -> AsyncIterator[Callable[[str], Awaitable[bytes]]]:
    """Give a function that reads the path of what a gateway shows to everybody; all over one connection, refused as `ask_openly` is."""
    async with _far(reach) as session:
        yield lambda path: _asked(session, str(reach.url), Call(method="GET", path=path))


def _signed(reach: Reach, call: Call) -> str:
    if reach.key is None or reach.officer is None:
        raise Unusable("bad_request", "--url goes with --as and --key")
    statement = statements.sign_auth(
        signer=keyfiles.read_private(reach.key),
        iss=reach.officer,
        aud=reach.bus(),
        method=call.method,
        path=call.path,
        body=call.body,
        at=SystemClock().now(),
        jti=SystemEntropy().uuid7(),
    )
    return f"LGSP {statement}"


async def _ask_near(reach: Reach, call: Call, command: str) -> bytes:
    """Ask through the socket of whoever holds the folder, or hold it; while neither works somebody is just beginning or ending."""
    settings = Settings.load(reach.data)
    until = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            with datafolder.hold(reach.folder, command=command):
                return await _ask_alone(settings, reach.folder, call)
        except Unusable as refusal:
            if refusal.code != "data_locked" or asyncio.get_running_loop().time() > until:
                raise
        if reach.folder.admin_socket.is_socket():
            try:
                return await _ask_socket(reach.folder, call)
            except aiohttp.ClientConnectorError:
                pass  # its holder has just gone, or is about to listen
        await asyncio.sleep(AGAIN)


async def _ask_alone(settings: Settings, folder: DataFolder, call: Call) -> bytes:
    from lgsp.cli.lone_bus import lone_bus  # noqa: PLC0415 - a whole bus, which is loaded only where nobody runs one

    async with lone_bus(settings):
        try:
            answer: bytes | Refusal = await _ask_socket(folder, call)
        except Refusal as refusal:
            answer = refusal  # raised once the bus has ended in order
    if isinstance(answer, Refusal):
        raise answer
    return answer


async def _ask_socket(folder: DataFolder, call: Call) -> bytes:
    with datafolder.short_path(folder.admin_socket) as name:
        async with _session(aiohttp.UnixConnector(path=name)) as session:
            return await _asked(session, "http://gateway", call)


def _session(connector: aiohttp.BaseConnector | None = None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=connector, timeout=TIME_LIMIT)


@asynccontextmanager
async def _far(reach: Reach) -> AsyncIterator[aiohttp.ClientSession]:
    connector = None if reach.ca is None else aiohttp.TCPConnector(ssl=trusting(reach.ca))
    async with _session(connector) as session:
        try:
            yield session
        except aiohttp.ClientConnectorError as error:
            raise Unusable("unavailable", f"no gateway is reached at {reach.url}: {type(error).__name__}") from None


async def _asked(session: aiohttp.ClientSession, url: str, call: Call, headers: dict[str, str] | None = None) -> bytes:
    try:
        async with session.request(
            call.method, url + call.path, data=call.body or None, headers=headers, allow_redirects=False
        ) as answer:
            body = await answer.content.read(ANSWER_MAX)
            while not answer.content.at_eof():
                if len(body) >= ANSWER_MAX:
                    raise Unusable("unavailable", "the answer is too large")
                body += await answer.content.read(ANSWER_MAX - len(body))
    except aiohttp.ClientConnectorError:
        raise  # nothing was said yet
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unusable("unavailable", f"the gateway does not answer: {type(error).__name__}") from None
    if not answer.ok:
        raise _refusal(body)
    return body


def _refusal(body: bytes) -> Refusal:
    try:
        members = strictjson.parse_object(body)
    except strictjson.NotStrict:
        return Unusable("unavailable", "what answers is no gateway")
    return refusal_in(members)


def refusal_in(members: dict[str, Any]) -> Refusal:
    """Return the refusal that the members of a problem tell of; a code that is not known here is `internal`."""
    code = str(members.get("code", "internal"))
    known = code if code in catalogue() else "internal"
    return Refusal(known, str(members.get("detail", "")), pointer=str(members.get("pointer", "")))


async def publish(reach: Reach, sealed: Sealed, reason: str, *, command: str) -> int:
    """Bring a signed directory to the bus and return its version; refuse as `ask` does."""
    members = {
        "statement": sealed.statement.decode("ascii"),
        "records": [record.decode() for record in sealed.records],
        "documents": {urn: document.decode() for urn, document in sealed.documents.items()},
        "reason": reason,
    }
    answer = await ask(reach, "POST", "/admin/directory", members, command=command)
    return int(strictjson.parse_object(answer)["version"])
