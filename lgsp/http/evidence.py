"""Evidence over HTTP: bundles to auditors and to the parties of an exchange; and the entry that tells of bodies read on the gateway's machine."""

from __future__ import annotations

from typing import Annotated, Final, NoReturn

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lgsp.bus.searching import Reader
from lgsp.domain import envelope, strictjson
from lgsp.domain.entries import REASON_MAX
from lgsp.errors import Refusal
from lgsp.http.commands import Asked, told
from lgsp.http.requests import caller_of, query_of, read_body
from lgsp.http.wiring import BUS

BODY_MAX: Final = 2 * 1024


class BodyReading(BaseModel):
    """Of which exchange bodies are about to be read, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    env: Annotated[str, Field(pattern=f"^{envelope.HASH_FORM.pattern}$")]
    reason: Annotated[str, Field(min_length=1, max_length=REASON_MAX)]


class WithBodies(BaseModel):
    """Why bodies are asked for; a system need not say it of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reason: Annotated[str, Field(max_length=REASON_MAX)] = ""


async def get_evidence(request: web.Request) -> web.Response:
    """Give the bundle of an exchange, without bodies."""
    query_of(request)
    reader = await _reader(request)
    env = await _env_of(request, reader)
    return _bundle(await request.app[BUS].bundles.give(reader, env))


async def post_evidence(request: web.Request) -> web.Response:
    """Give the bundle of an exchange with the bodies that are still held and that the caller may see."""
    query_of(request)
    body = await read_body(request, BODY_MAX)
    reader = await _reader(request, body)
    env = await _env_of(request, reader)
    reason = await _reason_of(request, reader, body)
    return _bundle(await request.app[BUS].bundles.give_with_bodies(reader, env, reason=reason))


async def _reader(request: web.Request, body: bytes | None = None) -> Reader:
    return request.app[BUS].searcher.reader(await caller_of(request, body))


async def _env_of(request: web.Request, reader: Reader) -> str:
    """Return the env hash that the address names; whoever may read nothing made an attempt, whatever they asked."""
    env = request.match_info["env"]
    if envelope.HASH_FORM.fullmatch(env) is None:
        await _refuse(request, reader, "an exchange is named by an env hash like sha-256:…")
    return env


async def _reason_of(request: web.Request, reader: Reader, body: bytes) -> str:
    try:
        return WithBodies.model_validate(strictjson.parse_object(body)).reason
    except (strictjson.NotStrict, ValidationError):
        return await _refuse(request, reader, f'the body is {{"reason"}}, at most {REASON_MAX} characters')


async def _refuse(request: web.Request, reader: Reader, words: str) -> NoReturn:
    if not reader.allowed:
        await request.app[BUS].bundles.note_attempt(reader)
    raise Refusal("bad_request", words)


def _bundle(data: bytes) -> web.Response:
    return web.Response(body=data, content_type="application/json")


async def post_body(request: web.Request, asked: Asked) -> web.Response:
    """Note who is about to read the bodies of an exchange; give the number of the entry."""
    query_of(request)
    reading = asked.read(BodyReading)
    index = await request.app[BUS].auditor.note_bodies_read(reading.env, by=asked.by, reason=reading.reason)
    return told({"index": index})
