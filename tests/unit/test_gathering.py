"""What is gathered is handed on once, in order, at the next turn or when its time is over."""

import asyncio

import pytest

from lgsp.gathering import Gathering


@pytest.mark.parametrize("seconds", [0.0, 0.02])
async def test_what_comes_together_is_handed_on_together_and_what_comes_later_later(seconds):
    handed = asyncio.Queue()
    gathering = Gathering(handed.put_nowait, seconds=seconds)
    for item in (1, 2, 3):
        gathering.add(item)
    assert handed.empty()
    async with asyncio.timeout(5):
        assert await handed.get() == [1, 2, 3]
        gathering.add(4)
        assert await handed.get() == [4]


async def test_a_flush_hands_on_at_once_and_leaves_no_timer_behind():
    handed = []
    gathering = Gathering(handed.append, seconds=0.01)
    gathering.flush()
    assert handed == []
    gathering.add(1)
    gathering.flush()
    assert handed == [[1]]
    gathering.add(2)
    assert handed == [[1]]
    await asyncio.sleep(0.02)
    assert handed == [[1], [2]]


async def test_what_may_wait_goes_along_with_what_may_not_and_the_order_is_kept():
    handed = asyncio.Queue()
    gathering = Gathering(handed.put_nowait, seconds=3600.0)
    gathering.add(1)
    gathering.add(2, seconds=0.0)
    gathering.add(3)
    async with asyncio.timeout(5):
        assert await handed.get() == [1, 2, 3]


async def test_what_may_wait_longer_does_not_hold_up_what_waits_already():
    handed = asyncio.Queue()
    gathering = Gathering(handed.put_nowait, seconds=0.01)
    gathering.add(1)
    gathering.add(2, seconds=3600.0)
    async with asyncio.timeout(5):
        assert await handed.get() == [1, 2]
