"""Searching the log's entries over HTTP: as a query, or as a body where what is asked for belongs into no address, as a person's number does."""

from __future__ import annotations

from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import Field, ValidationError
from pydantic.json_schema import SkipJsonSchema

from lgsp.bus.searching import Page, Reader, Searcher
from lgsp.domain import names, strictjson
from lgsp.domain.entries import EVENTS
from lgsp.domain.envelope import CODE_FORM, HASH_FORM, format_time, parse_time
from lgsp.domain.selection import Selection
from lgsp.domain.subjects import Scheme
from lgsp.errors import Refusal
from lgsp.http.calls import DIGITS, Call, Content, Count, Form, Nothing, Role, json_of
from lgsp.http.commands import LOCAL
from lgsp.http.requests import caller_of, members_in, read_body, signed_body
from lgsp.http.settings import HTTP_LIMITS
from lgsp.http.wiring import BUS, SETTINGS

CODE: Final = "[a-z][a-z0-9_.-]{0,63}"
OFFICER: Final = "[a-z0-9]{4,32}"
YEARS: Final = range(2000, 9000)
INDEX_MAX: Final = 2**63 - 1
BODY_MAX: Final = 8 * 1024
LIMIT: Final = 100
"""Entries in one answer when nothing else is asked."""


def _form(pattern: str) -> Any:  # noqa: ANN401 - what pydantic reads
    return Field(default="", pattern=f"^(?:{pattern})$")


def _later(default: str | int | None = "", **form: str | int) -> Any:  # noqa: ANN401 - likewise
    """Return a field whose form is told in the description, and checked by `Query` when it is known who asks."""
    return Field(default=default, json_schema_extra=dict(form))


class Person(Form):
    """A person's number, and of which kind it is."""

    scheme: Scheme
    number: Annotated[str, Field(min_length=1, max_length=32, repr=False)]


class Query(Form):
    """What is asked for, and which page of it; empty texts ask for nothing."""

    start: Annotated[int, Field(ge=0, le=INDEX_MAX)] = 0
    stop: Annotated[int | None, Field(ge=0, le=INDEX_MAX)] = None
    limit: Annotated[int, Field(ge=1)] = LIMIT
    since: Annotated[str, Field(alias="from", max_length=32)] = ""
    until: Annotated[str, Field(max_length=32)] = ""
    agency: str = _form(names.AGENCY_FORM.pattern)
    system: str = _form(names.SYSTEM_FORM.pattern)
    type: str = _form(names.TYPE_FORM.pattern)
    event: Annotated[str, Field(max_length=64)] = ""
    code: str = _form(CODE)
    env: str = _form(HASH_FORM.pattern)
    casefile: str = _form(CODE_FORM.pattern)
    procedure: str = _form(CODE_FORM.pattern)
    officer: str = _form(OFFICER)
    person: Person | None = None

    async def selection(self, searcher: Searcher) -> Selection:
        """Return what is asked for; refuse (`bad_request`) a time, an event or a person's number that is none."""
        if self.event and self.event not in EVENTS:
            raise Refusal("bad_request", "there is no such event", pointer="/event")
        plain = self.model_dump(
            include={"agency", "system", "type", "event", "code", "env", "casefile", "procedure", "officer"}
        )
        return Selection(
            since=_moment(self.since, "from"),
            until=_moment(self.until, "until"),
            person=await searcher.person(self.person.scheme, self.person.number) if self.person else (),
            **plain,
        )


class AsGiven(Form):
    """The same in an address, where no person's number belongs."""

    start: Annotated[int, Field(ge=0, le=INDEX_MAX), DIGITS] = 0
    stop: Annotated[int, Field(ge=0, le=INDEX_MAX), DIGITS] | SkipJsonSchema[None] = None
    limit: Annotated[int, Field(ge=0, le=INDEX_MAX), DIGITS] = _later(LIMIT, minimum=1, maximum=HTTP_LIMITS.entry_items)
    since: str = Field(default="", alias="from", json_schema_extra={"maxLength": 32})
    until: str = _later(maxLength=32)
    agency: str = _later(pattern=f"^{names.AGENCY_FORM.pattern}$")
    system: str = _later(pattern=f"^{names.SYSTEM_FORM.pattern}$")
    type: str = _later(pattern=f"^{names.TYPE_FORM.pattern}$")
    event: str = _later(maxLength=64)
    code: str = _later(pattern=f"^{CODE}$")
    env: str = _later(pattern=f"^{HASH_FORM.pattern}$")
    casefile: str = _later(pattern=f"^{CODE_FORM.pattern}$")
    procedure: str = _later(pattern=f"^{CODE_FORM.pattern}$")
    officer: str = _later(pattern=f"^{OFFICER}$")


class Found(Form):
    """A page of entries, each as the text whose hash is the leaf; while `next` is there, it is the `start` of the next page, with the same `stop`."""

    start: Count
    entries: list[str]
    stop: Count
    next: Annotated[int, Field(ge=0)] = 0


def _moment(text: str, name: str) -> str:
    """Return a time as entries write it."""
    if not text:
        return ""
    try:
        moment = parse_time(text)
        if moment.year not in YEARS:
            raise ValueError("no time of a log")
        return format_time(moment)
    except ValueError:
        raise Refusal("bad_request", "a time looks like 2026-11-22T00:16:31Z", pointer=f"/{name}") from None


async def get_entries(request: web.Request, query: AsGiven) -> web.Response:
    """Give the entries from `start` on that the query asks for, each as the text whose hash is the leaf."""
    given = query.model_dump(by_alias=True, exclude_unset=True)
    return await _answer(request, request.app[BUS].searcher.reader(await caller_of(request)), given)


async def post_entries(request: web.Request, _: Nothing) -> web.Response:
    """Give the entries that a query in the body asks for, which may name a person."""
    caller, body = await signed_body(request, BODY_MAX)
    return await _answer(request, request.app[BUS].searcher.reader(caller), members_in(body))


async def post_entries_locally(request: web.Request, _: Nothing) -> web.Response:
    """Give the same to whoever may open the admin socket."""
    body = await read_body(request, BODY_MAX)
    most = request.app[SETTINGS].local_entry_items
    return await _answer(request, Reader(by=LOCAL, allowed=True), members_in(body), most=most)


async def _answer(request: web.Request, reader: Reader, given: dict[str, Any], *, most: int = 0) -> web.Response:
    bus = request.app[BUS]
    try:
        query = _query(given, most=most or request.app[SETTINGS].entry_items)
        selection = await query.selection(bus.searcher)
    except Refusal:
        if not reader.allowed:  # whatever was asked, the attempt is an entry
            await bus.auditor.note_reading(reader.by, {}, allowed=False)
        raise
    page = await bus.searcher.page(reader, selection, start=query.start, stop=query.stop, limit=query.limit)
    return web.Response(body=_told(query.start, page), content_type="application/json")


def _query(given: dict[str, Any], *, most: int) -> Query:
    try:
        query = Query.model_validate(given)
    except ValidationError as error:
        # Neither what was given nor what was wrong with it is told: it may be a person's number.
        wrong = sorted(
            {".".join(map(str, row["loc"][:1])) for row in error.errors(include_url=False, include_input=False)}
        )
        raise Refusal("bad_request", f"not of their form: {', '.join(wrong)}") from None
    if query.limit > most:
        raise Refusal("bad_request", f"limit is an integer from 1 to {most}")
    return query


def _told(start: int, page: Page) -> bytes:
    members: dict[str, int | list[str]] = {"start": start, "entries": [entry.decode() for entry in page.entries]}
    members |= {"stop": page.stop} | ({} if page.next is None else {"next": page.next})
    return strictjson.compact_members(members)


ENTRIES: Final = "/v1/audit/entries"
_READERS: Final[frozenset[Role]] = frozenset({"system", "auditor"})
_ANSWERS: Final = (json_of(Found, "A page of entries."),)
_CODES: Final = frozenset({"subject_keys_differ"})
CALLS: Final = (
    Call(
        method="GET",
        path=ENTRIES,
        run=get_entries,
        query=AsGiven,
        vi="Tìm các mục nhật ký theo những gì nêu trong địa chỉ.",
        answers=_ANSWERS,
        codes=_CODES,
        roles=_READERS,
    ),
    Call(
        method="POST",
        path=ENTRIES,
        run=post_entries,
        query=Nothing,
        bodies=(Content(model=Query),),
        vi="Tìm các mục nhật ký theo những gì nêu trong nội dung, có thể theo một người.",
        answers=_ANSWERS,
        codes=_CODES,
        roles=_READERS,
    ),
)
LOCAL_ENTRIES: Final = Call(
    method="POST",
    path=ENTRIES,
    run=post_entries_locally,
    query=Nothing,
    bodies=(Content(model=Query),),
    vi="Tìm các mục nhật ký qua socket quản trị.",
    answers=_ANSWERS,
    codes=_CODES,
)
"""The same on the admin socket."""
