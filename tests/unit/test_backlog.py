"""The backlog: order, the number on the wire, and nothing lost over a reconnect, however long the outbox is."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgsp.sdk.backlog import IN_MEMORY, Backlog
from lgsp.sdk.box import Outgoing


def outgoing(seq):
    return Outgoing(seq=seq, id=str(seq), env="e", source="s", type="t", audience="a", compact=b"", body=b"")


class Outbox:
    """What is durable, and what went over the wire."""

    def __init__(self, size=0):
        self.rows = [outgoing(seq) for seq in range(1, size + 1)]
        self.last = size
        self.wire = []
        self.backlog = Backlog(load=self.load, transmit=lambda row: self.wire.append(row.seq))

    def load(self, after, limit):
        return [row for row in self.rows if row.seq > after][:limit]

    def add(self, count=1):
        new = [outgoing(self.last + 1 + index) for index in range(count)]  # a number is never used again, as in the box
        self.last += count
        self.rows += new
        self.backlog.added(new)

    def answer(self, seq):
        self.rows = [row for row in self.rows if row.seq != seq]
        return self.backlog.answered(seq)


def test_what_an_earlier_run_left_goes_first():
    outbox = Outbox(3)
    outbox.add()
    outbox.backlog.opened(10)
    assert outbox.wire == [1, 2, 3, 4]


def test_no_more_are_unanswered_than_the_gateway_takes():
    outbox = Outbox(5)
    outbox.backlog.opened(2)
    assert outbox.wire == [1, 2]
    outbox.backlog.answered(2)
    assert outbox.wire == [1, 2, 3]


def test_what_no_answer_came_for_goes_again_in_order():
    outbox = Outbox(4)
    outbox.backlog.opened(3)
    outbox.backlog.answered(2)
    outbox.backlog.closed()
    outbox.wire.clear()
    outbox.backlog.opened(10)
    assert outbox.wire == [1, 3, 4]


def test_an_answer_to_nothing_is_nothing():
    assert Outbox().backlog.answered(7) is None


def test_what_was_read_from_the_outbox_before_anybody_told_of_it_goes_out_once():
    outbox = Outbox()
    outbox.rows.append(outgoing(1))  # durable, and the word of it is on its way
    outbox.backlog.opened(10)
    outbox.backlog.added([outgoing(1)])
    assert outbox.wire == [1]
    assert outbox.backlog.answered(1) is not None
    assert outbox.backlog.empty


@pytest.mark.parametrize("reconnects", [0, 1])
def test_an_answer_tells_whether_it_is_to_the_first_sending(reconnects):
    outbox = Outbox()
    outbox.backlog.opened(10)
    outbox.add()
    for _ in range(reconnects):
        outbox.backlog.closed()
        outbox.backlog.opened(10)
    assert outbox.backlog.answered(1) == (outgoing(1), reconnects == 0)


def test_a_long_outbox_is_not_held_in_memory_and_goes_out_in_order():
    outbox = Outbox()
    outbox.add(3 * IN_MEMORY)
    assert len(outbox.backlog._ready) == 0
    outbox.backlog.opened(1)
    outbox.add()
    for seq in range(1, 3 * IN_MEMORY + 2):
        assert outbox.wire[-1] == seq
        assert not outbox.backlog.empty
        outbox.backlog.answered(seq)
    assert outbox.backlog.empty
    assert len(outbox.wire) == 3 * IN_MEMORY + 1


async def test_one_that_is_to_be_tried_again_does_not_hold_up_the_others():
    outbox = Outbox(2)
    outbox.backlog.opened(10)
    row, _ = outbox.backlog.answered(1)
    outbox.backlog.again(row, 0.0)
    assert outbox.backlog.answered(2) is not None
    assert not outbox.backlog.empty
    async with asyncio.timeout(5):
        while outbox.wire != [1, 2, 1]:
            await asyncio.sleep(0)


async def test_what_is_to_be_tried_again_is_not_once_the_client_has_stopped():
    outbox = Outbox(1)
    outbox.backlog.opened(10)
    row, _ = outbox.backlog.answered(1)
    outbox.backlog.again(row, 0.0)
    outbox.backlog.stop()
    for _ in range(3):
        await asyncio.sleep(0)
    assert (outbox.wire, outbox.backlog.empty) == ([1], False)


async def test_of_many_that_are_to_be_tried_again_few_are_held_in_memory():
    outbox = Outbox(3 * IN_MEMORY)
    outbox.backlog.opened(10)
    while outbox.backlog._unanswered:
        row, _ = outbox.backlog.answered(min(outbox.backlog._unanswered))
        outbox.backlog.again(row, 0.0)
    assert len(outbox.wire) <= IN_MEMORY + 10
    async with asyncio.timeout(20):
        while outbox.rows:
            for seq in list(outbox.backlog._unanswered):
                outbox.answer(seq)
            await asyncio.sleep(0)
    assert set(outbox.wire) == set(range(1, 3 * IN_MEMORY + 1))
    outbox.backlog.stop()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["add", "open", "close", "answer", "many"]), max_size=40), st.integers(1, 4))
def test_whatever_happens_every_envelope_is_sent_until_it_is_answered(steps, room):
    outbox, answered = Outbox(2), set()
    for step in steps:
        if step in {"add", "many"}:
            outbox.add(1 if step == "add" else 7)
        elif step == "open":
            outbox.backlog.closed()
            outbox.backlog.opened(room)
        elif step == "close":
            outbox.backlog.closed()
        elif outbox.backlog._unanswered:
            seq = min(outbox.backlog._unanswered)
            outbox.answer(seq)
            assert seq not in answered
            answered.add(seq)
        assert len(outbox.backlog._unanswered) <= room
    outbox.backlog.closed()
    outbox.backlog.opened(1000)
    assert set(outbox.backlog._unanswered) == {row.seq for row in outbox.rows}
    assert list(outbox.backlog._unanswered) == sorted(outbox.backlog._unanswered)
