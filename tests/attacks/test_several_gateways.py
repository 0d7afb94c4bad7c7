"""Attacks that use two gateways of one bus against each other."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from lgsp.domain import strictjson
from lgsp.machine import SystemClock
from lgsp.testing.gateways import running_gateway, world_of_gateways

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def world():
    return world_of_gateways(SystemClock().now(), "b")


@pytest.fixture
async def gateways(world, database):
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(running_gateway(world, database, name, clock=SystemClock()))
            for name in "ab"
        ]


async def entries_of(edge, event):
    ledger = edge.bus.ledger
    found = map(strictjson.parse_object, await ledger.entries(0, await ledger.size()))
    return [entry for entry in found if entry["ev"] == event]


async def test_r15_the_same_envelope_at_two_gateways_at_once_is_accepted_once_with_one_receipt(gateways, world):
    a, b = gateways
    sent = [world.envelope(number=number) for number in range(1, 41)]
    answers = await asyncio.gather(*(each.post(wire) for wire in sent for each in (a, b, b, a)))
    for place in range(0, len(answers), 4):
        assert {answer.status for answer in answers[place : place + 4]} == {202}
        assert len({answer.body for answer in answers[place : place + 4]}) == 1
    accepted = Counter(entry["env"] for entry in await entries_of(a, "msg.accepted"))
    assert accepted == {wire.hash: 1 for wire in sent}
    delivered = (await a.call("GET", "/v1/inbox?max=100&wait=10", signer="ndxp")).members["items"]
    assert len(delivered) == len(sent)


async def test_r15_two_bodies_under_one_id_at_two_gateways_at_once_are_one_exchange_and_conflicts(gateways, world):
    first, second = (
        world.envelope(),
        world.envelope(body={"personalNumber": "099185000017", "fullName": "B", "birthDate": "1990"}),
    )
    answers = await asyncio.gather(
        *(gateways[0].post(first) for _ in range(3)), *(gateways[1].post(second) for _ in range(3))
    )
    statuses = [answer.status for answer in answers]
    assert sorted((statuses[:3], statuses[3:])) == [[202] * 3, [409] * 3]
    assert {answer.code for answer in answers if answer.status == 409} == {"id_conflict"}
    assert len(await entries_of(gateways[0], "msg.accepted")) == 1


async def test_r11b_an_authorization_that_was_used_at_one_gateway_is_refused_at_the_other(gateways):
    a, b = gateways
    header = {"Authorization": a.authorization("ndxp", "GET", "/v1/inbox")}
    assert (await a.call("GET", "/v1/inbox", headers=header)).status == 200
    again = await b.call("GET", "/v1/inbox", headers=header)
    assert (again.status, again.code) == (401, "auth_replayed")
    assert (await a.call("GET", "/v1/inbox", headers=header)).code == "auth_replayed"


async def test_r11b_of_one_authorization_at_two_gateways_at_once_one_call_is_served(gateways):
    for _ in range(10):
        header = {"Authorization": gateways[0].authorization("ndxp", "GET", "/v1/inbox")}
        answers = await asyncio.gather(*(each.call("GET", "/v1/inbox", headers=header) for each in gateways))
        assert sorted(answer.status for answer in answers) == [200, 401]
