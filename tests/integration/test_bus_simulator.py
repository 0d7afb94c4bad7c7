"""The simulated bus does what the real one does, since it is one; and what a test wants to go wrong goes wrong."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.police.adapter import Police
from lgsp.domain.retry import RETRY
from lgsp.errors import Unusable
from lgsp.sdk import OutcomeUnknown, Refused, Reject, Retry, Unreachable
from lgsp.testing import BusSimulator
from lgsp.testing.world import BODY, OWNER_LIST, OWNER_LIST_SCHEMA, VERIFY, VERIFY_REPLY, VERIFY_SCHEMA

OFFICE = "H01.12/office"
REGISTER = "G01.02/population"
ASKED = {
    "audience": "urn:lgsp:agency:G01.02:sys:population",
    "schema": VERIFY_SCHEMA,
    "body": dict(BODY),
    "purpose": "dpv:IdentityVerification",
    "legalbasis": "dpv:LegalObligation",
    "procedure": "1.004359",
    "authid": "7f3a91",
}
GRANTED = {
    "purposes": ["dpv:IdentityVerification"],
    "legalbases": ["dpv:LegalObligation"],
    "procedures": ["1.004359"],
    "officers": ["7f3a91"],
}


def match(_message):
    return {"result": "match"}


@pytest.fixture
async def bus():
    async with BusSimulator() as simulator:
        simulator.grant(OFFICE, VERIFY, to=REGISTER, **GRANTED)
        yield simulator


async def test_a_request_is_answered_and_everything_is_seen(bus):
    bus.answer(VERIFY, match)
    async with bus.client(OFFICE) as client:
        assert (await client.request(VERIFY, **ASKED)).body == {"result": "match"}
        await bus.settled()
    [asked] = bus.assert_sent(VERIFY, by=OFFICE, to=REGISTER)
    bus.assert_sent(VERIFY_REPLY, by=REGISTER, to=OFFICE)
    assert asked.body == BODY
    assert json.loads(asked.receipt.item)["outcome"] == "accepted"
    [delivery] = await bus.deliveries(asked)
    assert delivery.state == "acked"


async def test_nothing_is_allowed_that_was_not_granted():
    async with BusSimulator() as bus:
        bus.system(OFFICE)
        bus.system(REGISTER, consumes=[VERIFY])
        async with bus.client(OFFICE) as client:
            with pytest.raises(Refused, match="no_grant"):
                await client.send(VERIFY, **ASKED)
        [refused] = bus.assert_refused("no_grant", type=VERIFY, by=OFFICE)
        assert refused.receipt is None
        assert bus.sent() == []


async def test_a_grant_that_is_revoked_allows_nothing_more(bus):
    grant = bus.grant(OFFICE, OWNER_LIST, to="H01.21/police", purposes=["dpv:IdentityVerification"])
    async with bus.client(OFFICE) as client:
        bus.revoke(grant)
        await bus.publish()
        body = {"listId": "L1", "rows": [{"registration": "AG-00001-TS"}]}
        stated = {"audience": "urn:lgsp:agency:H01.21:sys:police", "schema": OWNER_LIST_SCHEMA, "body": body}
        with pytest.raises(Refused, match="grant_ended"):
            await client.send(OWNER_LIST, purpose="dpv:IdentityVerification", **stated)


async def test_a_department_brings_its_own_type_and_schemas():
    form = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": ["parcel"]}
    async with BusSimulator() as bus:
        asked = bus.schema(form | {"$id": "urn:lgsp:schema:land:parcel-request:1.0.0"})
        told = bus.schema({**form, "$id": "urn:lgsp:schema:land:parcel-reply:1.0.0"})
        bus.service("vn.lgsp.land.parcel.find.v1", schemas=[asked], reply_schemas=[told])
        bus.grant(OFFICE, "vn.lgsp.land.parcel.find.v1", to="H01.14/land")
        bus.answer("vn.lgsp.land.parcel.find.v1", lambda message: {"parcel": message.body["parcel"]})
        async with bus.client(OFFICE) as client:
            stated = {"audience": "urn:lgsp:agency:H01.14:sys:land", "schema": asked}
            reply = await client.request("vn.lgsp.land.parcel.find.v1", body={"parcel": 7}, **stated)
            assert reply.body == {"parcel": 7}
            with pytest.raises(Refused, match="schema"):
                await client.send("vn.lgsp.land.parcel.find.v1", body={}, **stated)


async def test_events_go_to_all_who_subscribe():
    async with BusSimulator() as bus:
        told = bus.schema({"$id": "urn:lgsp:schema:land:parcel-sold:1.0.0", "type": "object"})
        bus.service("vn.lgsp.land.parcel.sold.v1", schemas=[told], lane="event")
        bus.grant(OFFICE, "vn.lgsp.land.parcel.sold.v1", to="urn:lgsp:topic:vn.lgsp.land.parcel.sold.v1")
        for subscriber in ("H01.02/ioc", "H01.14/land"):
            bus.subscribe(subscriber, "vn.lgsp.land.parcel.sold.v1")
        async with bus.client(OFFICE) as client, bus.client("H01.02/ioc") as ioc:
            topic = "urn:lgsp:topic:vn.lgsp.land.parcel.sold.v1"
            await client.send("vn.lgsp.land.parcel.sold.v1", audience=topic, schema=told, body={"parcel": 7})
            assert (await anext(ioc.inbox())).body == {"parcel": 7}
        [sold] = bus.assert_sent("vn.lgsp.land.parcel.sold.v1", to=topic)
        assert sorted(each.to.rsplit(":", 1)[1] for each in await bus.deliveries(sold)) == ["ioc", "land"]


# Faults


async def test_a_message_that_comes_again_and_again_takes_effect_once(bus):
    bus.deliver_twice(REGISTER)
    handled = []
    async with bus.client(OFFICE) as client, bus.client(REGISTER) as register:
        sent = await client.send(VERIFY, **ASKED)
        async for message in register.inbox(quiet=2):
            async with message.effect() as effect:
                effect.reply({"result": "match"})
            handled.append(message.id)
    assert handled == [sent.id]
    bus.assert_sent(VERIFY_REPLY, by=REGISTER)


async def test_what_is_delayed_comes_when_the_delay_is_over(bus):
    bus.answer(VERIFY, match)
    async with bus.client(OFFICE) as client:
        async with bus.delay(REGISTER):
            with pytest.raises(OutcomeUnknown):
                await client.request(VERIFY, key="slow", timeout=0.3, **ASKED)
        assert (await client.request(VERIFY, key="slow", **ASKED)).body == {"result": "match"}
    bus.assert_sent(VERIFY)


async def test_what_was_in_hand_comes_again_after_a_restart(bus):
    async with bus.client(OFFICE) as client, bus.client(REGISTER) as register:
        sent = await client.send(VERIFY, **ASKED)
        inbox = register.inbox()
        first = await anext(inbox)
        await bus.restart()
        async with first.effect() as effect:
            effect.reply({"result": "match"})
        assert (await client.outcome(sent.id)).state == "acked"
        client.shelve(await anext(client.inbox()))
        await bus.settled()


async def test_what_a_program_left_undone_comes_again_when_it_opens_its_box_anew(bus):
    async with bus.client(OFFICE) as client:
        sent = await client.send(VERIFY, **ASKED)
    for _ in range(2):
        async with bus.client(REGISTER) as register:
            assert (await anext(register.inbox())).id == sent.id


async def test_the_bus_is_away_and_comes_back(bus):
    async with bus.client(OFFICE) as client:
        async with bus.away():
            with pytest.raises(Unreachable):
                await client.send(VERIFY, key="k", timeout=0.2, **ASKED)
            assert bus.sent() == []
        assert (await client.send(VERIFY, key="k", **ASKED)).receipt is not None
    bus.assert_sent(VERIFY)


@pytest.mark.parametrize(("code", "is_tried_again"), [("purpose_not_granted", False), ("unavailable", True)])
async def test_an_envelope_is_refused_with_the_code_that_a_test_wants(bus, code, is_tried_again):
    bus.refuse(code, type=VERIFY, by=OFFICE)
    async with bus.client(OFFICE) as client:
        if is_tried_again:
            assert (await client.send(VERIFY, **ASKED)).receipt is not None
        else:
            with pytest.raises(Refused, match=code):
                await client.send(VERIFY, **ASKED)
    bus.assert_refused(code, type=VERIFY)
    assert len(bus.sent(VERIFY)) == int(is_tried_again)


async def test_a_code_that_no_catalogue_has_is_noticed_at_once(bus):
    with pytest.raises(ValueError, match="no_such_code"):
        bus.refuse("no_such_code")


async def test_what_nobody_can_handle_is_parked(bus):
    def never(_message):
        raise Retry(code="not_today")

    bus.answer(VERIFY, never)
    async with bus.client(OFFICE) as client:
        sent = await client.send(VERIFY, **ASKED)
        await bus.settled()
        [parked] = await bus.assert_parked(REGISTER)
        assert (parked.env, parked.code) == (sent.env, "not_today")
        assert (await client.outcome(sent.id)).state == "parked"


async def test_an_answer_may_say_no(bus):
    async def unknown(_message):
        raise Reject("owner_unknown", "/fullName")

    bus.answer(VERIFY, unknown)
    async with bus.client(OFFICE) as client:
        with pytest.raises(Refused) as caught:
            await client.request(VERIFY, **ASKED)
    assert (caught.value.code, caught.value.pointer) == ("owner_unknown", "/fullName")


async def test_a_mistake_in_an_answer_is_told_to_the_test():
    async def simulate():
        async with BusSimulator() as bus:
            bus.grant(OFFICE, VERIFY, to=REGISTER, **GRANTED)
            bus.answer(VERIFY, lambda message: message.body["no such member"])
            async with bus.client(OFFICE) as client:
                await client.send(VERIFY, **ASKED)
                await bus.settled()

    with pytest.raises(KeyError, match="no such member"):
        await simulate()


# Time


async def test_time_passes_when_the_test_says_so(bus):
    began = bus.clock.now()
    async with bus.client(OFFICE) as client:
        sent = await client.send(VERIFY, expires_in=timedelta(minutes=5), **ASKED)
        await bus.advance(299)
        [delivery] = await bus.deliveries(bus.sent(VERIFY)[0])
        assert delivery.state == "queued"
        await bus.advance(2)
        assert (await client.outcome(sent.id)).state == "expired"
    assert bus.clock.now() - began == timedelta(seconds=301)


async def test_with_the_pauses_of_a_real_bus_a_retry_waits_for_the_clock():
    tries = []

    def not_at_first(message):
        tries.append(message.attempt)
        if len(tries) == 1:
            raise Retry
        return match(message)

    async with BusSimulator(retry=RETRY) as bus:
        bus.grant(OFFICE, VERIFY, to=REGISTER, **GRANTED)
        bus.answer(VERIFY, not_at_first)
        async with bus.client(OFFICE) as client:
            await client.send(VERIFY, **ASKED)
            with pytest.raises(AssertionError, match="waiting"):
                await bus.settled(0.5)
            await bus.advance(2)
            client.shelve(await anext(client.inbox()))
            await bus.settled()
    assert tries == [1, 2]


# What assertions say


async def test_a_failed_assertion_shows_what_went_by(bus):
    async with bus.client(OFFICE) as client:
        await client.send(VERIFY, **ASKED)
    with pytest.raises(AssertionError) as caught:
        bus.assert_sent(VERIFY, by=OFFICE, times=2)
    assert str(caught.value).splitlines() == [
        f"2 of {VERIFY} by {OFFICE} to anybody expected, 1 found; went by:",
        f"  {VERIFY} by {OFFICE} to {REGISTER}",
    ]
    with pytest.raises(AssertionError, match="0 found"):
        await bus.assert_parked(REGISTER)


async def test_an_answer_for_which_nobody_is_named_is_noticed(bus):
    bus.answer(OWNER_LIST, match)
    with pytest.raises(ValueError, match="say which with by="):
        await bus.publish()


# Adapters


async def test_an_adapter_runs_on_it_as_it_does_for_real(bus):
    bus.grant(OFFICE, OWNER_LIST, to="H01.21/police", purposes=["dpv:IdentityVerification"])
    manifest = Path(__file__).parents[2] / "adapters/police/adapter.toml"
    async with bus.adapter(Police, manifest=manifest, settings={"seed": 2026, "count": 10}):
        sample = Path(__file__).parents[2] / "adapters/police/samples/in/owner-list-request.two-vessels.json"
        async with bus.client(OFFICE) as client:
            reply = await client.request(
                OWNER_LIST,
                audience="urn:lgsp:agency:H01.21:sys:police",
                schema=OWNER_LIST_SCHEMA,
                body=json.loads(sample.read_text(encoding="utf-8")),
                purpose="dpv:IdentityVerification",
            )
    assert len(reply.body["rows"]) == 2


async def test_an_adapter_that_may_not_do_what_it_asks_for_does_not_start(bus, tmp_path):
    manifest = tmp_path / "adapter.toml"
    police = (Path(__file__).parents[2] / "adapters/police/adapter.toml").read_text(encoding="utf-8")
    ask = f'[[asks]]\ntype = "{VERIFY}"\naudience = "urn:lgsp:agency:G01.02:sys:population"\nbasis = "made up"\n'
    manifest.write_text(police.replace("sends = []", f'sends = ["{VERIFY}"]') + ask, encoding="utf-8")

    async def run_ungranted():
        async with bus.adapter(Police, manifest=manifest, granted=False, settings={"seed": 2026, "count": 10}):
            await asyncio.sleep(0.5)

    with pytest.raises(Unusable, match="adapter_overreaches"):
        await run_ungranted()
    async with bus.adapter(Police, manifest=manifest, settings={"seed": 2026, "count": 10}) as adapter:
        await adapter.client.ready(5)
