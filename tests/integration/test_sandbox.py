"""`POST /v1/check`: what the bus would say, over a real socket, with nothing left behind."""

import asyncio

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.domain import envelope, strictjson
from lgsp.domain.envelope import Wire
from lgsp.domain.limits import Limits
from lgsp.errors import Refusal
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import World
from tests.attacks.test_signed_objects import SIGNED_OBJECTS


@pytest.fixture
async def edge(world):
    async with running_edge(world, MemoryLedger(), clock=ManualClock(world.now), entropy=SeededEntropy(1)) as running:
        yield running


async def check(edge, wire, **headers):
    body = strictjson.compact(wire.structured())
    sent = {"Content-Type": envelope.MEDIA_TYPE} | headers
    return await edge.call("POST", "/v1/check", body=body, headers=sent)


async def check_binary(edge, wire):
    headers = {"lgsp-env": wire.compact.decode(), "Content-Type": "application/json"}
    return await edge.call("POST", "/v1/check", body=wire.body, headers=headers)


async def test_a_sound_envelope_would_be_accepted_and_is_not(edge):
    wire, before = World.make().envelope(), await edge.bus.ledger.size()
    for told in (await check(edge, wire), await check_binary(edge, wire)):
        assert (told.status, told.members["verdict"], told.members["step"]) == (200, "accepted", 14)
        assert [step["holds"] for step in told.members["steps"]] == [True] * 14
        assert (told.members["env"], told.members["rule"]) == (wire.hash, "g-verify")
    assert await edge.bus.ledger.size() == before
    assert (await edge.post(wire)).status == 202
    again = await check(edge, wire)
    assert (again.members["verdict"], again.members["step"]) == ("known", 11)
    other = await check(edge, World.make().envelope(casefile="H01.12-20261122-0000002"))
    assert (other.members["verdict"], other.members["problem"]["code"]) == ("refused", "id_conflict")


async def code_of_check(edge, wire):
    told = await check(edge, wire)
    if told.status != 200:  # it is not even read: too large
        return told.code
    steps = told.members["steps"]
    assert [step["holds"] for step in steps] == [True] * (len(steps) - 1) + [False]
    return told.members["problem"]["code"]


async def test_the_sandbox_gives_the_code_of_the_bus_for_each_attack_and_writes_nothing(edge):
    wires = {name: make() for name, (make, _) in SIGNED_OBJECTS.items()}
    sendable = {name: wire for name, wire in wires.items() if wire.compact.isascii() and wire.compact.count(b".") == 2}
    before = await edge.bus.ledger.size()
    checked = {name: await code_of_check(edge, wire) for name, wire in sendable.items()}
    assert await edge.bus.ledger.size() == before
    assert len(checked) > 50
    assert checked == {name: (await edge.post_structured(wire)).code for name, wire in sendable.items()}


async def test_what_is_no_structured_form_is_told_with_its_step(edge):
    told = await edge.call("POST", "/v1/check", body=b"{}", headers={"Content-Type": envelope.MEDIA_TYPE})
    assert (told.status, told.members["problem"]["code"], told.members["step"]) == (200, "structured", 2)


async def test_what_holds_no_envelope_is_a_bad_request(edge):
    told = await edge.call("POST", "/v1/check", body=b"{}", headers={"Content-Type": "application/json"})
    assert (told.status, told.code) == (400, "bad_request")


async def test_steps_and_problem_come_in_the_language_that_is_asked_for(edge):
    told = await check(edge, World.make().envelope(purpose="marketing"), **{"Accept-Language": "vi"})
    assert told.members["steps"][6]["title"] == "chữ ký"
    assert told.members["problem"]["title"] == Refusal("purpose_not_granted").entry.title["vi"]


async def test_nothing_of_a_body_is_given_back(edge):
    secret = {"person": {"scheme": "CCCD", "number": "099000000001"}}
    wire = World.make().envelope(body=secret)
    for sent in (wire, Wire(compact=wire.compact, body=wire.body + b"\n")):
        told = await check(edge, sent)
        assert told.members["verdict"] == "refused"
        assert b"099000000001" not in told.body


async def test_a_proven_sender_may_not_ask_more_than_it_may_send():
    made = World.make()
    limits = Limits(rate=0.001, burst=3)
    running = running_edge(made, MemoryLedger(), clock=ManualClock(made.now), entropy=SeededEntropy(1), limits=limits)
    async with running as edge:
        told = await asyncio.gather(*(check(edge, made.envelope(number=number)) for number in range(1, 6)))
        refused = [each for each in told if each.status == 429]
        assert len(refused) == 2
        assert {each.code for each in refused} == {"rate_limited"}
        assert all(int(each.headers["Retry-After"]) > 0 for each in refused)
        forged = Wire(compact=made.envelope().compact[:-4] + b"AAAA", body=made.envelope().body)
        assert (await check(edge, forged)).members["problem"]["code"] == "signature"
        other_body = Wire(compact=made.envelope().compact, body=b"{}")
        assert (await check(edge, other_body)).code == "rate_limited", (
            "whose signature is good is known, whatever else is wrong"
        )
