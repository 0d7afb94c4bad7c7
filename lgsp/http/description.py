"""`GET /openapi.json`: the description of all calls of the public port. What stands in it is `openapi`'s."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from lgsp.domain import strictjson
from lgsp.http import openapi
from lgsp.http.calls import Call, Declared, Nothing, json_of


class Described(BaseModel):
    """An OpenAPI 3.1 document."""

    model_config = ConfigDict(extra="allow")

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]


@dataclass(slots=True)
class Description:
    """The document of some calls, made when it is first asked for: most gateways never are."""

    calls: Sequence[Declared]
    _made: bytes = b""
    _making: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def text(self) -> bytes:
        """Return the document's bytes; made aside, for it takes longer than others should wait."""
        async with self._making:
            if not self._made:
                self._made = await asyncio.to_thread(self._make)
        return self._made

    def _make(self) -> bytes:
        return strictjson.compact(openapi.document(self.calls, version=metadata.version("lgsp")))


DESCRIPTION: Final = web.AppKey("description", Description)


async def get_description(request: web.Request, _: Nothing) -> web.Response:
    """Describe all calls of this port: this document."""
    return web.Response(body=await request.app[DESCRIPTION].text(), content_type="application/json")


CALLS: Final = (
    Call(
        method="GET",
        path="/openapi.json",
        run=get_description,
        query=Nothing,
        vi="Mô tả mọi lời gọi của cổng này: chính tài liệu này.",
        answers=(json_of(Described, "The document."),),
    ),
)
