"""The transport over a broker that dies, comes back, cuts its connections or is not there at all: nothing hangs, everything comes back by itself."""

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from lgsp.backends.memory import MemoryLedger
from lgsp.backends.rabbitmq import Pace, RabbitTransport, reader
from lgsp.testing.clock import ManualClock
from lgsp.testing.contracts.inboxes import numbers
from lgsp.testing.contracts.transport import queue, take_all, waiting
from lgsp.testing.rabbitmq import free_port
from lgsp.testing.samples import accept, sign_receipts
from lgsp.testing.world import NDXP, POLICE

pytestmark = pytest.mark.timeout(180)

CUT = '[rabbit_networking:close_connection(Pid, "a test") || Pid <- rabbit_networking:connections()].'
STOP = 'ra:stop_server(quorum_queues, {{binary_to_atom(<<"%2F_{queue}">>), node()}}).'
"""The process of a queue ends, as when the disk was full, while the broker goes on."""
START = 'ra:restart_server(quorum_queues, {{binary_to_atom(<<"%2F_{queue}">>), node()}}).'
STOP_ALL = "application:stop(ra)."
"""What carries all quorum queues ends, as when the disk was full for longer; the broker takes connections as before."""


@pytest.fixture
def ledger():
    return MemoryLedger()


@pytest.fixture
async def transport(ledger, carrying):
    async with carrying(ledger, pace=Pace(publish=2, look=0.2, probes=4)) as transport:
        yield transport


async def eventually(act, seconds=60):
    async with asyncio.timeout(seconds):
        while not (found := await act()):
            await asyncio.sleep(0.05)
    return found


async def parcel_of(ledger, number):
    return await ledger.parcel(accept(number).exchange.env, NDXP)


async def publishes(transport, parcel):
    return await transport.publish([parcel]) == ["queued"]


async def downed(transport):
    return await transport.state() == "away"


async def test_without_a_broker_everything_is_answered_at_once_and_nothing_raises(ledger):
    url = f"amqp://nobody:nothing@127.0.0.1:{free_port()}/"
    transport = RabbitTransport(url, ledger, bus="urn:lgsp:bus:test", clock=ManualClock())
    async with transport.running(), asyncio.timeout(5):
        await ledger_with(ledger, 1)
        assert await transport.publish([await parcel_of(ledger, 1)]) == ["unavailable"]
        assert await transport.take(NDXP, 5) == []
        assert await transport.carried(NDXP) is None
        assert await transport.state() == "away"
        await transport.drop(NDXP, ["sha-256:none"])
        await transport.put_back(NDXP, ["sha-256:none"])


async def ledger_with(ledger, *many):
    await ledger.commit([accept(number) for number in many], sign_receipts)


async def test_a_killed_broker_is_away_and_when_it_is_back_so_is_all_that_it_confirmed(ledger, transport, rabbitmq):
    await queue(ledger, transport, *(accept(number) for number in range(1, 21)))
    calls = []
    transport.watch(NDXP, lambda: calls.append("called"))
    held = await transport.take(NDXP, 5)
    assert numbers(held) == [1, 2, 3, 4, 5]
    rabbitmq.settle()
    rabbitmq.kill()
    await eventually(lambda: downed(transport))
    began = time.monotonic()
    assert await transport.publish(held) == ["unavailable"] * 5
    assert await transport.take(NDXP, 5) == []
    assert await transport.carried(NDXP) is None
    await transport.drop(NDXP, [parcel.delivery.env for parcel in held])  # their channel is gone: they come again
    assert time.monotonic() - began < 1
    calls.clear()
    rabbitmq.start()
    await eventually(lambda: transport.take(NDXP, 1))
    assert calls
    assert numbers(await take_all(transport)) == list(range(2, 21))
    await queue(ledger, transport, accept(30))
    assert numbers(await eventually(lambda: transport.take(NDXP, 5))) == [30]


async def test_a_queue_that_comes_back_without_a_leader_is_made_anew(ledger, transport, rabbitmq):
    await queue(ledger, transport, accept(1))
    rabbitmq.kill()
    rabbitmq.start()
    parcel = await parcel_of(ledger, 1)
    await eventually(lambda: publishes(transport, parcel))
    assert numbers(await eventually(lambda: transport.take(NDXP, 5))) == [1]


async def test_a_queue_whose_process_has_ended_is_made_anew_and_keeps_no_other_inbox(ledger, transport, rabbitmq):
    await queue(ledger, transport, accept(1), accept(2, to=[POLICE]))
    [dead] = [name for name in transport.queues() if name.endswith("ndxp.request")]
    stopped = rabbitmq.evaluate(STOP.format(queue=dead))
    assert stopped == "ok"
    lost = []

    async def lose(inbox, lane):
        lost.append((inbox, lane))

    transport.report_to(mismatched=nobody, lost=lose)
    rabbitmq.evaluate(CUT)  # on a new connection each queue is tried before its use
    assert numbers(await eventually(lambda: transport.take(POLICE, 5))) == [2]
    parcel = await parcel_of(ledger, 1)
    await eventually(lambda: publishes(transport, parcel))
    assert numbers(await eventually(lambda: transport.take(NDXP, 5))) == [1]
    assert lost == [(NDXP, "request")]


async def test_a_queue_for_whose_sake_the_connection_ended_keeps_what_it_holds_when_it_answers_again(
    ledger, transport, rabbitmq
):
    await queue(ledger, transport, accept(1))
    [away] = [name for name in transport.queues() if name.endswith("ndxp.request")]
    lost = []

    async def lose(inbox, lane):
        lost.append((inbox, lane))

    transport.report_to(mismatched=nobody, lost=lose)
    assert rabbitmq.evaluate(STOP.format(queue=away)) == "ok"
    with capture_logs() as told:
        rabbitmq.evaluate(CUT)
        await eventually(lambda: lost_twice(told))  # by the cut, and by the try that followed it
        assert rabbitmq.evaluate(START.format(queue=away)) == "ok"
        assert numbers(await eventually(lambda: transport.take(NDXP, 5))) == [1]
    assert lost == []
    assert {each["event"] for each in told} <= {"broker.away", "broker.connected"}


async def lost_twice(told):
    return sum(each["event"] == "broker.away" for each in told) >= 2


async def test_one_silent_queue_is_no_trouble_of_the_broker(ledger, transport, rabbitmq):
    await queue(ledger, transport, accept(1))
    [dead] = [name for name in transport.queues() if name.endswith("ndxp.request")]
    assert rabbitmq.evaluate(STOP.format(queue=dead)) == "ok"
    assert await transport.publish([await parcel_of(ledger, 1)]) == ["unavailable"]
    assert await transport.state() == "ok"


async def nobody(*_):
    """Nobody is told."""


async def test_a_cut_connection_is_made_again_and_watchers_go_on(ledger, transport, rabbitmq):
    await queue(ledger, transport, accept(1), accept(2))
    assert numbers(await transport.take(NDXP, 1)) == [1]
    bell = asyncio.Event()
    transport.watch(NDXP, bell.set)
    rabbitmq.evaluate(CUT)
    # Until the loss is noticed what was fetched may still be handed out; then all comes again, and the rows tell which is which.
    assert set(numbers(await served(transport, bell, {1, 2}))) == {1, 2}
    await queue_soon(ledger, transport, 3)
    assert 3 in numbers(await served(transport, bell, {3}))


async def served(transport, bell, wanted):
    """Take as the courier does: look when called, and not otherwise."""
    taken = []
    async with asyncio.timeout(60):
        while not wanted <= set(numbers(taken)):
            bell.clear()
            found = await transport.take(NDXP, 10)
            taken += found
            if not found:
                await bell.wait()
    return taken


async def queue_soon(ledger, transport, number):
    await ledger_with(ledger, number)
    parcel = await parcel_of(ledger, number)
    await eventually(lambda: publishes(transport, parcel))


async def test_what_is_published_while_the_broker_dies_is_confirmed_or_not_and_what_is_confirmed_is_there(
    ledger, transport, rabbitmq
):
    await queue(ledger, transport, accept(1))
    rabbitmq.settle()
    await ledger_with(ledger, *range(2, 152))
    parcels = [await parcel_of(ledger, number) for number in range(2, 152)]
    killing = asyncio.create_task(asyncio.to_thread(rabbitmq.kill))
    placed = []
    for parcel in parcels:
        placed += await transport.publish([parcel])
    await killing
    assert set(placed) <= {"queued", "unavailable"}
    assert placed[-1] == "unavailable"
    rabbitmq.start()
    confirmed = {1} | {number for number, word in enumerate(placed, start=2) if word == "queued"}
    taken = set(numbers(await eventually(lambda: transport.take(NDXP, 64))))
    while found := await transport.take(NDXP, 64):
        taken |= set(numbers(found))
    assert confirmed <= taken


async def test_a_broker_that_runs_on_without_its_queues_is_told_of_and_one_that_starts_anew_is_found(
    ledger, transport, rabbitmq
):
    await queue(ledger, transport, accept(1))
    assert await transport.state() == "ok"
    rabbitmq.evaluate(STOP_ALL)
    assert await transport.publish([await parcel_of(ledger, 1)]) == ["unavailable"]
    assert await transport.state() == "without queues"
    rabbitmq.stop()
    other = RabbitTransport(rabbitmq.url, ledger, bus="urn:lgsp:bus:late", clock=ManualClock())
    async with other.running():
        assert not await other.connected(0.3)
        rabbitmq.start()
        assert await other.connected(30)
        await queue_soon(ledger, other, 2)
        assert numbers(await other.take(NDXP, 5)) == [2]
    await eventually(lambda: is_well(transport))


async def is_well(transport):
    return await transport.state() == "ok"


async def test_the_wrong_password_is_as_if_the_broker_were_away(ledger, rabbitmq):
    url = f"amqp://lgsp:wrong@127.0.0.1:{rabbitmq.port}/"
    transport = RabbitTransport(url, ledger, bus="urn:lgsp:bus:test", clock=ManualClock())
    async with transport.running():
        assert not await transport.connected(1)
        assert await transport.state() == "away"


async def test_the_end_of_a_transport_gives_everything_back_in_order(ledger, carrying, rabbitmq):
    async with carrying(ledger, bus="urn:lgsp:bus:kept") as transport:
        await queue(ledger, transport, accept(1), accept(2), accept(3))
        other = RabbitTransport(rabbitmq.url, ledger, bus="urn:lgsp:bus:kept", clock=ManualClock())
        async with other.running():
            await other.connected(30)
            assert numbers(await other.take(NDXP, 2)) == [1, 2]
        assert numbers(await eventually(lambda: transport.take(NDXP, 9))) == [1, 2, 3]


async def test_two_gateways_share_an_inbox_and_hand_nothing_out_twice(ledger, carrying, rabbitmq):
    async with carrying(ledger, bus="urn:lgsp:bus:shared") as one:
        other = RabbitTransport(rabbitmq.url, ledger, bus="urn:lgsp:bus:shared", clock=ManualClock())
        async with other.running():
            await other.connected(30)
            await one.take(NDXP, 1)
            await other.take(NDXP, 1)
            await queue(ledger, one, *(accept(number) for number in range(1, 101)))
            hands = []
            async with asyncio.timeout(30):
                while len(hands) < 100:
                    for each in (one, other):
                        found = await each.take(NDXP, 10)
                        hands += numbers(found)
                        await each.drop(NDXP, [parcel.delivery.env for parcel in found])
                    await asyncio.sleep(0)  # with rows in memory nothing of this waits, and messages are to come in
            assert sorted(hands) == list(range(1, 101))


async def test_a_message_that_came_twice_is_handed_out_once(ledger, transport):
    await queue(ledger, transport, accept(1))
    parcel = await parcel_of(ledger, 1)
    assert await transport.publish([parcel]) == ["queued"]
    assert await waiting(transport) == 2
    assert numbers(await take_all(transport)) == [1]
    assert await waiting(transport) == 0


async def test_an_acknowledgement_that_nobody_writes_any_more_holds_up_no_inbox(ledger, transport, monkeypatch):
    # What the library does with frames that wait to be written when the writer of a lost connection ends: whoever sent one waits for ever.
    monkeypatch.setattr(reader, "CALL_SECONDS", 0.1)
    await queue(ledger, transport, accept(1), accept(2))
    [first] = await transport.take(NDXP, 1)
    asked = []

    async def ack(channel, number, **_):
        asked.append(number)
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr("aiormq.Channel.basic_ack", ack)
        async with asyncio.timeout(5):
            await transport.drop(NDXP, [first.delivery.env])
    assert len(asked) == 1
    assert numbers(await eventually(lambda: transport.take(NDXP, 5))) == [2]


async def test_a_queue_that_forgot_who_consumes_it_is_noticed_when_rows_and_queues_are_compared(ledger, transport):
    await queue(ledger, transport, accept(1))
    assert numbers(await transport.take(NDXP, 1)) == [1]
    called = asyncio.Event()
    transport.watch(NDXP, called.set)
    await forget_consumers(transport, NDXP)
    await queue(ledger, transport, accept(2))
    assert await transport.take(NDXP, 5) == []
    called.clear()
    assert (await transport.carried(NDXP))["request"] == 1
    assert called.is_set()
    assert numbers(await eventually(lambda: transport.take(NDXP, 5), seconds=10)) == [1, 2]


async def forget_consumers(transport, inbox):
    """End an inbox's consumers where its reader does not learn of it: no call of ours does such a thing."""
    channel = await transport._reader(inbox)._channel.get_underlay_channel()
    for tag in list(channel.consumers):
        await channel.basic_cancel(tag)
