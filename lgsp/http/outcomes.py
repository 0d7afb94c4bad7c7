"""`GET /v1/outcomes`: what became of what the caller sent and has not seen. `seen` in `POST /v1/acks` takes an outcome off the list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from lgsp.domain.envelope import HASH_FORM, format_time
from lgsp.domain.exchange import Delivery
from lgsp.http import frames
from lgsp.http.calls import Call, Form, json_of
from lgsp.http.forms import Outcomes
from lgsp.http.requests import system_of
from lgsp.http.wiring import BUS, SETTINGS

LOOKED_THROUGH: Final = 4_096
"""Unseen outcomes that `after` can skip; beyond them a caller has to see some first."""


class OutcomesQuery(Form):
    """Where to go on: an env hash, or nothing for the start of the list."""

    after: Annotated[str, Field(pattern=f"^({HASH_FORM.pattern})?$")] = ""


async def get_outcomes(request: web.Request, query: OutcomesQuery) -> web.Response:
    """Tell unseen outcomes, oldest first, from the start of the list or `after` an env hash that stands in it."""
    system = await system_of(request)
    bus, page = request.app[BUS], request.app[SETTINGS].outcome_items
    found = await bus.progress.outcomes(system, limit=LOOKED_THROUGH if query.after else page)
    items = ",".join(map(frames.outcome_item, _following(found, query.after)[:page]))
    return web.Response(
        text=f'{{"now":"{format_time(bus.clock.now())}","items":[{items}]}}', content_type="application/json"
    )


def _following(found: Sequence[Delivery], after: str) -> Sequence[Delivery]:
    """Return what follows the last outcome of `after`; everything when it is not there, for then it was seen."""
    last = max((position for position, delivery in enumerate(found) if delivery.env == after), default=-1)
    return found[last + 1 :]


CALLS: Final = (
    Call(
        method="GET",
        path="/v1/outcomes",
        run=get_outcomes,
        query=OutcomesQuery,
        vi="Cho các kết cục chưa xem của những gì bên gọi đã gửi, cũ nhất trước.",
        answers=(json_of(Outcomes, "The outcomes."),),
        roles=frozenset({"system"}),
    ),
)
