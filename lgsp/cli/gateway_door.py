"""How commands speak with a bus: over its admin socket while a gateway runs, with an officer's signature over the network, and else by themselves.

With no gateway on the data folder a command holds the folder, runs the bus for a moment and asks it through the same socket: there is one way to
carry a command out. Reading beside a running gateway is done on its files, which takes nothing and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from lgsp import app, datafolder, keyfiles
from lgsp.cli.reach import Reach
from lgsp.cli.registrar import Sealed
from lgsp.config import Settings
from lgsp.datafolder import DataFolder
from lgsp.domain import jws, statements, strictjson
from lgsp.domain.directory import Directory, empty_directory, open_directory
from lgsp.errors import Refusal, Unusable, catalogue
from lgsp.http import server
from lgsp.machine import SystemClock, SystemEntropy
from lgsp.ports.store import Store
from lgsp.sdk.tls import trusting

TIME_LIMIT: Final = aiohttp.ClientTimeout(total=60)
PATIENCE: Final = 5.0
"""Seconds for which a command waits for another one to let go of the data folder."""
AGAIN: Final = 0.1
GRACE: Final = 0.05
ANSWER_MAX: Final = 64 * 1024 * 1024
PROBLEM: Final = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a data folder holds: the directory in force, verified under the pin, and the schema documents."""

    store: Store
    directory: Directory
    documents: dict[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """The directory in force, verified under the pin, and the schema documents."""

    directory: Directory
    documents: dict[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call to the bus."""

    method: str
    path: str
    body: bytes = b""


@asynccontextmanager
async def open_kept(settings: Settings) -> AsyncIterator[Kept]:
    """Open the kept state of a data folder for reading, whether a gateway runs on it or not."""
    async with app.open_ledger(settings) as store:
        head = await store.head()
        bus = settings.bus.urn
        directory = (
            empty_directory(bus)
            if head is None
            else open_directory(head.statement, head.records, settings.keys.registrar_key(), bus=bus)
        )
        yield Kept(store=store, directory=directory, documents=await store.documents())


async def look(reach: Reach) -> Present:
    """Return the present directory, read beside the gateway or fetched from it; refuse (`directory_invalid`) one that the pin does not sign."""
    if reach.url is None:
        async with open_kept(Settings.load(reach.data)) as kept:
            return Present(directory=kept.directory, documents=kept.documents)
    async with _far(reach) as session:
        directory = _opened(await _asked(session, reach.url, Call(method="GET", path="/v1/directory")), reach)
        documents = {
            urn: await _asked(session, reach.url, Call(method="GET", path=f"/v1/schemas/{urn}"))
            for urn in directory.schemas
        }
    others = [urn for urn, document in documents.items() if jws.hash_of(document) != directory.schemas[urn].hash]
    if others:
        raise Refusal("directory_invalid", f"schema {others[0]}: the document is not the one that was published")
    return Present(directory=directory, documents=documents)


def _opened(answer: bytes, reach: Reach) -> Directory:
    try:
        found = strictjson.parse_object(answer)
        statement, encoded = str(found["statement"]).encode(), [str(record).encode() for record in found["records"]]
    except (ValueError, KeyError, TypeError):
        raise Unusable("unavailable", "what answers is no gateway") from None
    return open_directory(statement, encoded, reach.pin(), bus=reach.bus())


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
                return await _ask_alone(settings, call)
        except Unusable as refusal:
            if refusal.code != "data_locked" or asyncio.get_running_loop().time() > until:
                raise
        if reach.folder.admin_socket.is_socket():
            try:
                return await _ask_socket(reach.folder, call)
            except aiohttp.ClientConnectorError:
                pass  # its holder has just gone, or is about to listen
        await asyncio.sleep(AGAIN)


async def _ask_alone(settings: Settings, call: Call) -> bytes:
    folder = DataFolder(root=settings.data)
    async with app.open_bus(settings) as bus:
        admin = await server.serve_admin(bus, folder.admin_socket)
        try:
            answer: bytes | Refusal = await _ask_socket(folder, call)
        except Refusal as refusal:
            answer = refusal  # raised once the bus has ended in order
        finally:
            folder.admin_socket.unlink(missing_ok=True)
            await asyncio.sleep(
                GRACE
            )  # whoever has just connected is still heard; calls in progress are awaited by `close`
            await admin.close()
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
