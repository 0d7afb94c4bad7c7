"""Sealed bodies over HTTP: what is held of each day, and the destruction of a day's key. Nothing of a body is ever told."""

from __future__ import annotations

from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from lgsp.domain.entries import REASON_MAX
from lgsp.domain.records import DAY_FORM
from lgsp.http.commands import Asked, Command, told
from lgsp.http.requests import query_of
from lgsp.http.wiring import BUS
from lgsp.ports.bodies import DayHeld


class Destruction(BaseModel):
    """Which day's key is to be destroyed, why, and whether what is still to be delivered may be lost."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    day: Annotated[str, Field(pattern=f"^{DAY_FORM.pattern}$")]
    reason: Annotated[str, Field(min_length=1, max_length=REASON_MAX)]
    even_undelivered: bool = False


async def get_days(request: web.Request, _asked: Asked) -> web.Response:
    """Tell how many bodies of each day are held, and which days have a key."""
    query_of(request)
    days = await request.app[BUS].custody.days()
    return told({"days": [_members(each.held) | {"key": each.has_key} for each in days]})


async def post_destroy(request: web.Request, asked: Asked) -> web.Response:
    """Destroy the key of a day; tell the number of the entry, and what was held of the day."""
    query_of(request)
    wanted = asked.read(Destruction)
    index, held = await request.app[BUS].custody.destroy(
        wanted.day, by=asked.by, reason=wanted.reason, even_undelivered=wanted.even_undelivered
    )
    return told({"entry": index} | _members(held))


def _members(held: DayHeld) -> dict[str, Any]:
    return {"day": held.day, "in_flight": held.in_flight, "parked": held.parked, "archived": held.archived}


COMMANDS = (
    Command(method="GET", path="/admin/bodies", run=get_days, roles=frozenset({"viewer", "operator"})),
    Command(method="POST", path="/admin/bodies/destroy", run=post_destroy, roles=frozenset({"operator"})),
)
