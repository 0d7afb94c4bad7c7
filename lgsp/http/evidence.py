"""Bodies that go along with evidence, over HTTP: the entry that tells of it. They are read on the gateway's machine, with its key file."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from lgsp.domain import envelope
from lgsp.domain.entries import REASON_MAX
from lgsp.http.commands import Asked, told
from lgsp.http.requests import query_of
from lgsp.http.wiring import BUS


class BodyReading(BaseModel):
    """Of which exchange bodies are about to be read, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    env: Annotated[str, Field(pattern=f"^{envelope.HASH_FORM.pattern}$")]
    reason: Annotated[str, Field(min_length=1, max_length=REASON_MAX)]


async def post_body(request: web.Request, asked: Asked) -> web.Response:
    """Note who is about to read the bodies of an exchange; give the number of the entry."""
    query_of(request)
    reading = asked.read(BodyReading)
    index = await request.app[BUS].auditor.note_bodies_read(reading.env, by=asked.by, reason=reading.reason)
    return told({"index": index})
