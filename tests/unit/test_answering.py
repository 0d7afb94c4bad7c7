"""Answering for messages of a channel: one frame for all up to a number where nothing below is held, never twice for one."""

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgsp.backends.rabbitmq.answering import Unanswered
from lgsp.backends.rabbitmq.reader import Reader, Suspect


class Broker:
    """A channel as the broker sees it: it closes for a number that is not outstanding."""

    def __init__(self, brought):
        self.outstanding, self.frames = set(brought), 0

    async def basic_ack(self, delivery_tag, *, multiple=False, wait=True):
        self.frames += 1
        await asyncio.sleep(0)
        assert delivery_tag in self.outstanding
        self.outstanding -= {
            each for each in self.outstanding if each == delivery_tag or (multiple and each < delivery_tag)
        }


def unanswered(count):
    found = Unanswered(channel=Broker(range(1, count + 1)))
    for number in range(1, count + 1):
        found.bring(number)
    return found


async def test_what_came_first_is_answered_for_by_one_frame():
    found = unanswered(8)
    await found.answer([3, 1, 2])
    await found.answer([4, 5])
    assert (found.channel.outstanding, found.channel.frames) == ({6, 7, 8}, 2)


async def test_what_is_held_is_not_answered_for():
    found = unanswered(5)
    await found.answer([1, 3, 5])
    assert (found.channel.outstanding, found.channel.frames) == ({2, 4}, 3)
    await found.answer([2, 4])
    assert found.channel.outstanding == set()


async def test_what_was_overtaken_on_its_way_is_not_answered_for():
    found = Unanswered(channel=Broker([1, 2, 3]))
    for number in (2, 3):
        found.bring(number)
    await found.answer([2, 3])
    assert found.channel.outstanding == {1}


@given(st.integers(1, 40), st.randoms(use_true_random=False))
def test_in_any_order_and_at_once_each_is_answered_for_once(count, chance):
    async def all_at_once():
        found = unanswered(count)
        numbers = list(range(1, count + 1))
        chance.shuffle(numbers)
        kept = numbers[: chance.randrange(count)]
        rest = numbers[len(kept) :]
        groups = [rest[at : at + 7] for at in range(0, len(rest), 7)]
        await asyncio.gather(*map(found.answer, groups))
        assert found.channel.outstanding == set(kept)

    asyncio.run(all_at_once())


async def test_an_error_of_the_channel_is_raised():
    found = unanswered(2)
    found.channel.outstanding.clear()
    with pytest.raises(AssertionError):
        await found.answer([1])


async def test_what_an_answer_that_was_cut_off_left_is_answered_for_by_the_next():
    found = unanswered(4)
    begin = found.channel.basic_ack

    async def never(*_, **__):
        await asyncio.Event().wait()

    found.channel.basic_ack = never
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await found.answer([1, 2])
    found.channel.basic_ack = begin
    await found.answer([3])
    assert found.channel.outstanding == {4}


async def test_a_suspect_of_a_channel_that_was_lost_meanwhile_has_no_number_on_the_next():
    reader = Reader(queues={}, link=None, topology=None, ring=lambda: None)
    old, new = unanswered(2), unanswered(2)
    reader._channel, reader._unanswered = old.channel, old
    suspects = [Suspect(message=SimpleNamespace(delivery_tag=number), env="e", what="type") for number in (1, 2)]
    reader.suspects += suspects
    await reader.clear_suspects(suspects[:1])
    assert old.channel.outstanding == {2}
    reader._lose(old.channel)
    reader._channel, reader._unanswered = new.channel, new
    await reader.clear_suspects(suspects[1:])
    assert (old.channel.outstanding, new.channel.outstanding) == ({2}, {1, 2})
