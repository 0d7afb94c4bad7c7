"""`GET /v1/inbox` and `POST /v1/acks`: deliveries for a system that pulls. What reaches nobody is given back at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import Field

from lgsp.bus.inbox import Handover
from lgsp.bus.supervisor import Bus
from lgsp.domain import strictjson
from lgsp.domain.envelope import format_time
from lgsp.errors import Refusal
from lgsp.http import frames
from lgsp.http.calls import DIGITS, Call, Content, Form, Nothing, Role, json_of
from lgsp.http.faults import as_refusal
from lgsp.http.forms import Inbox, Results, Settling
from lgsp.http.problems import language_of
from lgsp.http.requests import is_gone, members_in, system_of, systems_body
from lgsp.http.settings import HTTP_LIMITS
from lgsp.http.wiring import BUS, METRICS, REQUEST_ID, SETTINGS

DEFAULT_ITEMS: Final = 10
GROUPS: Final = ("acks", "nacks", "extend", "seen")

Result = dict[str, Any]
Settle = Callable[[Bus, str, Any], Awaitable[Result]]


class InboxQuery(Form):
    """How many deliveries at most, and for how many seconds the first of them is waited for."""

    max: Annotated[int, Field(ge=1, le=HTTP_LIMITS.inbox_items), DIGITS] = DEFAULT_ITEMS
    wait: Annotated[int, Field(ge=0, le=HTTP_LIMITS.wait_seconds), DIGITS] = 0


async def get_inbox(request: web.Request, query: InboxQuery) -> web.StreamResponse:
    """Lease and hand over what waits for the caller, `max` at most, waiting up to `wait` seconds for the first."""
    settings, bus = request.app[SETTINGS], request.app[BUS]
    if bus.is_draining:
        raise Refusal("draining")
    system = await system_of(request)
    handovers = await bus.courier.pull(
        system, limit=min(query.max, settings.inbox_items), wait=float(min(query.wait, settings.wait_seconds))
    )
    items = ",".join(map(frames.inbox_item, handovers))
    return await hand_out(request, handovers, f'{{"now":"{format_time(bus.clock.now())}","items":[{items}]}}')


async def hand_out(
    request: web.Request,
    handovers: Sequence[Handover],
    text: str,
    *,
    headers: Mapping[str, str] | None = None,
    final: bool = False,
) -> web.StreamResponse:
    """Write the answer that carries these leased deliveries, and give them back when the caller has hung up; `final` ones need no ack."""
    response = web.Response(text=text, content_type="application/json", headers=headers)
    bus = request.app[BUS]
    written = await _write(request, response)
    with suppress(
        Refusal
    ):  # the ledger is away: the leases end by themselves, and what was final comes through the inbox too
        if not written:
            await bus.settlement.give_back(handovers)
        elif final:
            for handover in handovers:
                await bus.replies.answered(handover)
    return response


async def _write(request: web.Request, response: web.Response) -> bool:
    """Write an answer and tell whether there was anybody to write it to."""
    with suppress(ConnectionError):  # it hung up meanwhile: like what was never written
        if not is_gone(request):
            await response.prepare(request)
            await response.write_eof()
            return True
    return False


async def post_acks(request: web.Request, _: Nothing) -> web.Response:
    """Settle, put back, extend and mark as seen: one result each, in the order given; one that fails does not hinder the others."""
    system, body = await systems_body(request, request.app[SETTINGS].batch_bytes)
    groups = _groups(members_in(body), request.app[SETTINGS].batch_items)
    found = await asyncio.gather(
        *(_settle_one(request, SETTLE[name], system, value) for name, values in groups.items() for value in values)
    )
    results = iter(found)
    answer = {name: [next(results) for _ in values] for name, values in groups.items()}
    return web.Response(body=strictjson.compact(answer), content_type="application/json")


def _groups(members: dict[str, Any], most: int) -> dict[str, list[Any]]:
    if not members.keys() <= set(GROUPS):
        raise Refusal("bad_request", f"the body has: {', '.join(GROUPS)}")
    if not all(isinstance(values, list) for values in members.values()):
        raise Refusal("bad_request", f"each of {', '.join(GROUPS)} is a list")
    if sum(map(len, members.values())) > most:
        raise Refusal("bad_request", f"at most {most} in one call")
    return members


async def _settle_one(request: web.Request, settle: Settle, system: str, value: object) -> Result:
    try:
        return await settle(request.app[BUS], system, value)
    except Exception as error:  # noqa: BLE001 - a fault of ours is logged and answered like any refusal
        refusal = as_refusal(request, error)
        language = language_of(request.headers.get("Accept-Language", ""))
        request.app[METRICS].count_refusal(refusal.code)
        return {"problem": refusal.problem(language) | {"request_id": request[REQUEST_ID]}}


async def _settle_ack(bus: Bus, system: str, value: object) -> Result:
    return {"env": await bus.settlement.acknowledge(system, frames.read_ack(value))}


async def _settle_nack(bus: Bus, system: str, value: object) -> Result:
    nack = frames.read_nack(_object(value))
    await bus.settlement.put_back(system, env=nack.env, lease=nack.lease, code=nack.code, retry_after=nack.retry_after)
    return {"env": nack.env}


async def _settle_extension(bus: Bus, system: str, value: object) -> Result:
    asked = frames.read_extension(_object(value))
    until = await bus.settlement.extend(system, env=asked.env, lease=asked.lease)
    return {"env": asked.env, "lease_until": format_time(until)}


async def _settle_sighting(bus: Bus, system: str, value: object) -> Result:
    sighting = frames.read_sighting(_object(value))
    await bus.progress.seen(system, env=sighting.env, to=sighting.to, state=sighting.state)
    return {"env": sighting.env, "to": sighting.to}


SETTLE: Final[dict[str, Settle]] = {
    "acks": _settle_ack,
    "nacks": _settle_nack,
    "extend": _settle_extension,
    "seen": _settle_sighting,
}


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refusal("bad_request", "each of the list is an object")
    return value


_SYSTEMS: Final[frozenset[Role]] = frozenset({"system"})
CALLS: Final = (
    Call(
        method="GET",
        path="/v1/inbox",
        run=get_inbox,
        query=InboxQuery,
        vi="Lấy những gì đang chờ bên gọi trong hộp thư, kèm quyền giữ tạm; có thể chờ thông điệp đầu tiên.",
        answers=(json_of(Inbox, "The deliveries, each leased to the caller."),),
        codes=frozenset({"draining"}),
        roles=_SYSTEMS,
    ),
    Call(
        method="POST",
        path="/v1/acks",
        run=post_acks,
        query=Nothing,
        bodies=(Content(model=Settling),),
        vi="Xác nhận, trả lại, gia hạn quyền giữ tạm và báo đã xem kết cục: mỗi mục có một kết quả riêng.",
        answers=(json_of(Results, "A result for each, in the order given."),),
        roles=_SYSTEMS,
    ),
)
