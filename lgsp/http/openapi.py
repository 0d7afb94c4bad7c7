"""The OpenAPI 3.1 document of calls, made of what they declare. Pure: declarations in, members out; serving it is `description`'s.

Refusals stand in it by status, each with the codes that the call can give. Texts are English; `x-summary-vi` and `x-refusals` have Vietnamese ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from lgsp.errors import Entry, catalogue
from lgsp.http.calls import Answer, Content, Declared, Header
from lgsp.http.forms import Problem
from lgsp.http.problems import MEDIA_TYPE, RETRY_AFTER

Members = dict[str, Any]

SCHEMAS: Final = "#/components/schemas/"
HEADERS: Final = "#/components/headers/"
SHARED_HEADERS: Final = {
    "X-Request-Id": "Under which the gateway knows the call.",
    "Content-Language": "The language of title and hint.",
    "WWW-Authenticate": "LGSP",
    "Retry-After": "Seconds after which to come back.",
}
SCHEME: Final = "lgsp"
UNAUTHORIZED: Final = 401
INTRODUCTION: Final = """\
The calls of one gateway of an LGSP bus: what its protocol says in sections 4, 6 and 7, for programs.

Paths and queries are taken in their plain form alone: no percent-encoding, no doubled slashes, no dot segments; a name that a query does not have is
refused. Every refusal is a problem (RFC 9457) with a stable `code`; its title and hint come in English or Vietnamese, as `Accept-Language` asks.
All codes stand in `x-refusals`, in both languages."""
AUTHORIZATION: Final = """\
`Authorization: LGSP <compact JWS>`: a statement of the type `lgsp-auth.v1+jws`, signed with a key of the calling system or officer. Its payload has
the members `iss aud method path hash iat exp jti`: caller, bus, method, path with the query as sent, `sha-256:` hash of the body, seconds since 1970
from and to which it holds (60 at most), and 16 to 64 characters that count once. The names beside the scheme are who may call: `system`, or the role
of an officer."""


class _Schemas(GenerateJsonSchema):
    """Schemas without what tells nothing: titles made of names, and defaults that are empty."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - its signature is the library's
        """Say no."""
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Return the schema with its default, unless that is empty."""
        found = super().default_schema(schema)
        if not found.get("default", True) and not isinstance(found["default"], bool | int):
            del found["default"]
        return found


def document(calls: Sequence[Declared], *, version: str) -> Members:
    """Return the document of these calls; `version` is the program's."""
    references, schemas = _schemas(calls)
    paths: Members = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "LGSP Bus", "version": version, "description": INTRODUCTION},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": {name: _header(words) for name, words in SHARED_HEADERS.items()},
            "securitySchemes": {SCHEME: {"type": "http", "scheme": "LGSP", "description": AUTHORIZATION}},
        },
        "x-refusals": {
            entry.code: _told(entry) for entry in _entries({c for call in calls for c in call.every_code()})
        },
    }


def _schemas(calls: Iterable[Declared]) -> tuple[Mapping[type[BaseModel], Members], Members]:
    """Return how each model is referred to, and the schemas by their names."""
    named = [content.model for content in _contents(calls) if content.model is not None]
    models: dict[type[BaseModel], None] = dict.fromkeys([Problem, *named])
    found, held = models_json_schema(
        [(model, "validation") for model in models], ref_template=f"{SCHEMAS}{{model}}", schema_generator=_Schemas
    )
    return {model: schema for (model, _), schema in found.items()}, held["$defs"]  # type: ignore[misc]


def _contents(calls: Iterable[Declared]) -> Iterator[Content]:
    for call in calls:
        yield from call.contents()
        yield from (answer.content for answer in call.answers if answer.content is not None)


def _operation(call: Declared, references: Mapping[type[BaseModel], Members]) -> Members:
    members: Members = {
        "operationId": call.run.__name__,
        "summary": call.does,
        "x-summary-vi": call.vi,
        "tags": [_tag(call.path)],
        "parameters": [*_places(call), *_query(call.query_model()), *map(_header_parameter, call.headers)],
        "responses": _answers(call, references) | _refusals(call.every_code()),
        "security": [{SCHEME: [role]} for role in sorted(call.roles)],
    }
    if contents := call.contents():
        members["requestBody"] = {
            "required": True,
            "content": {content.media_type: _media(content, references) for content in contents},
        }
    return members


def _tag(path: str) -> str:
    first, _, rest = path.strip("/").partition("/")
    return rest.partition("/")[0] if first == "v1" else "admin" if first == "admin" else "gateway"


def _places(call: Declared) -> list[Members]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": TypeAdapter(form).json_schema(schema_generator=_Schemas),
        }
        for name, form in call.places.items()
    ]


def _query(model: type[BaseModel]) -> list[Members]:
    schema = model.model_json_schema(schema_generator=_Schemas)
    needed = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in needed, "schema": form}
        for name, form in schema.get("properties", {}).items()
    ]


def _header_parameter(header: Header) -> Members:
    return {
        "name": header.name,
        "in": "header",
        "required": header.needed,
        "description": header.words,
        "schema": {"type": "string", "pattern": f"^{header.pattern}$"},
    }


def _media(content: Content, references: Mapping[type[BaseModel], Members]) -> Members:
    schema = dict(references[content.model]) if content.model is not None else {}
    return {"schema": schema | ({"description": content.words} if content.words else {})}


def _answers(call: Declared, references: Mapping[type[BaseModel], Members]) -> Members:
    return {str(answer.status): _answer(answer, references) for answer in call.answers}


def _answer(answer: Answer, references: Mapping[type[BaseModel], Members]) -> Members:
    own = {name: _header(words) for name, words in answer.headers.items()}
    members: Members = {
        "description": answer.words,
        "headers": {"X-Request-Id": {"$ref": f"{HEADERS}X-Request-Id"}} | own,
    }
    if answer.content is not None:
        members["content"] = {answer.content.media_type: _media(answer.content, references)}
    return members


def _header(words: str) -> Members:
    return {"description": words, "schema": {"type": "string"}}


def _refusals(codes: Iterable[str]) -> Members:
    by_status = groupby(sorted(_entries(codes), key=lambda entry: entry.status), key=lambda entry: entry.status)
    return {str(status): _refusal(status, list(entries)) for status, entries in by_status}


def _refusal(status: int, entries: Sequence[Entry]) -> Members:
    codes = [entry.code for entry in entries]
    narrowed = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    schema = {"allOf": [{"$ref": f"{SCHEMAS}{Problem.__name__}"}, narrowed]}
    return {
        "description": "; ".join(f"`{entry.code}`: {entry.title['en']}" for entry in entries),
        "headers": _headers_of_refusal(status),
        "content": {MEDIA_TYPE: {"schema": schema}},
    }


def _headers_of_refusal(status: int) -> Members:
    names = ["X-Request-Id", "Content-Language"]
    names += ["WWW-Authenticate"] if status == UNAUTHORIZED else []
    names += ["Retry-After"] if status in RETRY_AFTER else []
    return {name: {"$ref": f"{HEADERS}{name}"} for name in names}


def _entries(codes: Iterable[str]) -> list[Entry]:
    """Return the rows of the catalogue in its order."""
    wanted = set(codes)
    return [entry for code, entry in catalogue().items() if code in wanted]


def _told(entry: Entry) -> Members:
    return {
        "status": entry.status,
        "retryable": entry.retryable,
        "family": entry.family,
        "title": dict(entry.title),
        "hint": dict(entry.hint),
    }
