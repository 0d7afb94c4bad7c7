"""What anyone may read: the signed directory, the services, the schemas. Bytes that a signature or a hash covers are given unchanged."""

from __future__ import annotations

from typing import Annotated, Final

from aiohttp import web
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from lgsp.domain import names, strictjson
from lgsp.domain.records import SchemaUrn, ServiceRecord
from lgsp.errors import Refusal
from lgsp.http.calls import DIGITS, Answer, Call, Content, Form, Nothing, json_of
from lgsp.http.wiring import BUS

VERSION_MAX: Final = 2**31
FOREVER: Final = "public, max-age=31536000, immutable"
"""A published version never changes, nor does a tile of the log."""


class DirectoryQuery(Form):
    """Which version."""

    version: Annotated[int, Field(ge=1, le=VERSION_MAX), DIGITS] | SkipJsonSchema[None] = None


class SignedDirectory(Form):
    """One version of the directory, as it was signed."""

    version: Annotated[int, Field(ge=1)]
    statement: Annotated[str, Field(description="The registrar's statement, a compact JWS.")]
    records: Annotated[list[str], Field(description="Each record as the exact text that was signed.")]


class Services(Form):
    """The services of the present directory; a member at its default is left out."""

    version: Annotated[int, Field(ge=0)]
    services: list[ServiceRecord]


async def get_directory(request: web.Request, query: DirectoryQuery) -> web.Response:
    """Give one version of the directory, the present one by default: `{"version","statement","records"}`, each record as the text signed."""
    signed = await request.app[BUS].registry.signed(query.version)
    members = {
        "version": signed.version,
        "statement": signed.statement.decode("ascii"),
        "records": [record.decode() for record in signed.records],
    }
    headers = {"Cache-Control": FOREVER} if query.version is not None else None
    return web.Response(body=strictjson.compact(members), content_type="application/json", headers=headers)


async def get_services(request: web.Request, _: Nothing) -> web.Response:
    """Give the service records of the present directory."""
    directory = request.app[BUS].registry.current
    records = ",".join(service.encoded().decode() for _, service in sorted(directory.services.items()))
    text = f'{{"version":{directory.version},"services":[{records}]}}'
    return web.Response(text=text, content_type="application/json")


async def get_schema(request: web.Request, _: Nothing) -> web.Response:
    """Give the exact bytes of a published schema."""
    urn = request.match_info["urn"]
    document = request.app[BUS].registry.documents.get(urn)
    if names.SCHEMA_FORM.fullmatch(urn) is None or document is None:
        raise Refusal("not_found", "there is no such schema")
    return web.Response(body=document, content_type="application/schema+json", headers={"Cache-Control": FOREVER})


CALLS: Final = (
    Call(
        method="GET",
        path="/v1/directory",
        run=get_directory,
        query=DirectoryQuery,
        vi="Cho một phiên bản danh bạ đã ký, mặc định là phiên bản hiện tại.",
        answers=(json_of(SignedDirectory, "The directory of that version."),),
        codes=frozenset({"not_found", "unavailable"}),
    ),
    Call(
        method="GET",
        path="/v1/services",
        run=get_services,
        query=Nothing,
        vi="Cho các dịch vụ trong danh bạ hiện tại.",
        answers=(json_of(Services, "The services."),),
    ),
    Call(
        method="GET",
        path="/v1/schemas/{urn}",
        run=get_schema,
        query=Nothing,
        vi="Cho đúng từng byte của một lược đồ đã công bố.",
        answers=(
            Answer(
                words="The schema.",
                content=Content(media_type="application/schema+json", words="A JSON Schema 2020-12 document."),
            ),
        ),
        codes=frozenset({"not_found"}),
        places={"urn": SchemaUrn},
    ),
)
