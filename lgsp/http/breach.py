"""A breach over HTTP: what a suspect did or received, counted by persons, and whom of a list it reached, at the word of two officers."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from aiohttp import web
from pydantic import Field

from lgsp.bus.breach import Item, Naming
from lgsp.domain import envelope, impact, names
from lgsp.domain.records import OfficerRole
from lgsp.errors import Refusal
from lgsp.http.calls import Count, EnvHash, Form, Moment, Reason, json_of
from lgsp.http.commands import Asked, Command, told
from lgsp.http.persons import Whom, time_of
from lgsp.http.wiring import BUS

FORMS: Final = {
    "system": names.SYSTEM_FORM,
    "officer": names.OFFICER_FORM,
    "key": re.compile("[A-Za-z0-9_-]{43}"),
}
NUMBERS_MAX: Final = 10_000
INDEX_MAX: Final = 2**62
After = Annotated[int, Field(ge=0, le=INDEX_MAX)] | None
Nonce = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
"""32 random bytes, base64url."""


class Suspicion(Form):
    """Who or what is suspected, in which time."""

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


class Request(Form):
    """Whom of these persons it reached: what both officers sign."""

    suspicion: Suspicion
    persons: Annotated[list[Whom], Field(min_length=1, max_length=NUMBERS_MAX)]
    nonce: Nonce

    def naming(self) -> Naming:
        """Return what the bus is asked; refuse (`bad_request`) a wrong number, name or time."""
        return Naming(
            breach=self.suspicion.breach(), persons=tuple(each.person() for each in self.persons), nonce=self.nonce
        )


class First(Form):
    """The first officer's word, and why."""

    request: Request
    reason: Reason


class Second(Form):
    """The second officer's: the same request, the entry of the first one's word, and which page."""

    request: Request
    asked: Annotated[int, Field(ge=0, le=INDEX_MAX)]
    after: After = None


class Reached(Form):
    """One exchange that counts, or the reading of its body by a person; `persons` holds a mark for each person."""

    index: Count
    time: Moment
    event: str
    env: EnvHash
    to: str
    action: str
    sender: str
    receiver: str
    purpose: str
    procedure: str
    casefile: str
    officer: str
    persons: list[str]


class Reaching(Form):
    """A page of it; `next` is the `after` of the page behind it."""

    items: list[Reached]
    next: Count | None


class Wanted(Form):
    """The entry that the second officer names."""

    asked: Count


class Places(Form):
    """The places, in the list of the request, of those who are named; `next` is the `after` of the page behind."""

    places: list[Count]
    next: Count | None


async def post_impact(request: web.Request, asked: Asked[Impact]) -> web.Response:
    """Tell a page of what a suspect did or received, with a mark for each person."""
    stated = asked.stated
    page = await request.app[BUS].persons.breach.page(stated.breach(), after=stated.after, by=asked.by)
    nonce = stated.nonce.encode("ascii")
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


async def post_ask(request: web.Request, asked: Asked[First]) -> web.Response:
    """Note that one officer wants persons named, and give the entry for the other."""
    first = asked.stated
    index = await request.app[BUS].persons.breach.ask_names(first.request.naming(), by=asked.by, reason=first.reason)
    return told({"asked": index})


async def post_name(request: web.Request, asked: Asked[Second]) -> web.Response:
    """Tell the places, in the list, of the persons whom a page of the log names."""
    second = asked.stated
    found, behind = await request.app[BUS].persons.breach.name(
        second.request.naming(), asked=second.asked, after=second.after, by=asked.by
    )
    return told({"places": found, "next": behind})


_AUDITORS: Final[frozenset[OfficerRole]] = frozenset({"auditor"})
COMMANDS: Final = (
    Command(
        method="POST",
        path="/admin/impact",
        run=post_impact,
        states=Impact,
        vi="Cho một trang những gì đối tượng nghi vấn đã làm hoặc đã nhận, mỗi người một dấu.",
        answers=(json_of(Reaching, "A page of it."),),
        roles=_AUDITORS,
        noted=True,
    ),
    Command(
        method="POST",
        path="/admin/impact/ask-names",
        run=post_ask,
        states=First,
        vi="Ghi lại rằng một cán bộ muốn biết tên; cho mục nhật ký để cán bộ thứ hai dùng.",
        answers=(json_of(Wanted, "It is noted."),),
        codes=frozenset({"not_agreed"}),
        roles=_AUDITORS,
        noted=True,
    ),
    Command(
        method="POST",
        path="/admin/impact/name",
        run=post_name,
        states=Second,
        vi="Cho vị trí, trong danh sách, của những người mà một trang nhật ký nêu ra.",
        answers=(json_of(Places, "A page of it."),),
        codes=frozenset({"not_agreed", "subject_keys_differ"}),
        roles=_AUDITORS,
        noted=True,
    ),
)
