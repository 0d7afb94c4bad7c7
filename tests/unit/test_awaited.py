"""Who waits for an answer is handed it, and never waits for one that was put off."""

import asyncio
import gc
import time

import pytest

from lgsp.sdk.awaited import Awaited, in_time


@pytest.fixture
def hurried():
    return []


@pytest.fixture
def answers(hurried):
    return Awaited(lambda: hurried.append(True))


async def test_an_answer_is_handed_to_all_who_wait_for_it_and_to_no_one_else(answers):
    first, second, other = answers.wait("a"), answers.wait("a"), answers.wait("b")
    assert answers.release("a", 7)
    assert (await first, await second) == (7, 7)
    assert not other.done()
    assert not answers.release("c", 7)


async def test_who_waits_no_longer_is_forgotten(answers):
    first, second = answers.wait("a"), answers.wait("a")
    answers.leave("a", first)
    assert answers.anybody
    answers.leave("a", second)
    assert not answers.anybody
    assert not answers.release("a", 7)


async def test_who_was_told_may_leave_while_others_wait_again(answers):
    told = answers.wait("a")
    answers.release("a", 7)
    answers.leave("a", told)
    again = answers.wait("a")
    answers.leave("a", told)
    assert answers.release("a", 8)
    assert await again == 8


async def test_what_somebody_waits_for_may_not_be_put_off(answers, hurried):
    answers.wait("a")
    assert not answers.may_put_off(["a", "b"])
    answers.wait("b")
    assert hurried == []


async def test_who_asks_for_what_was_put_off_hurries_it_until_it_is_stored(answers, hurried):
    assert answers.may_put_off(["a", "b"])
    answers.wait("a")
    assert hurried == [True]
    answers.stored(["a", "b"])
    answers.wait("b")
    assert hurried == [True]


@pytest.fixture
async def complaints():
    """What the loop complains of."""
    found = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: found.append(context["message"]))
    return found


async def begun(seconds):
    """Return a future and a task that has begun to wait for it."""
    future = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(in_time(seconds, future))
    await asyncio.sleep(0)
    return future, waiting


async def test_what_comes_in_time_is_returned():
    future, waiting = await begun(3600.0)
    future.set_result(7)
    assert await waiting == 7


async def test_what_is_here_already_is_returned_however_short_the_time():
    future = asyncio.get_running_loop().create_future()
    future.set_result(7)
    assert await in_time(0.0, future) == 7


async def test_what_has_no_limit_is_waited_for():
    future, waiting = await begun(None)
    future.set_result(7)
    assert await waiting == 7


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.01])
async def test_what_does_not_come_in_time_is_waited_for_no_longer(seconds):
    future, waiting = await begun(seconds)
    with pytest.raises(TimeoutError):
        await waiting
    assert future.done()


async def test_what_comes_at_the_last_moment_is_returned(complaints):
    future, waiting = await begun(0.01)
    asyncio.get_running_loop().call_soon(future.set_result, 7)
    time.sleep(0.02)  # noqa: ASYNC251 - so that the time is over in the very turn in which it comes
    assert await waiting == 7
    assert complaints == []


async def test_a_waiter_that_is_called_off_as_his_time_is_over_leaves_nothing_to_complain_of(complaints):
    future, waiting = await begun(0.01)
    asyncio.get_running_loop().call_later(0.01, waiting.cancel)
    time.sleep(0.03)  # noqa: ASYNC251 - so that both come in one turn
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert future.done()
    del future, waiting
    gc.collect()
    assert complaints == []
