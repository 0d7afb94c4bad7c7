"""What anyone may read: the signed directory, the services, the schemas. Bytes that a signature or a hash covers are given unchanged."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from lgsp.domain import names, strictjson
from lgsp.errors import Refusal
from lgsp.http.requests import integer, query_of
from lgsp.http.wiring import BUS

VERSION_MAX: Final = 2**31
FOREVER: Final = "public, max-age=31536000, immutable"
"""A published version never changes, nor does a tile of the log."""


async def get_directory(request: web.Request) -> web.Response:
    """Give one version of the directory, the present one by default: `{"version","statement","records"}`, each record as the text signed."""
    query = query_of(request, "version")
    asked = integer(query["version"], 1, VERSION_MAX, "version") if "version" in query else None
    signed = await request.app[BUS].registry.signed(asked)
    members = {
        "version": signed.version,
        "statement": signed.statement.decode("ascii"),
        "records": [record.decode() for record in signed.records],
    }
    headers = {"Cache-Control": FOREVER} if asked is not None else None
    return web.Response(body=strictjson.compact(members), content_type="application/json", headers=headers)


async def get_services(request: web.Request) -> web.Response:
    """Give the service records of the present directory."""
    query_of(request)
    directory = request.app[BUS].registry.current
    records = ",".join(service.encoded().decode() for _, service in sorted(directory.services.items()))
    text = f'{{"version":{directory.version},"services":[{records}]}}'
    return web.Response(text=text, content_type="application/json")


async def get_schema(request: web.Request) -> web.Response:
    """Give the exact bytes of a published schema."""
    query_of(request)
    urn = request.match_info["urn"]
    document = request.app[BUS].registry.documents.get(urn)
    if names.SCHEMA_FORM.fullmatch(urn) is None or document is None:
        raise Refusal("not_found", "there is no such schema")
    return web.Response(body=document, content_type="application/schema+json", headers={"Cache-Control": FOREVER})
