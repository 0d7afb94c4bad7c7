"""Who waits for an answer is handed it, and never waits for one that was put off."""

import asyncio

import pytest

from lgsp.sdk.awaited import Awaited


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
    future = answers.wait("a")
    future.cancel()
    await asyncio.wait([future])
    assert not answers.anybody
    assert not answers.release("a", 7)


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
