"""How a call declares itself, once: by what its query and body are checked, and what it answers. The document made of it is `openapi`'s.

Formats of which there are many a second are read by hand; their declarations are models all the same, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from lgsp.domain import envelope, names
from lgsp.domain.entries import REASON_MAX
from lgsp.domain.guesses import problems_of
from lgsp.domain.records import OfficerRole
from lgsp.errors import Refusal
from lgsp.http.requests import DECIMAL, query_of

Role = Literal["system"] | OfficerRole
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ALWAYS: Final = frozenset({"bad_request", "unsupported", "too_large", "internal"})
"""What any call may be refused as: by its address, its headers, or a fault of ours."""
ANOTHERS: Final = frozenset({"certificate_missing", "certificate_mismatch"})
"""What it may be refused as where the connection is not that of whoever signed."""
UNPROVEN: Final = ANOTHERS | {
    "auth_missing", "auth_invalid", "auth_expired", "auth_replayed", "sender_suspended", "forbidden", "unavailable",
}  # fmt: skip
"""What a call that has to be signed may be refused as beyond that."""
JSON: Final = "application/json"
FORMS_KEPT: Final = 256
"""Forms of queries of which something is remembered: there are fewer."""


class Form(BaseModel):
    """Members that are exactly these, of exactly these types; an error about them never repeats what was given."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Nothing(Form):
    """No members."""


def _decimal(value: object) -> int:
    if not isinstance(value, str) or DECIMAL.fullmatch(value) is None:
        raise PydanticCustomError("decimal", "it is a plain decimal number")
    return int(value)


DIGITS: Final = BeforeValidator(_decimal)
"""Reads an integer of a query in the one spelling that it has there; its bounds stand before this, so that they are the integer's own."""
EnvHash = Annotated[str, Field(pattern=f"^{envelope.HASH_FORM.pattern}$")]
System = Annotated[str, Field(pattern=f"^{names.SYSTEM_FORM.pattern}$")]
Moment = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z$")]
Reason = Annotated[str, Field(min_length=1, max_length=REASON_MAX)]
Count = Annotated[int, Field(ge=0)]

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What stands in a body: JSON of a model or, without one, what the media type and the words say."""

    media_type: str = JSON
    model: type[BaseModel] | None = None
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A good answer: its status, what it tells, what stands in it, and headers with what they say."""

    status: int = 200
    words: str
    content: Content | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A header of the call's own."""

    name: str
    words: str
    needed: bool = False
    pattern: str = ".*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What every call says of itself."""

    method: str
    path: str
    run: Callable[..., Awaitable[web.StreamResponse]]
    """What carries it out; the first line of its docstring is what the call does."""
    vi: str
    """The same in Vietnamese."""
    answers: tuple[Answer, ...]
    codes: frozenset[str] = frozenset()
    """What it may be refused as, beyond what holds for all calls."""
    roles: frozenset[Role] = frozenset()
    """Who may sign it; empty where nobody has to."""
    pattern: str = ""
    """The path as the router matches it, where that is not the path itself."""
    places: Mapping[str, Any] = field(default_factory=dict)
    """The types of what stands in braces in the path."""
    headers: tuple[Header, ...] = ()

    @property
    def does(self) -> str:
        """What the call does, in a sentence."""
        return (self.run.__doc__ or "").partition("\n")[0]

    def query_model(self) -> type[BaseModel]:
        """Return what the query is checked by."""
        return Nothing

    def contents(self) -> tuple[Content, ...]:
        """Return what its body may be; nothing where it takes none."""
        return ()

    def every_code(self) -> frozenset[str]:
        """Return all that it may be refused as."""
        return self.codes | ALWAYS | (UNPROVEN if self.roles else frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Declared, Generic[M]):
    """A call whose query is checked before anything else; a body is read by what carries it out."""

    run: Callable[[web.Request, M], Awaitable[web.StreamResponse]]
    query: type[M]
    bodies: tuple[Content, ...] = ()

    def query_model(self) -> type[BaseModel]:
        """Return what the query is checked by."""
        return self.query

    def contents(self) -> tuple[Content, ...]:
        """Return what its body may be."""
        return self.bodies

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request; refuse (`bad_request`) a query that is not of its form."""
        return await self.run(request, read_query(request, self.query))


def json_of(model: type[BaseModel], words: str, **more: Any) -> Answer:  # noqa: ANN401 - the other fields of an answer
    """Return the answer whose body is JSON of a model."""
    return Answer(words=words, content=Content(model=model), **more)


def read_query(request: web.Request, model: type[M]) -> M:
    """Return the query as a model; refuse (`bad_request`) a name that the call does not have or has twice, and a wrong value."""
    given = query_of(request, *query_names(model)) if request.rel_url.raw_query_string else None
    try:
        found: M = _unasked(model) if given is None else model.model_validate(given)
    except ValidationError as error:
        raise Refusal("bad_request", f"the query: {'; '.join(problems_of(error, model))}") from None
    return found


@lru_cache(maxsize=FORMS_KEPT)
def _unasked(model: type[M]) -> M:
    """Return the model of a query in which nothing stands: nearly every call's."""
    return model.model_validate({})


@lru_cache(maxsize=FORMS_KEPT)
def query_names(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the names that a query may have."""
    return tuple(held.alias or name for name, held in model.model_fields.items())
