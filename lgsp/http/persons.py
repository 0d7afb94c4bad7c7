"""Persons over HTTP: who used somebody's data, withholding, erasure and keys. A number comes in the signed body of a call, never in its address."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from aiohttp import web
from pydantic import Field

from lgsp.bus.persons import Answer, Question
from lgsp.domain import envelope, subjects
from lgsp.domain.records import OfficerRole
from lgsp.domain.usages import Usage
from lgsp.domain.withholding import Withholding
from lgsp.errors import Refusal
from lgsp.http.calls import Count, EnvHash, Form, Moment, Nothing, Reason, json_of
from lgsp.http.commands import Asked, Command, told
from lgsp.http.wiring import BUS
from lgsp.ports.persons import BEFORE_ALL, Place

PAGE_MAX: Final = 1_000
PLACE_FORM: Final = re.compile(rf"(-1|0|[1-9][0-9]{{0,17}})/({envelope.HASH_FORM.pattern})")
WITHHELD_NOTE: Final = {
    "en": "Uses that a law withholds for a time are not shown here, whether there are any or not.",
    "vi": "Các lần sử dụng mà pháp luật quy định chưa được thông báo thì không hiển thị ở đây, dù có hay không.",
}
"""Said with every answer to a person, so that it tells nothing."""


class Whom(Form):
    """One person."""

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


class Rule(Form):
    """Which uses are to be withheld from the persons concerned, until when, by which law, and why."""

    system: str = ""
    type: str = ""
    procedure: str = ""
    casefile: str = ""
    basis: Reason
    until: str
    reason: Reason


class Ending(Form):
    """Which rule is to end, and why."""

    id: str
    reason: Reason


class Act(Form):
    """Why something is done."""

    reason: Reason


class Period(Form):
    """From when to when the log tells."""

    from_: Annotated[Moment, Field(alias="from")]
    to: Moment


class Cover(Form):
    """What stands for the person in the parameters that the log's entry hashes."""

    commitment: str
    salt: str


class Use(Form):
    """Who used the person's data, when and what for; empty for what is not stated, null where the log's entry is not known."""

    logtime: Moment
    action: str
    sender: str
    receiver: str
    purpose: str
    legalbasis: str
    procedure: str
    casefile: str
    officer: str
    env: EnvHash
    commitment: str
    index: Count | None
    proof: Annotated[str | None, Field(description="The call that proves the entry.")]


class Note(Form):
    """What is said with every answer to a person, in both languages."""

    en: str
    vi: str


class Usages(Form):
    """A page of uses; `next` is the `after` of the page behind it."""

    usagePeriod: Period  # noqa: N815 - the name that the law's list of data has
    asked: Cover
    next: str | None
    findUsage: list[Use]  # noqa: N815 - likewise
    note: Note | None = None


class Done(Form):
    """The number of the entry that says so."""

    index: Count


class Made(Done):
    """The rule's id, and the number of the entry that says so."""

    id: str


class KeptRule(Form):
    """One withholding rule; what it does not state is left out."""

    id: str
    system: str = ""
    type: str = ""
    procedure: str = ""
    casefile: str = ""
    basis: str
    since: Moment
    until: Moment
    holds: bool
    ended: Moment | None = None


class Rules(Form):
    """All withholding rules."""

    rules: list[KeptRule]


class Ring(Form):
    """The names of the keys, the newest first."""

    keys: list[str]


class Retired(Ring):
    """The key that is gone, and those that are left."""

    retired: str


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


async def post_usages(request: web.Request, asked: Asked[Inquiry]) -> web.Response:
    """Tell who used one person's data: `usagePeriod`, and a page of `findUsage`."""
    question = asked.stated.question()
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


async def post_erase(request: web.Request, asked: Asked[Erasure]) -> web.Response:
    """Erase one person from the index, and give the number of the entry that says so."""
    erasure = asked.stated
    index = await request.app[BUS].persons.erase(erasure.person(), by=asked.by, reason=erasure.reason)
    return told({"index": index})


async def post_withholding(request: web.Request, asked: Asked[Rule]) -> web.Response:
    """Keep a new withholding rule, and give its id."""
    stated = asked.stated
    bus = request.app[BUS]
    rule = Withholding(
        id=bus.entropy.uuid7(),
        **stated.model_dump(include={"system", "type", "procedure", "casefile", "basis"}),
        since=bus.clock.now(),
        until=time_of(stated.until, "until"),
    )
    index = await bus.persons.withhold(rule, by=asked.by, reason=stated.reason)
    return told({"id": rule.id, "index": index})


async def post_end_withholding(request: web.Request, asked: Asked[Ending]) -> web.Response:
    """End a withholding rule before its time."""
    ending = asked.stated
    index = await request.app[BUS].persons.end_withholding(ending.id, by=asked.by, reason=ending.reason)
    return told({"index": index})


async def get_withholdings(request: web.Request, asked: Asked[Nothing]) -> web.Response:
    """Tell every withholding rule, ended or not."""
    bus = request.app[BUS]
    now = bus.clock.now()
    rules = [
        rule.stated()
        | {"since": envelope.format_time(rule.since), "holds": rule.holds(now)}
        | ({"ended": envelope.format_time(rule.ended)} if rule.ended is not None else {})
        for rule in await bus.persons.withholdings(by=asked.by)
    ]
    return told({"rules": rules})


async def post_rotate(request: web.Request, asked: Asked[Act]) -> web.Response:
    """Have a new key make pseudonyms, and give the names of all keys of the ring."""
    persons = request.app[BUS].persons
    await persons.rotate_key(by=asked.by, reason=asked.stated.reason)
    return told({"keys": persons.key_names()})


async def post_retire(request: web.Request, asked: Asked[Act]) -> web.Response:
    """Destroy the oldest key, and give the names of those that are left."""
    persons = request.app[BUS].persons
    retired = await persons.retire_key(by=asked.by, reason=asked.stated.reason)
    return told({"retired": retired, "keys": persons.key_names()})


_AUDITORS: Final[frozenset[OfficerRole]] = frozenset({"auditor"})
_OPERATORS: Final[frozenset[OfficerRole]] = frozenset({"operator"})
COMMANDS: Final = (
    Command(
        method="POST",
        path="/v1/usages",
        run=post_usages,
        states=Inquiry,
        vi="Cho biết ai đã sử dụng dữ liệu của một người.",
        answers=(json_of(Usages, "A page of uses."),),
        codes=frozenset({"subject_keys_differ"}),
        roles=_AUDITORS,
        noted=True,
    ),
    Command(
        method="POST",
        path="/admin/subject/erase",
        run=post_erase,
        states=Erasure,
        vi="Xóa một người khỏi chỉ mục; cho số của mục nhật ký ghi việc đó.",
        answers=(json_of(Done, "The person is erased."),),
        codes=frozenset({"not_found", "subject_keys_differ"}),
        roles=_AUDITORS,
        noted=True,
    ),
    Command(
        method="GET",
        path="/admin/withholding",
        run=get_withholdings,
        states=Nothing,
        vi="Cho mọi quy tắc chưa thông báo, đã kết thúc hay chưa.",
        answers=(json_of(Rules, "The rules."),),
        roles=_AUDITORS,
        noted=True,
    ),
    Command(
        method="POST",
        path="/admin/withholding",
        run=post_withholding,
        states=Rule,
        vi="Lưu một quy tắc chưa thông báo mới; cho mã của nó.",
        answers=(json_of(Made, "The rule is kept."),),
        roles=_AUDITORS,
        noted=True,
    ),
    Command(
        method="POST",
        path="/admin/withholding/end",
        run=post_end_withholding,
        states=Ending,
        vi="Kết thúc một quy tắc chưa thông báo trước hạn.",
        answers=(json_of(Done, "The rule has ended."),),
        codes=frozenset({"not_found"}),
        roles=_AUDITORS,
        noted=True,
    ),
    Command(
        method="POST",
        path="/admin/subject/keys/rotate",
        run=post_rotate,
        states=Act,
        vi="Dùng khóa mới để tạo mã thay thế; cho tên mọi khóa.",
        answers=(json_of(Ring, "The new key is in use."),),
        codes=frozenset({"keys_too_many"}),
        roles=_OPERATORS,
    ),
    Command(
        method="POST",
        path="/admin/subject/keys/retire",
        run=post_retire,
        states=Act,
        vi="Hủy khóa cũ nhất; cho tên những khóa còn lại.",
        answers=(json_of(Retired, "The key is destroyed."),),
        codes=frozenset({"last_key"}),
        roles=_OPERATORS,
    ),
)
