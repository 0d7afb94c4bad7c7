"""A breach over HTTP: what a suspect did or received, counted by persons, and whom of a list it reached, at the word of two officers."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from lgsp.bus.breach import Item, Naming
from lgsp.domain import base64url, envelope, impact, names
from lgsp.domain.entries import REASON_MAX
from lgsp.domain.records import OfficerRole
from lgsp.errors import Refusal
from lgsp.http.commands import Asked, Command, told
from lgsp.http.persons import Whom, time_of
from lgsp.http.requests import query_of
from lgsp.http.wiring import BUS

FORMS: Final = {
    "system": names.SYSTEM_FORM,
    "officer": names.OFFICER_FORM,
    "key": re.compile("[A-Za-z0-9_-]{43}"),
}
NUMBERS_MAX: Final = 100_000
INDEX_MAX: Final = 2**62
STRICT: Final = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)
After = Annotated[int, Field(ge=0, le=INDEX_MAX)] | None
Nonce = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
"""32 random bytes, base64url."""


class Suspicion(BaseModel):
    """Who or what is suspected, in which time."""

    model_config = STRICT

    suspect: Literal["system", "officer", "key"]
    name: str
    since: str
    until: str

    def breach(self) -> impact.Breach:
        """Return what is to be looked for; refuse (`bad_request`) a wrong name or time."""
        if FORMS[self.suspect].fullmatch(self.name) is None:
            raise Refusal("bad_request", f"it is no {self.suspect}", pointer="/name")
        return impact.Breach(
            suspect=self.suspect,
            name=self.name,
            since=time_of(self.since, "since"),
            until=time_of(self.until, "until"),
        )


class Impact(Suspicion):
    """Which page of it is asked for."""

    nonce: Nonce
    after: After = None


class Request(BaseModel):
    """Whom of these persons it reached: what both officers sign."""

    model_config = STRICT

    suspicion: Suspicion
    persons: Annotated[list[Whom], Field(min_length=1, max_length=NUMBERS_MAX)]
    nonce: Nonce

    def naming(self) -> Naming:
        """Return what the bus is asked; refuse (`bad_request`) a wrong number, name or time."""
        return Naming(
            breach=self.suspicion.breach(), persons=tuple(each.person() for each in self.persons), nonce=self.nonce
        )


class First(BaseModel):
    """The first officer's word, and why."""

    model_config = STRICT

    request: Request
    reason: Annotated[str, Field(min_length=1, max_length=REASON_MAX)]


class Second(BaseModel):
    """The second officer's: the same request, the entry of the first one's word, and which page."""

    model_config = STRICT

    request: Request
    asked: Annotated[int, Field(ge=0, le=INDEX_MAX)]
    after: After = None


async def post_impact(request: web.Request, asked: Asked) -> web.Response:
    """Tell a page of what a suspect did or received, with a mark for each person."""
    query_of(request)
    stated = asked.read(Impact)
    page = await request.app[BUS].persons.breach.page(stated.breach(), after=stated.after, by=asked.by)
    nonce = base64url.decode(stated.nonce)
    return told({"items": [_item(item, nonce) for item in page.items], "next": page.behind})


def _item(item: Item, nonce: bytes) -> dict[str, Any]:
    return {
        "index": item.index,
        "time": envelope.format_time(item.moment),
        "event": item.event,
        "env": item.env,
        "to": item.to,
        "action": item.action,
        "sender": item.sender,
        "receiver": item.receiver,
        "purpose": item.purpose,
        "procedure": item.procedure,
        "casefile": item.casefile,
        "officer": item.officer,
        "persons": item.marks(nonce),
    }


async def post_ask(request: web.Request, asked: Asked) -> web.Response:
    """Note that one officer wants persons named, and give the entry for the other."""
    query_of(request)
    first = asked.read(First)
    index = await request.app[BUS].persons.breach.ask_names(first.request.naming(), by=asked.by, reason=first.reason)
    return told({"asked": index})


async def post_name(request: web.Request, asked: Asked) -> web.Response:
    """Tell the places, in the list, of the persons whom a page of the log names."""
    query_of(request)
    second = asked.read(Second)
    found, behind = await request.app[BUS].persons.breach.name(
        second.request.naming(), asked=second.asked, after=second.after, by=asked.by
    )
    return told({"places": found, "next": behind})


_AUDITORS: Final[frozenset[OfficerRole]] = frozenset({"auditor"})
COMMANDS: Final = (
    Command(method="POST", path="/admin/impact", run=post_impact, roles=_AUDITORS, noted=True),
    Command(method="POST", path="/admin/impact/ask-names", run=post_ask, roles=_AUDITORS, noted=True),
    Command(method="POST", path="/admin/impact/name", run=post_name, roles=_AUDITORS, noted=True),
)
