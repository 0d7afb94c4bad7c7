"""The receiving side over a real box: what goes back to the bus, how often, and what a program gets to see."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass, field

import pytest

from lgsp.domain import statements, strictjson
from lgsp.errors import Defect, Refusal
from lgsp.ports.directory import SignedRecords
from lgsp.sdk import Reject, Retry, Unreachable, marks, receiver
from lgsp.sdk.box import Box
from lgsp.sdk.directories import Directories
from lgsp.sdk.frames import Handed
from lgsp.sdk.receiver import Receiver
from lgsp.sdk.trust import Trust
from lgsp.testing.world import BUS, FISHERIES, GATEWAY, LOG, NDXP, World, manifest_of

WINDOW = 4


@pytest.fixture(scope="module")
def world():
    return World.make()


@dataclass
class Bench:
    world: World
    box: Box
    receiver: Receiver
    sent: list = field(default_factory=list)
    away: list = field(default_factory=list)

    async def deliver(self, *wires, leases=("lease",)):
        """Deliver envelopes that come together, with these leases in turn."""
        given = zip(wires, itertools.cycle(leases), strict=False)
        await self.receiver.deliver([self.handed(wire, lease) for wire, lease in given])

    def handed(self, wire, lease):
        manifest = manifest_of(wire)
        item = {"env": wire.hash, "id": manifest.id, "src": manifest.source, "aud": manifest.audience}
        item |= {"outcome": "accepted", "index": 0, "leaf": "sha-256:" + "A" * 43}
        head = statements.receipt_head(gateway=GATEWAY, at=self.world.now, log=LOG, policy=1)
        signer = self.world.signers["gateway"]
        [receipt] = statements.sign_batch([strictjson.compact(item)], head, typ=statements.RECEIPT, signer=signer)
        given = {"wire": wire, "env": wire.hash, "receipt": receipt, "lease": lease, "attempt": 1}
        return Handed(**given, now=self.world.now)

    async def taken(self, number=1):
        """Deliver a verification and return it as the program gets it."""
        await self.deliver(self.world.envelope(number=number))
        return await self.receiver.arrivals.next()

    async def said(self, op):
        """Return the frames of a kind that were sent, those of this turn of the loop included."""
        await asyncio.sleep(0)
        await self.box.write(lambda _: None)
        await asyncio.sleep(0)
        return [frame for frame in self.sent if frame["op"] == op]

    async def acks(self):
        return [json.loads(frame["ack"]["item"])["env"] for frame in await self.said("ack")]


async def opened(world, folder, system, signer):
    def sign(items):
        head = statements.ack_head(system=system, at=world.now)
        return statements.sign_batch(items, head, typ=statements.ACK, signer=world.signers[signer])

    async def fetch(_version):
        if made.away:
            raise made.away.pop()
        found = world.directory
        return SignedRecords(version=1, statement=found.statement, records=found.encoded)

    box = Box.open(folder / "box.sqlite", sign=sign)
    registrar = world.signers["registrar"].public
    receiver = Receiver(
        box=box,
        trust=Trust(system=system, bus=BUS, log=LOG),
        compose=None,
        directories=Directories(fetch=fetch, box=box, registrar=registrar, bus=BUS),
        put=lambda frame: made.sent.append(json.loads(frame)),
        window=WINDOW,
    )
    made = Bench(world=world, box=box, receiver=receiver)
    box.on_commit = lambda committed: [receiver.acked(*ack) for ack in committed.acks]
    return made


@pytest.fixture
async def bench(world, tmp_path):
    made = await opened(world, tmp_path, NDXP, "ndxp")
    yield made
    made.receiver.stop()
    await made.box.close()


async def deal(message, *, outside=False, trouble=None):
    async with message.effect(outside=outside):
        if trouble is not None:
            raise trouble


# --- credit and leases -------------------------------------------------------------------------------------------------------------


async def test_of_those_that_come_together_each_is_dealt_with_as_if_it_came_alone(bench):
    world = bench.world
    held, done = await bench.taken(1), await bench.taken(2)
    await deal(done)
    fresh, other = world.envelope(number=3), world.envelope(number=4)
    strange = world.envelope(number=5, audience=FISHERIES)
    await bench.said("credit")
    bench.sent.clear()
    together = [held.wire, fresh, done.wire, strange, other, fresh]
    await bench.deliver(*together, leases=("new", "first", "x", "x", "x", "last"))
    assert held.lease == "new"
    taken = [await bench.receiver.arrivals.next() for _ in range(len(bench.receiver.arrivals))]
    assert [(each.env, each.lease) for each in taken] == [(fresh.hash, "last"), (other.hash, "x")]
    assert await bench.acks() == [done.env]
    assert [frame["env"] for frame in await bench.said("nack")] == [strange.hash]
    # Of the one in hand, of the one that was done, of the one put back, and of the one that came twice.
    assert [frame["n"] for frame in await bench.said("credit")] == [4]


async def test_a_message_gives_its_place_back_once_and_never_on_a_later_stream(bench):
    bench.receiver.opened()
    first, kept = await bench.taken(1), await bench.taken(2)
    await deal(first)
    assert [frame["n"] for frame in await bench.said("credit")] == [WINDOW, 1]
    bench.receiver.opened()
    await deal(kept)
    assert [frame["n"] for frame in await bench.said("credit")] == [WINDOW, 1, WINDOW - 1]


async def test_a_message_that_is_put_back_twice_goes_back_once(bench):
    message = await bench.taken()
    for _ in range(2):
        bench.receiver.put_back(message, "busy")
    assert [frame["code"] for frame in await bench.said("nack")] == ["busy"]
    assert len(await bench.said("credit")) == 1


async def test_what_comes_again_while_it_is_in_hand_changes_its_lease_alone(bench):
    message = await bench.taken()
    await bench.deliver(bench.world.envelope(), leases=("another",))
    assert (message.lease, len(bench.receiver.arrivals)) == ("another", 0)


async def test_what_was_dealt_with_is_not_dealt_with_again(bench):
    message = await bench.taken()
    await deal(message)
    with pytest.raises(Defect, match="has been dealt with"):
        message.effect()


# --- what the bus could not take ---------------------------------------------------------------------------------------------------


async def test_of_several_acks_those_that_the_bus_could_not_take_go_out_again_together(bench, monkeypatch):
    monkeypatch.setattr("lgsp.sdk.receiver.AGAIN_FIRST", 0.0)
    bench.receiver._pause = 0.0
    messages = [await bench.taken(number) for number in (1, 2, 3)]
    for message in messages:
        await deal(message)
    envs = [message.env for message in messages]
    assert await bench.acks() == envs
    for env in envs[:2]:
        bench.receiver.refused(env)
    async with asyncio.timeout(5):
        while len(await bench.acks()) < 5:
            await asyncio.sleep(0)
    assert sorted((await bench.acks())[3:]) == sorted(envs[:2])


async def test_of_many_nacks_the_last_are_remembered(bench, monkeypatch):
    monkeypatch.setattr("lgsp.sdk.receiver.NACKS_KEPT", 1)
    bench.receiver._pause = 0.0
    first, last = await bench.taken(1), await bench.taken(2)
    for message in (first, last):
        bench.receiver.put_back(message, "busy")
        bench.receiver.refused(message.env)
    async with asyncio.timeout(5):
        while bench.receiver._repeating is not None:
            await asyncio.sleep(0)
    assert [frame["env"] for frame in await bench.said("nack")] == [first.env, last.env, last.env]


async def test_a_delivery_whose_directory_cannot_be_had_is_asked_for_again(bench):
    bench.away.append(Unreachable())
    await bench.deliver(bench.world.envelope())
    [nack] = await bench.said("nack")
    assert (nack["code"], nack["retry_after"], len(bench.receiver.arrivals)) == ("unavailable", 5.0, 0)
    assert len(await bench.said("credit")) == 1
    assert (await bench.taken()).env == nack["env"]


# --- effects elsewhere -------------------------------------------------------------------------------------------------------------


async def test_an_effect_elsewhere_that_did_not_take_place_leaves_no_doubt(bench):
    message = await bench.taken()
    await deal(message, outside=True, trouble=Retry(3.0))
    assert marks.find(bench.box.reader, [message.env]) == {}
    [nack] = await bench.said("nack")
    assert (nack["code"], nack["retry_after"]) == ("retry", 3.0)


async def test_whether_an_earlier_effect_took_place_is_no_clearer_after_another_try(bench):
    message = await bench.taken()
    message.uncertain = True
    await deal(message, outside=True, trouble=Retry())
    assert marks.find(bench.box.reader, [message.env])[message.env].state == "uncertain"


@pytest.mark.parametrize("is_ending", [False, True])
async def test_who_is_called_off_puts_his_message_back_unless_it_goes_back_with_the_stream(bench, is_ending):
    message, begun = await bench.taken(), asyncio.Event()

    async def endless():
        async with message.effect():
            begun.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(endless())
    await begun.wait()
    bench.receiver.is_ending = is_ending
    working.cancel()
    await asyncio.wait([working])
    assert working.cancelled()
    assert [frame["code"] for frame in await bench.said("nack")] == ([] if is_ending else ["cancelled"])


async def test_a_rejection_is_signed_and_nothing_else_of_the_effect_is_kept(bench):
    message = await bench.taken()
    async with message.effect() as effect:
        effect.execute("CREATE TABLE not_kept (x)")
        raise Reject("owner_unknown", "/fullName")
    [ack] = await bench.said("ack")
    item = json.loads(ack["ack"]["item"])
    assert (item["outcome"], item["code"], item["pointer"]) == ("rejected", "owner_unknown", "/fullName")


async def test_leases_of_what_is_worked_on_for_long_are_extended_and_no_others(bench):
    _fresh, long, lost = [await bench.taken(number) for number in (1, 2, 3)]
    now = asyncio.get_running_loop().time()
    long.held_since, lost.held_since = now - receiver.EXTEND_AFTER, now - 2 * receiver.HOLD_MOST
    bench.receiver.extend()
    assert [frame["env"] for frame in await bench.said("extend")] == [long.env]


# --- replies that a call waits for -------------------------------------------------------------------------------------------------


@pytest.fixture
async def asker(world, tmp_path):
    made = await opened(world, tmp_path, FISHERIES, "fisheries")
    yield made
    await made.box.close()


async def test_a_reply_reaches_those_who_still_wait(world, asker):
    request = world.envelope()
    gone, waiting = (asker.receiver.expect(manifest_of(request).id) for _ in range(2))
    gone.cancel()
    await asker.deliver(world.reply(request))
    async with asyncio.timeout(5):
        assert (await waiting).body == {"result": "match"}
    assert gone.cancelled()


async def test_a_reply_that_cannot_be_written_down_goes_back_and_whoever_waits_is_told(world, asker):
    """Its sender gave two replies one id: the second is none."""
    request = world.envelope()
    identifier = manifest_of(request).id
    for body in ({"result": "match"}, {"result": "not_found"}):
        waiting = asker.receiver.expect(identifier)
        second = world.reply(request, body=body)
        await asker.deliver(second)
        await asyncio.wait([waiting], timeout=5)
    with pytest.raises(Refusal) as caught:
        waiting.result()
    assert caught.value.code == "id_conflict"
    assert [(frame["env"], frame["code"]) for frame in await asker.said("nack")] == [(second.hash, "failed")]
