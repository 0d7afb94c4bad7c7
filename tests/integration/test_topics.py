"""Topics as programs use them: who subscribes gets a delivery of its own, from the subscription on and until it ends."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.errors import Unusable
from lgsp.http.server import serve
from lgsp.machine import SystemClock
from lgsp.sdk import Adapter, Client, Surroundings, handles, run_adapter
from lgsp.sdk.stream import Pace
from lgsp.testing.bus import publish
from lgsp.testing.systems import running_town
from lgsp.testing.world import FISHERIES, IOC, NDXP, ONE_STOP, POLICE, POPULATION, World

LINKED = "vn.lgsp.fisheries.vessel.linked.v1"
TOPIC = f"urn:lgsp:topic:{LINKED}"
SCHEMA = "urn:lgsp:schema:fisheries:vessel-linked:1.0.0"
QUICK = Surroundings(pace=Pace(first=0.01, longest=0.05))
NAMES = {POLICE: "police", ONE_STOP: "one-stop", IOC: "ioc", NDXP: "ndxp"}
SERVICE = [
    {"kind": "service", "id": LINKED, "schemas": [SCHEMA], "lane": "event"},
    {"kind": "grant", "id": "g-linked", "grantee": FISHERIES, "type": LINKED, "audience": TOPIC, "since": 1, "basis": "Plan"},
]  # fmt: skip


def subscription(subscriber, **members):
    name = f"s-{NAMES.get(subscriber, 'population')}"
    return {"kind": "subscription", "id": name, "subscriber": subscriber, "type": LINKED, "since": 1} | members


def world(*subscriptions, changes=None, after=None):
    """Return a province in which fisheries tell of linked vessels; `after` is the town whose next directory version it is."""
    now = SystemClock().now()
    version = {} if after is None else {"version": 2, "prev": after.bus.registry.current.hash}
    return World.make(now=now, added=[*SERVICE, *subscriptions], changes=changes, **version)


@asynccontextmanager
async def town_of(folder, *subscriptions, **given):
    async with running_town(folder, MemoryLedger(), world=world(*subscriptions, **given)) as town:
        yield town


def vessel(number):
    return {
        "registration": f"AG-{number:05d}-TS",
        "communeCode": "30742",
        "orgcat": "2025-07",
        "linkedOn": "2026-11-22",
        "lengthClass": "from15",
    }


async def tell(client, number, **how):
    return await client.publish(LINKED, schema=SCHEMA, body=vessel(number), key=f"linked:{number}", **how)


async def taken(client, count, *, reject=()):
    """Take so many events and return the numbers of their vessels; those to reject are rejected."""
    found = []
    async with asyncio.timeout(10):
        async for message in client.inbox():
            number = int(message.body["registration"][3:8])
            found.append(number)
            async with message.effect() as effect:
                if number in reject:
                    effect.reject("vessel_unknown", "/registration")
            if len(found) == count:
                return found
    raise AssertionError(f"only {found} came")


async def states(town, env, count, *settled):
    """Return state and code by inbox, once every one of `count` deliveries is in one of these states."""
    async with asyncio.timeout(10):
        while True:
            found = await town.bus.courier.inboxes.deliveries(env)
            if len(found) == count and all(each.state in settled for each in found):
                return {each.to: (each.state, each.code) for each in found}
            await asyncio.sleep(0.005)


async def failed(client):
    async with asyncio.timeout(10):
        return (await anext(client.failures())).outcome


async def test_each_subscriber_has_a_state_and_an_ack_of_its_own(tmp_path):
    async with (
        town_of(tmp_path, subscription(POLICE), subscription(IOC)) as town,
        Client.open(town.settings("fisheries")) as fisheries,
        Client.open(town.settings("police")) as police,
    ):
        sent = await tell(fisheries, 1)
        assert await taken(police, 1, reject=[1]) == [1]
        outcome = await failed(fisheries)
        assert (outcome.to, outcome.state, outcome.code, outcome.key) == (
            POLICE,
            "rejected",
            "vessel_unknown",
            "linked:1",
        )
        assert {each.to: each.state for each in await town.bus.courier.inboxes.deliveries(sent.env)} == {
            POLICE: "rejected",
            IOC: "queued",
        }
        async with Client.open(town.settings("ioc")) as ioc:
            assert await taken(ioc, 1) == [1]
            found = await states(town, sent.env, 2, "acked", "rejected")
        assert found == {POLICE: ("rejected", "vessel_unknown"), IOC: ("acked", "")}
        acks = {each.to: each.ack for each in await town.bus.courier.inboxes.deliveries(sent.env)}
        assert acks[POLICE] != acks[IOC]


async def test_an_event_without_a_subscriber_is_accepted_and_done(tmp_path):
    async with town_of(tmp_path) as town, Client.open(town.settings("fisheries")) as fisheries:
        sent = await tell(fisheries, 1)
        assert sent.receipt is not None
        assert await town.bus.courier.inboxes.deliveries(sent.env) == []


async def test_an_event_goes_out_only_if_its_condition_holds_where_it_is_written_down(tmp_path):
    def rows(tables):
        return tables.execute("SELECT count(*) FROM linked").fetchone() == (1,)

    async with town_of(tmp_path) as town, Client.open(town.settings("fisheries")) as fisheries:
        await fisheries.write(lambda tables: tables.execute("CREATE TABLE linked (n INTEGER)"))
        sent = []
        for number, condition in ((1, {"when": rows}), (2, {"when": rows}), (3, {})):
            async with fisheries.work() as work:
                sent.append(work.publish(LINKED, schema=SCHEMA, body=vessel(number), **condition))
                work.execute("INSERT INTO linked VALUES (?)", (number,))
        assert fisheries.read("SELECT id FROM lgsp_outbox ORDER BY seq") == [(each,) for each in sent[1:]]


async def test_an_event_under_a_key_goes_out_once(tmp_path):
    async with (
        town_of(tmp_path, subscription(IOC)) as town,
        Client.open(town.settings("fisheries")) as fisheries,
        Client.open(town.settings("ioc")) as ioc,
    ):
        first, again = await tell(fisheries, 1), await tell(fisheries, 1)
        assert first == again
        await tell(fisheries, 2)
        assert await taken(ioc, 2) == [1, 2]


async def test_events_go_out_together_when_somebody_waits_for_one_and_when_the_client_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("lgsp.sdk.sender.EVENTS_GATHERED", 3_600.0)
    async with (
        town_of(tmp_path, subscription(IOC)) as town,
        Client.open(town.settings("ioc")) as ioc,
    ):
        async with Client.open(town.settings("fisheries")) as fisheries:
            size = await town.bus.ledger.size()
            for number in (1, 2):
                await tell(fisheries, number, wait=False)
            await fisheries.write(lambda _tables: None)
            assert await town.bus.ledger.size() == size
            assert (await tell(fisheries, 3)).receipt is not None
            assert sorted(await taken(ioc, 3)) == [1, 2, 3]
            await tell(fisheries, 4, wait=False)
        assert await taken(ioc, 1) == [4]


async def test_an_event_that_waits_for_company_goes_over_the_next_stream_once(tmp_path, monkeypatch):
    monkeypatch.setattr("lgsp.sdk.sender.EVENTS_GATHERED", 0.5)
    async with (
        town_of(tmp_path, subscription(IOC)) as town,
        Client.open(town.settings("fisheries"), around=QUICK) as fisheries,
        Client.open(town.settings("ioc"), around=QUICK) as ioc,
    ):
        sent = [await tell(fisheries, number, wait=False) for number in (1, 2)]
        await town.server.close()
        again = await serve(town.bus, host="127.0.0.1", port=town.server.port)
        assert await taken(ioc, 2) == [1, 2]
        for each in sent:
            assert (await fisheries.outcome(each.id)).state == "acked"
        entries = await town.bus.ledger.entries(0, await town.bus.ledger.size())
        assert sum(b'"msg.accepted"' in entry for entry in entries) == 2
        await again.close()


async def test_a_late_subscriber_gets_what_comes_after_alone(tmp_path):
    async with (
        town_of(tmp_path, subscription(POLICE)) as town,
        Client.open(town.settings("fisheries")) as fisheries,
        Client.open(town.settings("ioc")) as ioc,
        Client.open(town.settings("police")) as police,
    ):
        await tell(fisheries, 1)
        await publish(town.bus, world(subscription(POLICE), subscription(IOC, since=2), after=town))
        await tell(fisheries, 2)
        assert await taken(ioc, 1) == [2]
        assert await taken(police, 2) == [1, 2]


async def test_what_waits_when_a_subscription_ends_is_withdrawn_and_the_sender_told(tmp_path):
    async with (
        town_of(tmp_path, subscription(POLICE), subscription(IOC)) as town,
        Client.open(town.settings("fisheries")) as fisheries,
    ):
        sent = await tell(fisheries, 1)
        await publish(town.bus, world(subscription(POLICE), subscription(IOC, until=2), after=town))
        async with Client.open(town.settings("ioc")), Client.open(town.settings("police")) as police:
            assert await taken(police, 1) == [1]
            outcome = await failed(fisheries)
            found = await states(town, sent.env, 2, "acked", "expired")
        assert (outcome.to, outcome.state, outcome.code) == (IOC, "expired", "withdrawn")
        assert found == {POLICE: ("acked", ""), IOC: ("expired", "withdrawn")}
        later = await tell(fisheries, 2)
        assert [each.to for each in await town.bus.courier.inboxes.deliveries(later.env)] == [POLICE]


async def test_an_ack_is_believed_though_the_subscription_has_ended_since(tmp_path):
    async with town_of(tmp_path, subscription(IOC)) as town:
        async with Client.open(town.settings("fisheries")) as fisheries:
            sent = await tell(fisheries, 1)
        async with Client.open(town.settings("ioc")) as ioc, asyncio.timeout(10):
            message = await anext(ioc.inbox())
            await publish(town.bus, world(subscription(IOC, until=2), after=town))
            async with Client.open(town.settings("fisheries")) as fisheries:
                assert fisheries.directory.version == 2
                async with message.effect():
                    pass
                outcome = await fisheries.outcome(sent.id)
        assert (outcome.to, outcome.state) == (IOC, "acked")


async def test_a_bridge_takes_the_events_of_the_system_that_it_stands_for(tmp_path):
    covered = {"d-population": {"types": [LINKED, "vn.lgsp.population.*"]}}
    async with (
        town_of(tmp_path, subscription(POPULATION), changes=covered) as town,
        Client.open(town.settings("fisheries")) as fisheries,
        Client.open(town.settings("ndxp")) as bridge,
    ):
        sent = await tell(fisheries, 1)
        assert await taken(bridge, 1) == [1]
        assert (await fisheries.outcome(sent.id)).state == "acked"
        assert await states(town, sent.env, 1, "acked") == {NDXP: ("acked", "")}


class Centre(Adapter):
    """Takes events."""

    @handles(LINKED)
    async def count(self, message):
        async with message.effect():
            pass


MANIFEST = f"""
consumes = ["{LINKED}"]
subscribes = ["{LINKED}"]
[adapter]
name = "ioc"
version = "1.2.3"
class = "{__name__}:Centre"
title = {{ en = "Test", vi = "Thử" }}
[system]
name = "ioc"
"""


@pytest.mark.parametrize("ended", [{}, {"until": 2}])
async def test_an_adapter_does_not_start_without_the_subscription_that_it_needs(tmp_path, monkeypatch, ended):
    monkeypatch.setattr("lgsp.sdk.runner._load", lambda *_: Centre)
    (tmp_path / "adapter.toml").write_text(MANIFEST)
    async with town_of(tmp_path, *([subscription(IOC)] if ended else [])) as town:
        if ended:
            await publish(town.bus, world(subscription(IOC, **ended), after=town))
        with pytest.raises(Unusable, match=LINKED) as caught:
            await run_adapter(tmp_path / "adapter.toml", town.settings_file("ioc"), around=QUICK)
    assert caught.value.code == "adapter_unsubscribed"


async def test_an_adapter_that_is_subscribed_takes_events(tmp_path, monkeypatch):
    monkeypatch.setattr("lgsp.sdk.runner._load", lambda *_: Centre)
    (tmp_path / "adapter.toml").write_text(MANIFEST)
    stop = asyncio.Event()
    async with town_of(tmp_path, subscription(IOC)) as town, Client.open(town.settings("fisheries")) as fisheries:
        running = asyncio.create_task(
            run_adapter(tmp_path / "adapter.toml", town.settings_file("ioc"), stop=stop, around=QUICK)
        )
        assert (await fisheries.outcome((await tell(fisheries, 1)).id)).state == "acked"
        stop.set()
        await asyncio.wait_for(running, 10)
