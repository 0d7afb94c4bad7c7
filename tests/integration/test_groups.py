"""What comes together is worked on together, and each envelope, ack and sighting has an answer of its own."""

import asyncio
import json
from dataclasses import replace

import pytest

from lgsp.backends.sql import SqliteLedger
from lgsp.bus import fairness, sequencer
from lgsp.bus.ingress import AT_A_TIME, Ingress, Receipted
from lgsp.bus.moves import Moves
from lgsp.bus.progress import Sighting
from lgsp.bus.refusing import EnvelopeRefused
from lgsp.bus.sequencer import Sequencer
from lgsp.domain import admission
from lgsp.domain.envelope import Wire
from lgsp.domain.limits import LIMITS
from lgsp.errors import Refusal
from lgsp.ports.ledger import Accept
from lgsp.testing.bus import ack_of, publish, running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import FISHERIES, NDXP, OWNER_LIST, OWNER_LIST_SCHEMA, POLICE, World


@pytest.fixture
async def bus(world, tmp_path, monkeypatch):
    async def nothing(_):
        """Else what the sweep writes by and by is counted with the transactions of a test."""

    monkeypatch.setattr("lgsp.bus.sweep.Sweep.once", nothing)
    store = SqliteLedger.open(tmp_path / "bus.sqlite", create=True)
    clock = ManualClock(world.now)
    async with running_bus(world, store, clock=clock, entropy=SeededEntropy(), limits=LIMITS) as running:
        yield running
    await store.close()


async def submit(bus, wires, system=FISHERIES):
    """Return the answers to envelopes that come together, in their order."""
    answers = {}
    await bus.ingress.submit_all(wires, peer="test", system=system, tell=answers.__setitem__)
    return [answers[place] for place in range(len(wires))]


def told(answer):
    """Return an answer in a word."""
    if isinstance(answer, Receipted):
        return "repeated" if answer.duplicate else "accepted"
    refusal = answer.refusal if isinstance(answer, EnvelopeRefused) else answer
    return refusal.code


def transactions(bus):
    return sum(bus.figures.operations.counts)


async def test_envelopes_that_come_together_are_accepted_by_one_transaction(bus, world):
    await bus.courier.body_keys.today()
    before = transactions(bus)
    answers = await submit(bus, [world.envelope(number=number) for number in range(1, 9)])
    assert [told(answer) for answer in answers] == ["accepted"] * 8
    assert transactions(bus) == before + 1
    assert len({answer.receipt for answer in answers}) == 8


async def test_each_has_its_own_answer_whatever_the_others_are(bus, world):
    old = world.envelope(number=1)
    await bus.ingress.submit(old, peer="test")
    good = world.envelope(number=2)
    wires = [
        old,
        Wire(compact=good.compact[:-4] + b"AAAA", body=good.body),
        good,
        world.envelope(number=1, casefile="another"),
        world.envelope(number=3, body={}),
        world.envelope(number=4, recordedtime="2019-12-31T23:59:00Z", expirytime="2020-01-01T00:00:00Z"),
        world.envelope(number=5, signer="police"),
    ]
    answers = await submit(bus, wires)
    assert [told(answer) for answer in answers] == [
        "repeated", "signature", "accepted", "id_conflict", "schema", "expired", "source_not_owned",
    ]  # fmt: skip
    for wire, answer in zip(wires, answers, strict=True):
        assert answer.env == wire.hash


async def test_others_have_their_turn_while_a_group_is_read_judged_and_planned(bus, world, monkeypatch):
    await bus.courier.body_keys.today()
    turns, at_commit, commit = 0, [], SqliteLedger.commit

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def noting(self, operations, sign):
        at_commit.append((len(operations), turns))
        return await commit(self, operations, sign)

    monkeypatch.setattr(SqliteLedger, "commit", noting)
    watching = asyncio.create_task(other())
    answers = await submit(bus, [world.envelope(number=number) for number in range(1, 4 * AT_A_TIME + 2)])
    watching.cancel()
    assert {told(answer) for answer in answers} == {"accepted"}
    # Five pieces, and a turn between two pieces; then one commit of all.
    assert at_commit[0][0] == len(answers)
    assert at_commit[0][1] >= 4


@pytest.mark.parametrize(("asked_after", "pieces"), [(None, [16, 16, 1]), (0, [8, 8, 8, 8, 1]), (1, [16, 8, 8, 1])])
async def test_pieces_of_a_group_are_small_as_soon_as_people_ask(bus, world, monkeypatch, asked_after, pieces):
    await bus.courier.body_keys.today()
    found, read_few = [], Ingress._read

    def ask_if_it_is_time():
        if len(found) == asked_after:
            bus.ingress.sequencer._asked_at = asyncio.get_running_loop().time()

    async def noting(self, coming, *args, **named):
        found.append(len(coming))
        ask_if_it_is_time()
        return await read_few(self, coming, *args, **named)

    monkeypatch.setattr(Ingress, "_read", noting)
    ask_if_it_is_time()
    await submit(bus, [world.envelope(number=number) for number in range(1, 34)])
    assert found == pieces


async def test_while_people_ask_a_call_holds_few_operations_of_bulk(bus, world, monkeypatch):
    await bus.courier.body_keys.today()
    calls, take = [], Sequencer.submit

    async def noting(self, *operations, order="first"):
        calls.append(len(operations))
        return await take(self, *operations, order=order)

    monkeypatch.setattr(Sequencer, "submit", noting)
    bus.ingress.sequencer._asked_at = asyncio.get_running_loop().time()
    wires = [world.envelope(number=number) for number in range(1, 2 * sequencer.BULK_MAX + 2)]
    assert {told(answer) for answer in await submit(bus, wires)} == {"accepted"}
    assert max(calls) <= sequencer.BULK_MAX


async def test_the_same_envelope_twice_in_a_group_is_accepted_once(bus, world):
    wire = world.envelope()
    first, second = await submit(bus, [wire, wire])
    assert sorted([told(first), told(second)]) == ["accepted", "repeated"]
    assert first.receipt == second.receipt


async def test_a_fault_with_one_is_no_matter_to_the_others(bus, world, monkeypatch):
    wires = [world.envelope(number=number) for number in (1, 2, 3)]
    judge = admission.judge

    def stumbling(read, **given):
        if read.wire == wires[1]:
            raise RuntimeError("a fault")
        return judge(read, **given)

    monkeypatch.setattr(admission, "judge", stumbling)
    first, second, third = await submit(bus, wires)
    assert [told(first), told(third)] == ["accepted", "accepted"]
    assert isinstance(second, RuntimeError)


async def test_when_the_ledger_is_away_all_are_told_so_and_nothing_stays_held(bus, world, monkeypatch):
    async def away(*_):
        raise Refusal("unavailable")

    wires = [world.envelope(number=number) for number in (1, 2)]
    with monkeypatch.context() as broken:
        broken.setattr(type(bus.ledger), "commit", away)
        assert [told(answer) for answer in await submit(bus, wires)] == ["unavailable", "unavailable"]
    assert bus.ingress.turns.places == LIMITS.judged_at_once
    assert not any(bus.quotas._held.values())
    assert [told(answer) for answer in await submit(bus, wires)] == ["accepted", "accepted"]


async def test_a_draining_gateway_tells_each(bus, world):
    bus.ingress.draining = True
    answers = await submit(bus, [world.envelope(number=number) for number in (1, 2)])
    assert [told(answer) for answer in answers] == ["draining", "draining"]


async def test_a_group_of_more_than_one_sender_may_have_judged_at_once_is_judged_all_the_same(bus, world):
    wires = [world.envelope(number=number) for number in range(1, 2 * LIMITS.judged_of_one)]
    assert {told(answer) for answer in await submit(bus, wires)} == {"accepted"}


LIST = {"listId": "H01.12-0000001", "asOf": "2026-11-22", "orgcat": "2025-07", "rows": [{"registration": "AG-00001-TS", "ownerName": "NGUYỄN VĂN AN", "communeCode": "30742"}]}  # fmt: skip


async def test_a_look_up_that_is_judged_again_waits_for_no_bulk_that_came_with_it(bus, world, monkeypatch):
    bulk = world.envelope(
        number=1, type=OWNER_LIST, audience=POLICE, dataschema=OWNER_LIST_SCHEMA, body=LIST,
        procedure=None, casefile=None, authid=None,
    )  # fmt: skip
    submit_operations, may_go, orders = Sequencer.submit, asyncio.Event(), []

    async def changed_between(sequencer, *operations, order="first"):
        if any(isinstance(each, Accept) for each in operations):
            orders.append(order)
            if order == "bulk":
                await may_go.wait()
            elif bus.registry.current.version == 1:
                await publish(bus, World.make(version=2, prev=world.directory.hash, now=world.now))
        return await submit_operations(sequencer, *operations, order=order)

    monkeypatch.setattr(Sequencer, "submit", changed_between)
    answers = {}
    sending = asyncio.create_task(
        bus.ingress.submit_all(
            [bulk, world.envelope(number=2)], peer="test", system=FISHERIES, tell=answers.__setitem__
        )
    )
    async with asyncio.timeout(20):
        while 1 not in answers:
            await asyncio.sleep(0.005)
    assert orders == ["bulk", "urgent", "urgent"]
    assert list(answers) == [1]
    may_go.set()
    await sending
    assert [told(answers[place]) for place in (0, 1)] == ["accepted", "accepted"]


async def handed(bus, world, numbers):
    await asyncio.gather(*(bus.ingress.submit(world.envelope(number=number), peer="test") for number in numbers))
    return await bus.courier.pull(NDXP, limit=len(numbers), wait=1)


async def test_acks_that_come_together_settle_by_one_transaction_and_each_has_its_answer(bus, world):
    found = await handed(bus, world, (1, 2, 3))
    good = [ack_of(world, "ndxp", NDXP, each.env)[0] for each in found]
    wrong = replace(good[0], item=good[0].item.replace("accepted", "perhaps_"))
    strange = ack_of(world, "ndxp", NDXP, world.envelope(number=9).hash)[0]
    before = transactions(bus)
    answers = await bus.settlement.acknowledge_all(NDXP, [good[0], wrong, strange, good[1], good[2], good[0]])
    assert transactions(bus) == before + 1
    assert [answers[place] for place in (0, 3, 4, 5)] == [found[0].env, found[1].env, found[2].env, found[0].env]
    assert [answers[place].code for place in (1, 2)] == ["ack_invalid", "ack_invalid"]
    states = [(await bus.courier.inboxes.held(NDXP, [each.env]))[each.env].state for each in found]
    assert states == ["acked"] * 3
    assert dict(bus.courier.in_flight())[NDXP] == 0


async def test_a_fault_with_one_ack_is_no_matter_to_the_others(bus, world, monkeypatch):
    found = await handed(bus, world, (1, 2, 3))
    acks = [ack_of(world, "ndxp", NDXP, each.env)[0] for each in found]
    settle = Moves.settle

    def stumbling(moves, held, *word, **given):
        if held.env == found[1].env:
            raise RuntimeError("a fault")
        return settle(moves, held, *word, **given)

    monkeypatch.setattr(Moves, "settle", stumbling)
    first, second, third = await bus.settlement.acknowledge_all(NDXP, acks)
    assert [first, third] == [found[0].env, found[2].env]
    assert isinstance(second, RuntimeError)
    with pytest.raises(RuntimeError, match="a fault"):
        await bus.settlement.acknowledge(NDXP, acks[1])
    states = [(await bus.courier.inboxes.held(NDXP, [each.env]))[each.env].state for each in found]
    assert states == ["acked", "leased", "acked"]


async def test_when_the_ledger_is_away_all_acks_are_told_so(bus, world, monkeypatch):
    found = await handed(bus, world, (1, 2))
    acks = [ack_of(world, "ndxp", NDXP, each.env)[0] for each in found]
    with monkeypatch.context() as broken:
        broken.setattr(type(bus.ledger), "commit", away)
        assert [told(answer) for answer in await bus.settlement.acknowledge_all(NDXP, acks)] == ["unavailable"] * 2
    assert await bus.settlement.acknowledge_all(NDXP, acks) == [each.env for each in found]


async def test_outcomes_that_are_seen_together_are_noted_by_one_transaction(bus, world):
    found = await handed(bus, world, (1, 2))
    await bus.settlement.acknowledge_all(NDXP, [ack_of(world, "ndxp", NDXP, each.env)[0] for each in found])
    strange = world.envelope(number=9).hash
    before = transactions(bus)
    sightings = [Sighting(env=env, to=NDXP, state="acked") for env in (found[0].env, strange, found[1].env)]
    first, second, third = await bus.progress.seen_all(FISHERIES, sightings)
    assert transactions(bus) == before + 1
    assert (first, second.code, third) == (None, "not_found", None)
    assert await bus.progress.outcomes(FISHERIES, limit=9) == []


class Closing:
    """A stream that is closed while what it was promised is being committed, and whose deliveries cannot go back either."""

    def __init__(self, bus, monkeypatch):
        self.handed = []
        self.attached = bus.courier.attach(NDXP, self)
        self.attached.credit(16, 1 << 20)
        commit = type(bus.ledger).commit

        async def close_after(ledger, operations, sign):
            results = await commit(ledger, operations, sign)
            if any(isinstance(each, Accept) for each in operations):
                self.attached.close()
                monkeypatch.setattr(type(bus.courier), "requeue", away)
            return results

        monkeypatch.setattr(type(bus.ledger), "commit", close_after)

    def hand_over(self, handover):
        self.handed.append(handover)

    def outcome(self, delivery):
        pass


async def away(*_args, **_named):
    raise Refusal("unavailable")


async def test_what_was_promised_to_a_stream_that_closes_is_given_back_for_all_of_a_group(bus, world, monkeypatch):
    Closing(bus, monkeypatch)
    await asyncio.sleep(0.05)  # the pump has looked, and knows that nothing waits
    answers = await submit(bus, [world.envelope(number=number) for number in range(1, 5)])
    assert [told(answer) for answer in answers] == ["accepted"] * 4
    inbox = bus.courier.inbox(NDXP)
    assert (inbox._reserved, inbox._bulk, +inbox._coming, +inbox._flying) == (0, 0, {}, {})


async def test_a_frame_that_comes_after_a_group_is_not_accepted_before_it(bus, world):
    wires = [world.envelope(number=number) for number in range(1, 6)]
    group = asyncio.create_task(submit(bus, wires[:-1]))
    await asyncio.sleep(0)
    await submit(bus, wires[-1:])
    await group
    entries = [json.loads(each) for each in await bus.ledger.entries(0, await bus.ledger.size())]
    assert [entry["env"] for entry in entries if entry["ev"] == "msg.accepted"] == [wire.hash for wire in wires]


async def test_while_people_ask_a_crowd_goes_on_step_by_step_and_at_once_when_nobody_does(bus):
    clock = asyncio.get_running_loop().time
    bus.sequencer._asked_at = clock()
    began = clock()
    for _ in range(3):
        await bus.sequencer.calm()
    assert clock() - began >= 2 * sequencer.CROWD_EVERY
    bus.sequencer._asked_at = clock() - sequencer.ASKED_LATELY
    before = bus.sequencer._calm_at
    await bus.sequencer.calm()
    assert bus.sequencer._calm_at - before < sequencer.CROWD_EVERY


async def test_who_answers_is_no_crowd_for_a_moment(bus, world, monkeypatch):
    request = world.envelope()
    await bus.ingress.submit(request, peer="test", system=FISHERIES)
    await bus.ingress.submit(world.reply(request), peer="test", system=NDXP)
    assert bus.ingress.answering.has_answered(NDXP)
    assert not bus.ingress.answering.has_answered(FISHERIES)
    monkeypatch.setattr(fairness, "ANSWERED_LATELY", -1.0)
    assert not bus.ingress.answering.has_answered(NDXP)
