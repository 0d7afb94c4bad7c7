"""Sealed bodies over HTTP: what is held of each day, and the destruction of a day's key. Nothing of a body is ever told."""

from __future__ import annotations

from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import Field

from lgsp.domain.records import DAY_FORM
from lgsp.http.calls import Count, Form, Nothing, Reason, json_of
from lgsp.http.commands import Asked, Command, told
from lgsp.http.wiring import BUS
from lgsp.ports.bodies import DayHeld

Day = Annotated[str, Field(pattern=f"^{DAY_FORM.pattern}$")]


class Destruction(Form):
    """Which day's key is to be destroyed, why, and whether what is still to be delivered may be lost."""

    day: Day
    reason: Reason
    even_undelivered: bool = False


class Held(Form):
    """What was held of a day."""

    day: Day
    in_flight: Count
    parked: Count
    archived: Count


class HeldWithKey(Held):
    """What is held of a day, and whether its key is."""

    key: bool


class Days(Form):
    """Days of which a body or a key is held."""

    days: list[HeldWithKey]


class Destroyed(Held):
    """What was held, and the number of the entry that says so."""

    entry: Count


async def get_days(request: web.Request, _: Asked[Nothing]) -> web.Response:
    """Tell how many bodies of each day are held, and which days have a key."""
    days = await request.app[BUS].custody.days()
    return told({"days": [_members(each.held) | {"key": each.has_key} for each in days]})


async def post_destroy(request: web.Request, asked: Asked[Destruction]) -> web.Response:
    """Destroy the key of a day; tell the number of the entry, and what was held of the day."""
    wanted = asked.stated
    index, held = await request.app[BUS].custody.destroy(
        wanted.day, by=asked.by, reason=wanted.reason, even_undelivered=wanted.even_undelivered
    )
    return told({"entry": index} | _members(held))


def _members(held: DayHeld) -> dict[str, Any]:
    return {"day": held.day, "in_flight": held.in_flight, "parked": held.parked, "archived": held.archived}


COMMANDS: Final = (
    Command(
        method="GET",
        path="/admin/bodies",
        run=get_days,
        states=Nothing,
        vi="Cho biết mỗi ngày còn giữ bao nhiêu nội dung và ngày nào còn khóa.",
        answers=(json_of(Days, "The days."),),
        roles=frozenset({"viewer", "operator"}),
    ),
    Command(
        method="POST",
        path="/admin/bodies/destroy",
        run=post_destroy,
        states=Destruction,
        vi="Hủy khóa của một ngày; cho số của mục nhật ký và những gì đang giữ của ngày đó.",
        answers=(json_of(Destroyed, "The key is destroyed."),),
        codes=frozenset({"not_found", "bodies_undelivered", "day_not_over"}),
        roles=frozenset({"operator"}),
    ),
)
