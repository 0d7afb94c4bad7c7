"""Parked deliveries over HTTP: the list, one envelope's story, its bytes, and the decisions. No answer but that of `read` holds any of a body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import Field

from lgsp.bus.parking import LISTED_MAX, Choice, Parked, Place
from lgsp.domain import envelope, strictjson
from lgsp.domain.exchange import Delivery, Exchange, State
from lgsp.domain.records import OfficerRole, SystemUrn
from lgsp.errors import Refusal
from lgsp.http.calls import DIGITS, Answer, Content, Count, EnvHash, Form, Moment, Nothing, Reason, System, json_of
from lgsp.http.commands import Asked, Command, told
from lgsp.http.forms import Envelope
from lgsp.http.wiring import BUS

AT_ONCE: Final = 256
"""Deliveries in one decision: one transaction."""
SHOWN: Final = 100
"""Deliveries in a list that does not ask for more."""


class ListQuery(Form):
    """Which parked deliveries are meant, and how many of them; what is not given leaves all in."""

    system: Annotated[str, Field(description="The receiver's URN.")] = ""
    type: Annotated[str, Field(description="The message type.")] = ""
    code: Annotated[str, Field(description="Why the delivery is parked.")] = ""
    limit: Annotated[int, Field(ge=1, le=LISTED_MAX), DIGITS] = SHOWN


class Named(Form):
    """One delivery; without `to` the only one of the envelope that is parked."""

    env: EnvHash
    to: SystemUrn | None = None

    @property
    def place(self) -> Place:
        """What the bus calls it."""
        return self.env, self.to or ""


class Reading(Named):
    """Whose bytes are to be read, and why."""

    reason: Reason


class Decision(Form):
    """What is to be replayed or dropped, and why."""

    deliveries: Annotated[list[Named], Field(min_length=1, max_length=AT_ONCE)]
    reason: Reason

    @property
    def places(self) -> list[Place]:
        """What the bus calls them."""
        return [named.place for named in self.deliveries]


class ParkedDelivery(Form):
    """One parked delivery."""

    env: EnvHash
    to: System
    source: System
    type: str
    code: str
    attempts: Count
    expires: Moment


class Listed(Form):
    """The first of the chosen deliveries, and how many there are; `whole` is false when more are parked than were looked through."""

    now: Moment
    total: Count
    whole: bool
    items: list[ParkedDelivery]


class StoryDelivery(Form):
    """Where one delivery stands."""

    to: System
    state: State
    attempts: Count
    code: str


class StoryExchange(Form):
    """One exchange of a story."""

    env: EnvHash
    id: str
    source: System
    type: str
    audience: str
    accepted_at: Moment
    expires: Moment
    cause: str
    deliveries: list[StoryDelivery]


class StoryEntry(Form):
    """What the log says of it, as far as it is an operator's business."""

    seq: Count
    ts: Moment
    ev: str
    env: str = ""
    to: str = ""
    code: str = ""
    attempt: int = 0
    by: str = ""
    reason: str = ""


class Story(Form):
    """Request and reply with their deliveries, and what the log says of them up to the entry `searched`."""

    chain: list[StoryExchange]
    entries: list[StoryEntry]
    searched: Count
    whole: bool


class Result(Form):
    """Empty for what was done; else why it was not."""

    code: str = ""
    detail: str = ""


class Decided(Form):
    """One result each, in the order given."""

    results: list[Result]


async def get_list(request: web.Request, asked: Asked[ListQuery]) -> web.Response:
    """Tell which deliveries are parked, oldest first."""
    query, bus = asked.stated, request.app[BUS]
    choice = Choice(system=query.system, type=query.type, code=query.code)
    found = await bus.parking.listing(choice, limit=query.limit)
    items = [_parked_members(item) for item in found.items]
    return told(
        {"now": envelope.format_time(bus.clock.now()), "total": found.total, "whole": found.whole, "items": items}
    )


def _parked_members(item: Parked) -> dict[str, Any]:
    held = item.delivery
    return {
        "env": held.env,
        "to": held.to,
        "source": held.source,
        "type": item.type,
        "code": held.code,
        "attempts": held.attempts,
        "expires": envelope.format_time(held.expires),
    }


async def get_lineage(request: web.Request, _: Asked[Nothing]) -> web.Response:
    """Tell how an envelope came about and what became of it."""
    env = request.match_info["env"]
    if envelope.HASH_FORM.fullmatch(env) is None:
        raise Refusal("not_found", "a story is told of an env hash")
    found = await request.app[BUS].parking.lineage(env)
    chain = [_exchange_members(exchange, deliveries) for exchange, deliveries in found.chain]
    return told({"chain": chain, "entries": found.entries, "searched": found.searched, "whole": found.whole})


def _exchange_members(exchange: Exchange, deliveries: Sequence[Delivery]) -> dict[str, Any]:
    return {
        "env": exchange.env,
        "id": exchange.id,
        "source": exchange.source,
        "type": exchange.type,
        "audience": exchange.audience,
        "accepted_at": envelope.format_time(exchange.accepted_at),
        "expires": envelope.format_time(exchange.expires),
        "cause": exchange.cause,
        "deliveries": [
            {"to": held.to, "state": held.state, "attempts": held.attempts, "code": held.code} for held in deliveries
        ],
    }


async def post_read(request: web.Request, asked: Asked[Reading]) -> web.Response:
    """Give the original bytes of a parked delivery in structured form, after an entry says who reads them."""
    reading = asked.stated
    wire = await request.app[BUS].parking.read(reading.place, by=asked.by, reason=reading.reason)
    return web.Response(body=strictjson.compact(wire.structured()), content_type=envelope.MEDIA_TYPE)


async def post_replay(request: web.Request, asked: Asked[Decision]) -> web.Response:
    """Let parked deliveries go out again; one result each."""
    decision = asked.stated
    results = await request.app[BUS].parking.replay(decision.places, by=asked.by, reason=decision.reason)
    return told({"results": [_result(each) for each in results]})


async def post_drop(request: web.Request, asked: Asked[Decision]) -> web.Response:
    """End parked deliveries; one result each."""
    decision = asked.stated
    results = await request.app[BUS].parking.drop(decision.places, by=asked.by, reason=decision.reason)
    return told({"results": [_result(each) for each in results]})


def _result(refusal: Refusal | None) -> dict[str, str]:
    return {} if refusal is None else {"code": refusal.code, "detail": refusal.detail}


_VIEWERS: Final[frozenset[OfficerRole]] = frozenset({"viewer", "operator"})
_OPERATORS: Final[frozenset[OfficerRole]] = frozenset({"operator"})
COMMANDS: Final = (
    Command(
        method="GET",
        path="/admin/parked",
        run=get_list,
        states=ListQuery,
        vi="Cho biết những lượt giao đang tạm giữ, cũ nhất trước.",
        answers=(json_of(Listed, "The deliveries."),),
        roles=_VIEWERS,
    ),
    Command(
        method="GET",
        path="/admin/parked/{env}",
        run=get_lineage,
        states=Nothing,
        vi="Cho biết một phong bì từ đâu mà có và đã đi đến đâu.",
        answers=(json_of(Story, "The story."),),
        codes=frozenset({"not_found"}),
        roles=_VIEWERS,
        places={"env": EnvHash},
    ),
    Command(
        method="POST",
        path="/admin/parked/read",
        run=post_read,
        states=Reading,
        vi="Cho các byte gốc của một lượt giao đang tạm giữ, sau khi nhật ký ghi ai đọc.",
        answers=(Answer(words="The envelope.", content=Content(media_type=envelope.MEDIA_TYPE, model=Envelope)),),
        codes=frozenset({"not_found", "not_parked", "body_lost", "body_erased"}),
        roles=_OPERATORS,
    ),
    Command(
        method="POST",
        path="/admin/parked/replay",
        run=post_replay,
        states=Decision,
        vi="Phát lại những lượt giao đang tạm giữ; mỗi lượt có một kết quả riêng.",
        answers=(json_of(Decided, "A result for each."),),
        roles=_OPERATORS,
    ),
    Command(
        method="POST",
        path="/admin/parked/drop",
        run=post_drop,
        states=Decision,
        vi="Bỏ những lượt giao đang tạm giữ; mỗi lượt có một kết quả riêng.",
        answers=(json_of(Decided, "A result for each."),),
        roles=_OPERATORS,
    ),
)
