"""Attacks that use two gateways of one bus against each other."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from lgsp.domain import envelope, strictjson
from lgsp.machine import SystemClock
from lgsp.testing.bus import publish
from lgsp.testing.gateways import gateway_urn, running_gateway, world_of_gateways
from lgsp.testing.world import BODY, FISHERIES, OWNER_LIST, OWNER_LIST_SCHEMA, POLICE, World, key_record, signer_named

pytestmark = pytest.mark.timeout(120)

KEY_OF_B = key_record(signer_named(gateway_urn("b")), gateway_urn("b"), "gateway")
POLICE_AGENCY = "urn:lgsp:agency:H01.21"
LIST = {
    "listId": "20261122-30742-001",
    "asOf": "2026-11-22",
    "orgcat": "2025-07",
    "rows": [{"registration": "AG-00012-TS", "ownerName": "DANH SÀ RƯƠL", "communeCode": "30742"}],
}


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
        world.envelope(body={**BODY, "birthDate": "1986"}),
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


async def published(edge, before, **changes):
    """Publish the next version of the world at a gateway and return it."""
    version = before.directory.version + 1
    world = World.make(version=version, prev=before.directory.hash, now=before.now, changes=changes, added=[KEY_OF_B])
    assert await publish(edge.bus, world) == version
    return world


async def heard(edge, world):
    """Wait until a gateway knows a version that was published at another."""
    async with asyncio.timeout(5):
        while edge.bus.registry.current.version != world.directory.version:
            await asyncio.sleep(0.005)


async def test_r17_r20_what_the_directory_takes_away_at_one_gateway_is_gone_at_the_other(gateways, world):
    """A grant for another purpose; a suspended sender; an audience that is dissolved, with two heirs and with one."""
    a, b = gateways
    listen = b.bus.hearing.neighbours.listen
    b.bus.hearing.neighbours.listen(lambda news: None)  # it will not hear
    world = await published(a, world, **{"g-verify": {"purposes": ["dpv:Other"]}})
    answer = await b.post(world.envelope(number=1))
    assert (answer.status, answer.code) == (403, "purpose_not_granted"), "the commit compares the version"
    listen(b.bus.hearing.hear)
    async with b.stream("fisheries") as stream:
        world = await published(a, world, **{FISHERIES: {"status": "suspended"}})
        async with asyncio.timeout(5):
            assert (await stream.closing())["reason"] == "suspended"
    answer = await b.post(world.envelope(number=2))
    assert (answer.status, answer.code) == (403, "sender_suspended")
    heirs = ["urn:lgsp:agency:H01.31", "urn:lgsp:agency:H01.05"]
    lists = {"type": OWNER_LIST, "audience": POLICE, "dataschema": OWNER_LIST_SCHEMA, "body": LIST}
    lists |= dict.fromkeys(("legalbasis", "procedure", "authid"))
    world = await published(a, world, **{POLICE_AGENCY: {"valid_to": "2020-01-01", "successors": heirs}})
    await heard(b, world)
    answer = await b.post(world.envelope(number=3, **lists))
    assert (answer.status, answer.code, answer.members["successors"]) == (410, "audience_dissolved", heirs)
    world = await published(a, world, **{POLICE_AGENCY: {"valid_to": "2020-01-01", "successors": heirs[:1]}})
    await heard(b, world)
    sent = world.envelope(number=4, **lists)
    assert (await b.post(sent)).status == 202
    [item] = (await a.call("GET", "/v1/inbox?wait=10", signer="one-stop")).members["items"]
    assert envelope.from_structured(item["envelope"]) == sent
    assert [entry["env"] for entry in await entries_of(a, "msg.accepted")] == [sent.hash]
