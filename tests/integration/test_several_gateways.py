"""Two gateways on one database: a system connects to either, and what it is told and given is the same."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from datetime import timedelta

import aio_pika
import asyncpg
import pytest

from lgsp.backends.sql.postgresql.neighbours import LIVING
from lgsp.domain import envelope, statements, strictjson
from lgsp.errors import Unusable
from lgsp.machine import SystemClock
from lgsp.testing.bus import ack_of, publish
from lgsp.testing.clock import ManualClock
from lgsp.testing.gateways import gateway_urn, running_gateway, world_of_gateways
from lgsp.testing.world import FISHERIES, NDXP, World, key_record, signer_named

pytestmark = pytest.mark.timeout(120)

KEY_OF_B = key_record(signer_named(gateway_urn("b")), gateway_urn("b"), "gateway")
LIVING_PIDS = f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = {LIVING} AND objsubid = 2"


async def until(found, limit=20):
    async with asyncio.timeout(limit):
        while not (seen := found()):
            await asyncio.sleep(0.005)
        return seen


def signed_by(receipt):
    """Return which gateway signed a receipt."""
    statement = statements.from_wire(receipt)
    return next(
        urn
        for name in "ab"
        for urn in [gateway_urn(name)]
        if statements.kid_of(statement.jws, typ=statements.RECEIPT) == KIDS[name]
    )


KIDS = {"a": signer_named("gateway").kid, "b": signer_named(gateway_urn("b")).kid}


@pytest.fixture
def world():
    return world_of_gateways(SystemClock().now(), "b")


@pytest.fixture(params=["embedded", "rabbitmq"])
def broker(request):
    return request.getfixturevalue("rabbitmq").url if request.param == "rabbitmq" else ""


@pytest.fixture
async def gateways(world, database, broker):
    async with AsyncExitStack() as stack:
        found = []
        for name in "ab":
            running = running_gateway(world, database, name, clock=SystemClock(), broker=broker)
            found.append(await stack.enter_async_context(running))
        await until(lambda: not any(each.bus.hearing.neighbours.alone for each in found))
        yield found
    if broker:
        async with await aio_pika.connect(broker) as connection, connection.channel() as channel:
            for each in found:
                for queue in each.bus.courier.transport.queues():
                    await channel.queue_delete(queue)


embedded = pytest.mark.parametrize("broker", ["embedded"], indirect=True)


async def test_a_receipt_of_one_gateway_and_an_ack_at_the_other(gateways, world):
    a, b = gateways
    sent = world.envelope()
    async with b.stream("fisheries") as sender:
        receipt = (await a.post(sent)).members["receipt"]
        assert signed_by(receipt) == gateway_urn("a")
        found = (await b.call("GET", "/v1/inbox?wait=20", signer="ndxp")).members["items"]
        assert [item["receipt"] for item in found] == [receipt]
        [ack] = ack_of(world, "ndxp", NDXP, sent.hash)
        assert (await a.post_acks("ndxp", acks=[ack.wire()])).members == {"acks": [{"env": sent.hash}]}
        outcome = await sender.receive("outcome")
    assert (outcome["env"], outcome["state"]) == (sent.hash, "acked")
    # What is in hand at the gateway that handed it out ends with the news.
    await until(lambda: not dict(b.bus.courier.in_flight())[NDXP])


@embedded
async def test_what_is_put_back_at_one_gateway_ends_in_hand_at_the_other(gateways, world):
    a, b = gateways
    await a.post(world.envelope())
    [item] = (await b.call("GET", "/v1/inbox?wait=20", signer="ndxp")).members["items"]
    env = envelope.from_structured(item["envelope"]).hash
    answer = await a.post_acks("ndxp", nacks=[{"env": env, "lease": item["lease"], "code": "busy"}])
    assert answer.members == {"nacks": [{"env": env}]}
    await until(lambda: not dict(b.bus.courier.in_flight())[NDXP])


async def test_a_call_that_waits_at_one_gateway_is_answered_through_the_other(gateways, world):
    a, b = gateways
    took = []
    async with b.stream("ndxp") as receiver:
        await receiver.give(credit=100)
        for number in range(1, 11):
            request = world.envelope(number=number)
            started = asyncio.get_running_loop().time()
            waiting = asyncio.create_task(a.post(request, Prefer="wait=10"))
            delivered = await receiver.receive("deliver")
            assert envelope.from_structured(delivered["envelope"]) == request
            reply = world.reply(request, number=100 + number)
            await receiver.send(number, reply)
            answer = await waiting
            took.append(asyncio.get_running_loop().time() - started)
            assert answer.status == 200, answer.body
            assert answer.members["reply"]["envelope"] == reply.structured()
    assert sorted(took)[5] < 1, took


async def asker_and_answerer(streams, gateway):
    """Return streams of both at a gateway, which takes up at once what comes for them."""
    asker, answerer = [await streams.enter_async_context(gateway.stream(each)) for each in ("fisheries", "ndxp")]
    for stream in (asker, answerer):
        await stream.give(credit=100)
    await until(lambda: [gateway.bus.courier.inbox(each).waits for each in (FISHERIES, NDXP)] == ["nothing"] * 2)
    return asker, answerer


@embedded
async def test_a_reply_reaches_the_call_that_waits_elsewhere_though_the_asker_has_a_stream_here(gateways, world):
    a, b = gateways
    async with AsyncExitStack() as streams:
        _, answerer = await asker_and_answerer(streams, a)
        for number in range(1, 6):
            request = world.envelope(number=number)
            waiting = asyncio.create_task(b.post(request, Prefer="wait=10"))
            await answerer.receive("deliver")
            reply = world.reply(request, number=100 + number)
            await answerer.send(number, reply)
            answer = await waiting
            assert answer.status == 200, answer.body
            assert answer.members["reply"]["envelope"] == reply.structured()


@embedded
async def test_a_reply_for_which_a_call_elsewhere_waits_no_more_goes_to_the_stream(gateways, world):
    a, b = gateways
    async with AsyncExitStack() as streams:
        asker, answerer = await asker_and_answerer(streams, a)
        request = world.envelope()
        assert (await b.post(request, Prefer="wait=1")).status == 202
        await answerer.receive("deliver")
        reply = world.reply(request)
        await answerer.send(1, reply)
        assert envelope.from_structured((await asker.receive("deliver"))["envelope"]) == reply


@embedded
async def test_the_same_envelope_at_two_gateways_at_once_has_one_receipt(gateways, world):
    for number in range(1, 21):
        sent = world.envelope(number=number)
        answers = await asyncio.gather(*(each.post(sent) for each in gateways for _ in range(2)))
        assert [answer.status for answer in answers] == [202] * 4
        assert len({answer.body for answer in answers}) == 1
    ledger = gateways[0].bus.ledger
    entries = map(strictjson.parse_object, await ledger.entries(0, await ledger.size()))
    accepted = Counter(entry["env"] for entry in entries if entry["ev"] == "msg.accepted")
    assert set(accepted.values()) == {1}
    assert len(accepted) == 20


def changed(world, **changes):
    return World.make(version=2, prev=world.directory.hash, now=world.now, changes=changes, added=[KEY_OF_B])


@embedded
async def test_a_change_of_the_directory_is_everywhere_within_a_second(gateways, world):
    a, b = gateways
    assert await publish(a.bus, changed(world)) == 2
    await until(lambda: b.bus.registry.current.version == 2, limit=1)


@embedded
async def test_an_envelope_that_was_judged_under_an_old_directory_is_judged_again(gateways, world):
    a, b = gateways
    b.bus.hearing.neighbours.listen(lambda news: None)  # it will not hear
    await publish(a.bus, changed(world, **{"g-verify": None}))
    assert b.bus.registry.current.version == 1
    answer = await b.post(world.envelope())
    assert (answer.status, answer.code) == (403, "no_grant"), answer.body
    assert b.bus.registry.current.version == 2


@embedded
async def test_a_version_that_follows_one_published_elsewhere_is_taken(gateways, world):
    a, b = gateways
    b.bus.hearing.neighbours.listen(lambda news: None)
    second = changed(world)
    await publish(a.bus, second)
    third = World.make(version=3, prev=second.directory.hash, now=world.now, added=[KEY_OF_B])
    assert await publish(b.bus, third) == 3


async def test_when_the_connection_for_news_is_cut_everything_is_finished_all_the_same(gateways, world, database):
    a, b = gateways
    connection = await asyncpg.connect(database, timeout=30)
    try:
        async with b.stream("ndxp") as receiver, b.stream("fisheries") as sender:
            await receiver.give(credit=100)
            for number in range(1, 6):
                cut = await connection.fetch(f"SELECT pg_terminate_backend(pid) FROM ({LIVING_PIDS}) AS living")
                assert cut
                request = world.envelope(number=number)
                waiting = asyncio.create_task(a.post(request, Prefer="wait=20"))
                delivered = await receiver.receive("deliver")
                assert envelope.from_structured(delivered["envelope"]) == request
                await receiver.send(number, world.reply(request, number=100 + number))
                assert (await waiting).status == 200
                [ack] = ack_of(world, "ndxp", NDXP, request.hash)
                await a.post_acks("ndxp", acks=[ack.wire()])
                assert (await sender.receive("outcome"))["env"] == request.hash
    finally:
        await connection.close()
    for each in gateways:
        async with asyncio.timeout(20):
            while (await each.call("GET", "/readyz")).status != 200:
                await asyncio.sleep(0.02)


@embedded
async def test_nothing_is_taken_from_a_gateway_that_lives(gateways, world, database):
    a, b = gateways
    sent = world.envelope()
    await a.post(sent)
    [item] = (await a.call("GET", "/v1/inbox?wait=20", signer="ndxp")).members["items"]
    async with running_gateway(world, database, "c", clock=SystemClock()) as third:
        for each in (b, third):
            await until(lambda each=each: len(each.bus.hearing.neighbours.living() or ()) == 3)
            await each.bus.sweep.once()
    await until(lambda: len(b.bus.hearing.neighbours.living() or ()) == 2)
    await b.bus.sweep.once()
    [held] = await b.bus.ledger.deliveries(sent.hash)
    assert (held.state, held.lease) == ("leased", item["lease"])


@embedded
async def test_a_quota_holds_over_both_gateways(gateways, world):
    a, b = gateways
    await publish(a.bus, changed(world, **{"g-verify": {"quota_per_day": 3}}))
    await until(lambda: b.bus.registry.current.version == 2)
    assert [(await a.post(world.envelope(number=number))).status for number in (1, 2)] == [202, 202]
    await b.bus.quotas.refresh()
    assert (await b.post(world.envelope(number=3))).status == 202
    assert (await b.post(world.envelope(number=4))).code == "quota_exceeded"
    await a.bus.quotas.refresh()
    assert (await a.post(world.envelope(number=5))).code == "quota_exceeded"


@embedded
async def test_a_gateway_whose_clock_is_off_is_not_ready_and_says_so(gateways, world, database):
    clock = ManualClock(SystemClock().now() - timedelta(seconds=90))
    async with running_gateway(world, database, "c", clock=clock) as slow:
        answer = await slow.call("GET", "/readyz")
    assert (answer.status, answer.code) == (503, "not_ready")
    assert "clock: 9" in str(answer.members["degraded"])
    assert "behind the database" in str(answer.members["degraded"])
    assert all([(await each.call("GET", "/readyz")).status == 200 for each in gateways])


@embedded
async def test_a_gateway_of_the_same_name_is_refused_while_the_first_one_runs(gateways, world, database):
    with pytest.raises(Unusable, match="gateway_running"):
        async with running_gateway(world, database, "b", clock=SystemClock(), patience=0.3):
            pass
    assert (await gateways[1].post(world.envelope())).status == 202
