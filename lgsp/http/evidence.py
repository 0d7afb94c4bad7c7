"""Evidence over HTTP: bundles to auditors and to the parties of an exchange; and the entry that tells of bodies read on the gateway's machine."""

from __future__ import annotations

from typing import Annotated, Final, NoReturn

from aiohttp import web
from pydantic import Field, ValidationError

from lgsp.bus.searching import Reader
from lgsp.domain import envelope, strictjson
from lgsp.domain.entries import REASON_MAX
from lgsp.errors import Refusal
from lgsp.http.bundle import Bundle
from lgsp.http.calls import Call, Content, Count, EnvHash, Form, Nothing, Reason, Role, json_of
from lgsp.http.commands import Asked, Command, told
from lgsp.http.requests import caller_of, signed_body
from lgsp.http.wiring import BUS

BODY_MAX: Final = 2 * 1024


class BodyReading(Form):
    """Of which exchange bodies are about to be read, and why."""

    env: EnvHash
    reason: Reason


class Noted(Form):
    """The number of the entry that says so."""

    index: Count


class WithBodies(Form):
    """Why bodies are asked for; a system need not say it of its own."""

    reason: Annotated[str, Field(max_length=REASON_MAX)] = ""


async def get_evidence(request: web.Request, _: Nothing) -> web.Response:
    """Give the bundle of an exchange, without bodies."""
    reader = request.app[BUS].searcher.reader(await caller_of(request))
    env = await _env_of(request, reader)
    return _bundle(await request.app[BUS].bundles.give(reader, env))


async def post_evidence(request: web.Request, _: Nothing) -> web.Response:
    """Give the bundle of an exchange with the bodies that are still held and that the caller may see."""
    caller, body = await signed_body(request, BODY_MAX)
    reader = request.app[BUS].searcher.reader(caller)
    env = await _env_of(request, reader)
    reason = await _reason_of(request, reader, body)
    return _bundle(await request.app[BUS].bundles.give_with_bodies(reader, env, reason=reason))


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


async def post_body(request: web.Request, asked: Asked[BodyReading]) -> web.Response:
    """Note who is about to read the bodies of an exchange; give the number of the entry."""
    stated = asked.stated
    index = await request.app[BUS].auditor.note_bodies_read(stated.env, by=asked.by, reason=stated.reason)
    return told({"index": index})


PATH: Final = "/v1/evidence/{env}"
_READERS: Final[frozenset[Role]] = frozenset({"system", "auditor"})
CALLS: Final = (
    Call(
        method="GET",
        path=PATH,
        run=get_evidence,
        query=Nothing,
        vi="Cho bộ chứng cứ của một trao đổi, không kèm nội dung.",
        answers=(json_of(Bundle, "The bundle."),),
        codes=frozenset({"not_found"}),
        roles=_READERS,
        places={"env": EnvHash},
    ),
    Call(
        method="POST",
        path=PATH,
        run=post_evidence,
        query=Nothing,
        bodies=(Content(model=WithBodies),),
        vi="Cho bộ chứng cứ của một trao đổi kèm nội dung còn được giữ mà bên gọi được xem.",
        answers=(json_of(Bundle, "The bundle, with bodies."),),
        codes=frozenset({"not_found", "body_lost"}),
        roles=_READERS,
        places={"env": EnvHash},
    ),
)
COMMANDS: Final = (
    Command(
        method="POST",
        path="/admin/evidence/body",
        run=post_body,
        states=BodyReading,
        vi="Ghi lại ai sắp đọc nội dung của một trao đổi; cho số của mục nhật ký.",
        answers=(json_of(Noted, "It is noted."),),
        roles=frozenset({"operator"}),
    ),
)
