"""Persons over HTTP: who used somebody's data, withholding, erasure and keys. A number comes in the signed body of a call, never in its address."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from lgsp.bus.persons import Answer, Question
from lgsp.domain import envelope, subjects
from lgsp.domain.entries import REASON_MAX
from lgsp.domain.records import OfficerRole
from lgsp.domain.usages import Usage
from lgsp.domain.withholding import Withholding
from lgsp.errors import Refusal
from lgsp.http.commands import Asked, Command, told
from lgsp.http.requests import query_of
from lgsp.http.wiring import BUS
from lgsp.ports.persons import BEFORE_ALL, Place

PAGE_MAX: Final = 1_000
PLACE_FORM: Final = re.compile(rf"(-1|0|[1-9][0-9]{{0,17}})/({envelope.HASH_FORM.pattern})")
WITHHELD_NOTE: Final = {
    "en": "Uses that a law withholds for a time are not shown here, whether there are any or not.",
    "vi": "Các lần sử dụng mà pháp luật quy định chưa được thông báo thì không hiển thị ở đây, dù có hay không.",
}
"""Said with every answer to a person, so that it tells nothing."""

Reason = Annotated[str, Field(min_length=1, max_length=REASON_MAX)]
STRICT: Final = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Whom(BaseModel):
    """One person."""

    model_config = STRICT

    scheme: str
    number: str

    def person(self) -> subjects.Person:
        """Return the person; refuse (`bad_request`) what is no number."""
        return subjects.person(self.scheme, self.number)


class Inquiry(Whom):
    """Whose uses are asked for, and for whose eyes: the person's own, or an auditor's."""

    view: Literal["person", "auditor"] = "person"
    after: str | None = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = 100

    def question(self) -> Question:
        """Return what the bus is asked; refuse (`bad_request`) a wrong number or place."""
        return Question(
            person=self.person(), whole=self.view == "auditor", after=place_of(self.after), limit=self.limit
        )


class Erasure(Whom):
    """Who is to be erased from the index, and why."""

    reason: Reason


class Rule(BaseModel):
    """Which uses are to be withheld from the persons concerned, until when, by which law, and why."""

    model_config = STRICT

    system: str = ""
    type: str = ""
    procedure: str = ""
    casefile: str = ""
    basis: Reason
    until: str
    reason: Reason


class Ending(BaseModel):
    """Which rule is to end, and why."""

    model_config = STRICT

    id: str
    reason: Reason


class Act(BaseModel):
    """Why something is done."""

    model_config = STRICT

    reason: Reason


def place_of(text: str | None) -> Place:
    """Return the place that a page's `next` names; refuse (`bad_request`) any other text."""
    if text is None:
        return BEFORE_ALL
    found = PLACE_FORM.fullmatch(text)
    if found is None:
        raise Refusal("bad_request", "after is the next of the page before", pointer="/after")
    return int(found[1]), found[2]


def time_of(text: str, name: str) -> datetime:
    """Return the time of a member; refuse (`bad_request`) any other form."""
    try:
        return envelope.parse_time(text)
    except ValueError:
        raise Refusal("bad_request", "a time looks like 2026-11-22T00:00:00Z", pointer=f"/{name}") from None


async def post_usages(request: web.Request, asked: Asked) -> web.Response:
    """Tell who used one person's data: `usagePeriod`, and a page of `findUsage`."""
    query_of(request)
    question = asked.read(Inquiry).question()
    bus = request.app[BUS]
    answer = await bus.persons.usages(question, by=asked.by)
    note = {} if question.whole else {"note": WITHHELD_NOTE}
    return told(_period(answer, bus.clock.now()) | {"findUsage": [_usage(each) for each in answer.usages]} | note)


def _period(answer: Answer, now: datetime) -> dict[str, Any]:
    behind = None if answer.behind is None else f"{answer.behind[0]}/{answer.behind[1]}"
    return {
        "usagePeriod": {"from": envelope.format_time(answer.since), "to": envelope.format_time(now)},
        "asked": {"commitment": answer.commitment, "salt": answer.salt},
        "next": behind,
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "logtime": envelope.format_time(usage.moment),
        "action": usage.action,
        "sender": usage.sender,
        "receiver": usage.receiver,
        "purpose": usage.purpose,
        "legalbasis": usage.legal_basis,
        "procedure": usage.procedure,
        "casefile": usage.casefile,
        "officer": usage.officer,
        "env": usage.env,
        "commitment": usage.commitment,
        "index": usage.index if usage.index >= 0 else None,
        "proof": f"/v1/audit/proof?index={usage.index}" if usage.index >= 0 else None,
    }


async def post_erase(request: web.Request, asked: Asked) -> web.Response:
    """Erase one person from the index, and give the number of the entry that says so."""
    query_of(request)
    erasure = asked.read(Erasure)
    index = await request.app[BUS].persons.erase(erasure.person(), by=asked.by, reason=erasure.reason)
    return told({"index": index})


async def post_withholding(request: web.Request, asked: Asked) -> web.Response:
    """Keep a new withholding rule, and give its id."""
    query_of(request)
    stated = asked.read(Rule)
    bus = request.app[BUS]
    rule = Withholding(
        id=bus.entropy.uuid7(),
        **stated.model_dump(include={"system", "type", "procedure", "casefile", "basis"}),
        since=bus.clock.now(),
        until=time_of(stated.until, "until"),
    )
    index = await bus.persons.withhold(rule, by=asked.by, reason=stated.reason)
    return told({"id": rule.id, "index": index})


async def post_end_withholding(request: web.Request, asked: Asked) -> web.Response:
    """End a withholding rule before its time."""
    query_of(request)
    ending = asked.read(Ending)
    index = await request.app[BUS].persons.end_withholding(ending.id, by=asked.by, reason=ending.reason)
    return told({"index": index})


async def get_withholdings(request: web.Request, asked: Asked) -> web.Response:
    """Tell every withholding rule, ended or not."""
    query_of(request)
    bus = request.app[BUS]
    now = bus.clock.now()
    rules = [
        rule.stated()
        | {"since": envelope.format_time(rule.since), "holds": rule.holds(now)}
        | ({"ended": envelope.format_time(rule.ended)} if rule.ended is not None else {})
        for rule in await bus.persons.withholdings(by=asked.by)
    ]
    return told({"rules": rules})


async def post_rotate(request: web.Request, asked: Asked) -> web.Response:
    """Have a new key make pseudonyms, and give the names of all keys of the ring."""
    query_of(request)
    persons = request.app[BUS].persons
    await persons.rotate_key(by=asked.by, reason=asked.read(Act).reason)
    return told({"keys": persons.key_names()})


async def post_retire(request: web.Request, asked: Asked) -> web.Response:
    """Destroy the oldest key, and give the names of those that are left."""
    query_of(request)
    persons = request.app[BUS].persons
    retired = await persons.retire_key(by=asked.by, reason=asked.read(Act).reason)
    return told({"retired": retired, "keys": persons.key_names()})


_AUDITORS: Final[frozenset[OfficerRole]] = frozenset({"auditor"})
COMMANDS: Final = (
    Command(method="POST", path="/v1/usages", run=post_usages, roles=_AUDITORS, noted=True),
    Command(method="POST", path="/admin/subject/erase", run=post_erase, roles=_AUDITORS, noted=True),
    Command(method="GET", path="/admin/withholding", run=get_withholdings, roles=_AUDITORS, noted=True),
    Command(method="POST", path="/admin/withholding", run=post_withholding, roles=_AUDITORS, noted=True),
    Command(method="POST", path="/admin/withholding/end", run=post_end_withholding, roles=_AUDITORS, noted=True),
    Command(method="POST", path="/admin/subject/keys/rotate", run=post_rotate, roles=frozenset({"operator"})),
    Command(method="POST", path="/admin/subject/keys/retire", run=post_retire, roles=frozenset({"operator"})),
)
