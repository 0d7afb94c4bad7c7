"""What a real RabbitMQ server does that a reader of its manual might not expect, and that the transport keeps its promises all the same."""

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import aio_pika
import pytest
from aio_pika.exceptions import AMQPError, ChannelClosed, PublishError

from lgsp.backends.memory import MemoryLedger
from lgsp.backends.rabbitmq import Pace
from lgsp.backends.rabbitmq.topology import arguments, queue_name
from lgsp.domain.limits import LIMITS
from lgsp.testing.clock import START
from lgsp.testing.contracts.inboxes import numbers
from lgsp.testing.contracts.transport import queue, take_all, waiting
from lgsp.testing.samples import accept, sign_receipts
from lgsp.testing.world import NDXP, ONE_STOP, POLICE

pytestmark = pytest.mark.timeout(120)

QUORUM = {"x-queue-type": "quorum"}
BUS = "urn:lgsp:bus:traps"
REQUESTS = queue_name(BUS, NDXP, "request")


@pytest.fixture
def ledger():
    return MemoryLedger()


@pytest.fixture
async def transport(ledger, carrying):
    async with carrying(ledger, bus=BUS) as transport:
        yield transport


@pytest.fixture
async def connection(rabbitmq):
    async with await aio_pika.connect(rabbitmq.url) as connection:
        yield connection


@pytest.fixture
async def channel(connection):
    return await connection.channel()


@asynccontextmanager
async def plain_queue(connection, name="trap", **extra):
    """Give a quorum queue as anybody would declare it, and take it away."""
    channel = await connection.channel()
    yield await channel.declare_queue(name, durable=True, arguments=QUORUM | extra)
    channel = await connection.channel()
    await channel.queue_delete(name)


async def fill(channel, name, count):
    for number in range(count):
        await channel.default_exchange.publish(aio_pika.Message(str(number).encode()), name)


async def drain(source):
    found = []
    while (message := await source.get(fail=False)) is not None:
        found.append(int(message.body))
        await message.ack()
    return found


async def eventually(condition, seconds=20):
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
    return found


# --- publishing -------------------------------------------------------------------------------------------------------------------------


async def test_a_message_without_a_queue_looks_delivered_unless_the_channel_raises(connection):
    quiet = await connection.channel()
    assert await quiet.default_exchange.publish(aio_pika.Message(b""), "nowhere") is not None
    loud = await connection.channel(on_return_raises=True)
    with pytest.raises(PublishError):
        await loud.default_exchange.publish(aio_pika.Message(b""), "nowhere")


async def test_a_queue_that_somebody_deleted_is_declared_again_and_nothing_is_taken_as_placed_that_is_not(
    ledger, transport, channel
):
    await queue(ledger, transport, accept(1))
    await channel.queue_delete(REQUESTS)
    await queue(ledger, transport, accept(2))
    assert numbers(await take_all(transport)) == [2]


async def test_one_envelope_for_several_inboxes_is_confirmed_for_each_by_itself(ledger, transport, channel):
    inboxes = [NDXP, POLICE, ONE_STOP]
    await queue(ledger, transport, accept(1, to=inboxes))
    await channel.queue_delete(queue_name(BUS, POLICE, "request"))
    await queue(ledger, transport, accept(2, to=inboxes))
    assert [await waiting(transport, inbox) for inbox in inboxes] == [2, 1, 2]


async def test_a_server_that_stands_still_keeps_a_publish_waiting_no_longer_than_its_limit(ledger, carrying, rabbitmq):
    async with carrying(ledger, pace=Pace(publish=0.5)) as transport:
        await queue(ledger, transport, accept(1))
        parcel = await ledger.parcel(accept(1).exchange.env, NDXP)
        began = time.monotonic()
        with rabbitmq.paused():
            assert await transport.publish([parcel, parcel]) == ["unavailable"] * 2
        assert time.monotonic() - began < 5
        assert await eventually(lambda: queued(transport, parcel))


async def test_a_broker_short_of_memory_takes_nothing_and_is_emptied_all_the_same(ledger, carrying, rabbitmq):
    async with carrying(ledger, pace=Pace(publish=0.5)) as transport:
        await queue(ledger, transport, accept(1), accept(2))
        parcel = await ledger.parcel(accept(1).exchange.env, NDXP)
        try:
            rabbitmq.evaluate(SHORT)
            assert await transport.publish([parcel]) == ["unavailable"]
            taken = await take_all(transport)
            assert set(numbers(taken)) == {1, 2}
            await transport.drop(NDXP, [each.delivery.env for each in taken])
        finally:
            rabbitmq.evaluate(ENOUGH)
        assert await eventually(lambda: queued(transport, parcel))


SHORT = "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []})."
ENOUGH = "rabbit_alarm:clear_alarm({resource_limit, memory, node()})."


async def queued(transport, parcel):
    return await transport.publish([parcel]) == ["queued"]


async def test_a_header_of_bytes_cannot_be_written_so_ours_are_texts(channel, ledger, transport):
    with pytest.raises(TypeError):
        await channel.default_exchange.publish(aio_pika.Message(b"", headers={"raw": b"abc"}), "anywhere")
    await queue(ledger, transport, accept(1))
    message = await (await channel.get_queue(REQUESTS)).get()
    ours = {name: value for name, value in message.headers.items() if name.startswith("lgsp-")}
    assert ours.keys() == {"lgsp-env", "lgsp-rcpt", "lgsp-bk"}
    assert all(isinstance(value, str) for value in ours.values())


async def test_a_message_says_what_the_protocol_has_it_say(channel, ledger, transport):
    operation = accept(1)
    await queue(ledger, transport, operation)
    parcel = await ledger.parcel(operation.exchange.env, NDXP)
    message = await (await channel.get_queue(REQUESTS)).get()
    assert message.message_id == operation.exchange.env
    assert message.type == operation.exchange.type
    assert message.delivery_mode == 2
    assert message.body == parcel.sealed
    assert message.expiration == (operation.exchange.expires - START).total_seconds()
    assert (message.headers["lgsp-env"].encode(), message.headers["lgsp-rcpt"]) == (parcel.compact, parcel.receipt)
    assert message.headers["lgsp-bk"] == parcel.day


# --- limits -----------------------------------------------------------------------------------------------------------------------------


async def test_a_full_inbox_says_so_and_takes_again_when_there_is_room(ledger, carrying):
    async with carrying(ledger, inbox_bytes=8_000) as transport:
        operations = [accept(number, size=3_000) for number in range(1, 9)]
        for operation in operations:
            await ledger.commit([operation], sign_receipts)
        parcels = [await ledger.parcel(each.exchange.env, NDXP) for each in operations]
        placed = [(await transport.publish([parcel]))[0] for parcel in parcels]
        assert placed[0] == "queued"
        assert placed[-1] == "inbox_full"
        fits = placed.count("queued")
        await transport.drop(NDXP, [parcel.delivery.env for parcel in await take_all(transport)])
        assert fits < len(placed)
        await eventually(lambda: queued(transport, parcels[-1]))


def test_a_queue_is_bounded_in_messages_too_for_the_broker_counts_bodies_alone():
    stated = arguments(LIMITS.inbox_bytes)
    assert stated["x-max-length-bytes"] == LIMITS.inbox_bytes
    assert 0 < stated["x-max-length"] < LIMITS.inbox_bytes / 1_000
    assert stated["x-overflow"] == "reject-publish"
    assert not [name for name in stated if "dead-letter" in name or "ttl" in name]


async def test_a_life_longer_than_the_broker_can_count_is_cut_not_refused(ledger, transport):
    await queue(ledger, transport, accept(1, expires=START + timedelta(days=400)))
    assert numbers(await take_all(transport)) == [1]


async def test_what_has_ended_is_not_handed_out(ledger, carrying):
    async with carrying(ledger) as transport:
        await queue(ledger, transport, accept(1, expires=START + timedelta(milliseconds=20)), accept(2))
        await eventually(lambda: carries(transport, 1))
        assert numbers(await take_all(transport)) == [2]


async def carries(transport, count):
    return await waiting(transport) == count


@pytest.mark.parametrize("kind", ["exclusive", "auto_delete"])
async def test_there_are_no_quorum_queues_that_go_away_by_themselves(connection, kind):
    channel = await connection.channel()
    with pytest.raises(AMQPError):
        await channel.declare_queue("fleeting", durable=True, arguments=QUORUM, **{kind: True})


async def test_a_queue_with_other_limits_goes_on_with_them(ledger, carrying):
    async with carrying(ledger, bus=BUS, inbox_bytes=1_000_000) as transport:
        await queue(ledger, transport, accept(1))
        async with carrying(ledger, bus=BUS, inbox_bytes=2_000_000) as other:
            await queue(ledger, other, accept(2))
            assert await waiting(other) == 2
            assert numbers(await take_all(other)) == [1, 2]


# --- reading ----------------------------------------------------------------------------------------------------------------------------


async def test_a_limit_for_a_whole_channel_closes_the_connection(connection, rabbitmq):
    async with plain_queue(connection), await aio_pika.connect(rabbitmq.url) as doomed:
        channel = await doomed.channel()
        await channel.set_qos(5, global_=True)
        source = await channel.get_queue("trap")
        with pytest.raises(AMQPError):
            await source.consume(print, timeout=5)
        assert doomed.transport.connection.is_closed


async def test_what_is_nacked_goes_behind_all_others_and_what_its_channel_gives_back_does_not(connection, channel):
    async with plain_queue(connection) as source:
        await fill(channel, "trap", 4)
        await (await source.get()).nack()
        assert await drain(source) == [1, 2, 3, 0]
        await fill(channel, "trap", 4)
        reading = await connection.channel()
        await (await reading.get_queue("trap")).get()
        await reading.close()
        assert await drain(source) == [0, 1, 2, 3]


async def test_order_outlives_any_number_of_readers_that_leave(ledger, carrying):
    async with carrying(ledger, pace=Pace(idle=0.05, look=0.02)) as transport:
        await queue(ledger, transport, *(accept(number) for number in range(1, 151)))
        for _ in range(3):
            assert numbers(await transport.take(NDXP, 5)) == [1, 2, 3, 4, 5]
            await eventually(lambda: carries(transport, 150))
        taken = []
        while len(taken) < 150:
            parcels = await eventually(lambda: transport.take(NDXP, 7))
            taken += numbers(parcels)
            await transport.drop(NDXP, [parcel.delivery.env for parcel in parcels])
        assert taken == list(range(1, 151))


async def test_a_gateway_whose_receiver_has_gone_to_another_brings_nothing_more(ledger, carrying):
    async with (
        carrying(ledger, bus=BUS, pace=Pace(left=0.1, look=0.05)) as left,
        carrying(ledger, bus=BUS) as gone_to,
    ):
        leave = left.watch(NDXP, lambda: None)
        assert await left.take(NDXP, 1) == []
        leave()
        async with asyncio.timeout(10):
            while left._readers[NDXP].is_open:
                await asyncio.sleep(0.01)
        gone_to.watch(NDXP, lambda: None)
        await gone_to.take(NDXP, 1)
        await queue(ledger, gone_to, *(accept(number) for number in range(1, 21)))
        taken = []
        async with asyncio.timeout(10):
            while len(taken) < 20:
                taken += numbers(await gone_to.take(NDXP, 20))
                await asyncio.sleep(0.01)
    assert taken == list(range(1, 21))


async def test_a_channel_that_is_closed_for_slow_answers_brings_everything_again(ledger, transport, rabbitmq):
    # The server looks once a minute at answers that are due within 30 minutes; both are read when a channel is opened.
    usual = [rabbitmq.evaluate(f"element(2, application:get_env(rabbit, {name})).") for name in SLOW]
    await queue(ledger, transport, *(accept(number) for number in range(1, 4)))
    try:
        for name in SLOW:
            rabbitmq.evaluate(f"application:set_env(rabbit, {name}, 300).")
        assert numbers(await transport.take(NDXP, 1)) == [1]
    finally:
        for name, value in zip(SLOW, usual, strict=True):
            rabbitmq.evaluate(f"application:set_env(rabbit, {name}, {value}).")
    calls = []
    transport.watch(NDXP, lambda: calls.append("lost"))
    async with asyncio.timeout(30):
        while not calls:
            await asyncio.sleep(0.05)
    await transport.drop(NDXP, [accept(1).exchange.env])  # of a channel that is gone: nothing happens
    assert numbers(await eventually(lambda: transport.take(NDXP, 9))) == [1, 2, 3]


SLOW = ("consumer_timeout", "channel_tick_interval")


async def test_a_reader_that_lost_its_queue_reads_the_new_one(ledger, transport, channel):
    await queue(ledger, transport, accept(1))
    assert numbers(await transport.take(NDXP, 5)) == [1]
    calls = []
    transport.watch(NDXP, lambda: calls.append("called"))
    await channel.queue_delete(REQUESTS)
    async with asyncio.timeout(20):
        while not calls:
            await asyncio.sleep(0.02)
    await queue(ledger, transport, accept(2))
    assert numbers(await eventually(lambda: transport.take(NDXP, 5))) == [2]


async def test_a_reader_that_lost_one_queue_gives_back_what_it_had_of_the_others(ledger, transport, channel):
    await queue(ledger, transport, accept(1), in_lane(accept(2), "bulk"))
    assert numbers(await transport.take(NDXP, 1)) == [1]
    lost = asyncio.Event()
    transport.watch(NDXP, lost.set)
    await channel.queue_delete(REQUESTS)
    async with asyncio.timeout(20):
        await lost.wait()
    assert numbers(await eventually(lambda: transport.take(NDXP, 5))) == [2]


def in_lane(operation, lane):
    return replace(operation, deliveries=tuple(replace(each, lane=lane) for each in operation.deliveries))


async def test_a_channel_error_ends_that_channel_alone(connection):
    channel, other = await connection.channel(), await connection.channel()
    with pytest.raises(ChannelClosed):
        await channel.declare_queue("not there", passive=True)
    async with plain_queue(connection):
        await fill(other, "trap", 1)
