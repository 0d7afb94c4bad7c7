"""Turns and rates: who sends little waits for little."""

import asyncio
from itertools import pairwise

import pytest

from lgsp.bus import fairness
from lgsp.bus.fairness import Rates, Turns


async def hold(turns, sender, order, release):
    async with turns.turn(sender):
        order.append(sender)
        await release.wait()


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


async def enter(turns, sender, count, order=None):
    async with turns.turn(sender, count):
        if order is not None:
            order.append(sender)
        await asyncio.sleep(0)


async def one_after_the_other(turns, senders):
    """Return in which order those who wait are let in when there is one place."""
    order, gate = [], asyncio.Event()
    async with asyncio.TaskGroup() as group:
        async with turns.turn("first"):
            for sender in senders:
                group.create_task(hold(turns, sender, order, gate))
            await settle()
            assert order == []
        gate.set()
    return order


async def test_one_of_each_sender_goes_before_a_second_of_any():
    found = await one_after_the_other(Turns(places=1, most=1), ["flood"] * 5 + ["b", "c", "b"])
    assert found == ["flood", "b", "c", "flood", "b", "flood", "flood", "flood"]


async def test_a_lone_sender_gets_all_places_in_its_own_order():
    assert await one_after_the_other(Turns(places=1, most=1), ["a"] * 4) == ["a"] * 4


async def test_no_more_are_let_in_than_there_are_places():
    turns, order, gate = Turns(places=3, most=3), [], asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(9):
            group.create_task(hold(turns, f"s{number % 2}", order, gate))
        await settle()
        assert len(order) == 3
        gate.set()
    assert len(order) == 9
    assert turns.places == 3


async def test_who_gives_up_waiting_loses_no_place():
    turns, gate = Turns(places=1, most=1), asyncio.Event()
    holder = asyncio.create_task(hold(turns, "a", [], gate))
    await settle()
    waiting = [asyncio.create_task(hold(turns, name, [], gate)) for name in ("b", "c", "b")]
    await settle()
    waiting[0].cancel()
    gate.set()
    results = await asyncio.gather(holder, *waiting, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), asyncio.CancelledError, type(None), type(None)]
    assert turns.places == 1


async def test_a_place_given_in_the_moment_of_giving_up_goes_on_to_the_next():
    turns, gate = Turns(places=1, most=1), asyncio.Event()
    gate.set()
    async with turns.turn("a"):
        given_up = asyncio.create_task(hold(turns, "b", [], gate))
        next_one = asyncio.create_task(hold(turns, "c", [], gate))
        await settle()
    given_up.cancel()
    await asyncio.gather(given_up, next_one, return_exceptions=True)
    assert given_up.cancelled()
    assert not next_one.cancelled()
    assert turns.places == 1


async def test_one_sender_leaves_places_to_others_however_much_it_sends():
    turns, order, gate = Turns(places=4, most=2), [], asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for sender in ["flood"] * 6 + ["b"]:
            group.create_task(hold(turns, sender, order, gate))
        await settle()
        assert sorted(order) == ["b", "flood", "flood"]
        gate.set()
    assert sorted(order) == ["b"] + ["flood"] * 6
    assert turns.places == 4
    assert turns._queues == {}


async def test_a_sender_holds_several_places_at_once_and_no_more_than_it_may():
    turns = Turns(places=4, most=3)
    async with turns.turn("a", 2), turns.turn("b", 2):
        waiting = asyncio.create_task(enter(turns, "a", 9))
        await settle()
        assert turns.places == 0
        assert not waiting.done()
        assert turns.is_crowd("a")
    await waiting
    assert turns.places == 4
    assert not turns.is_crowd("a")


async def test_who_wants_many_places_is_not_passed_for_ever_by_those_who_want_one():
    turns, order = Turns(places=2, most=2), []
    async with asyncio.TaskGroup() as group, turns.turn("a"):
        group.create_task(enter(turns, "many", 2, order))
        await settle()
        for sender in ("b", "c", "d"):
            group.create_task(enter(turns, sender, 1, order))
        await settle()
        assert order == []
    assert order[0] == "many"
    assert sorted(order) == ["b", "c", "d", "many"]


async def test_places_that_come_free_together_are_given_to_as_many_as_fit():
    turns, order, gate = Turns(places=4, most=4), [], asyncio.Event()
    async with asyncio.TaskGroup() as group:
        async with turns.turn("a", 4):
            for _ in range(4):
                group.create_task(hold(turns, "a", order, gate))
            await settle()
            assert order == []
        await settle()
        assert order == ["a"] * 4
        gate.set()


def test_a_sender_may_not_hold_more_places_than_there_are():
    with pytest.raises(ValueError, match="places"):
        Turns(places=2, most=3)


async def test_who_gives_up_waiting_for_many_places_lets_those_behind_it_in():
    turns, order = Turns(places=2, most=2), []
    async with turns.turn("a"):
        many = asyncio.create_task(enter(turns, "many", 2, order))
        await settle()
        one = asyncio.create_task(enter(turns, "b", 1, order))
        await settle()
        many.cancel()
        await asyncio.gather(many, return_exceptions=True)
        await one
        assert order == ["b"]
    assert turns.places == 2


class Time:
    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def now():
    return Time()


def test_a_burst_passes_and_what_follows_comes_at_the_rate(now):
    rates = Rates(rate=10, burst=5, now=now)
    delays = [rates.delay("a") for _ in range(8)]
    assert delays[:5] == [0.0] * 5
    assert [round(delay, 6) for delay in delays[5:]] == [0.1, 0.2, 0.3]
    assert rates.delay("b") == 0.0
    assert round(rates.delay("c", 8), 6) == 0.3
    assert round(rates.delay("c"), 6) == 0.4


def test_a_refused_call_takes_no_token(now):
    rates = Rates(rate=10, burst=2, now=now)
    assert [rates.take("a") for _ in range(2)] == [0.0, 0.0]
    assert {round(rates.take("a"), 6) for _ in range(50)} == {0.1}
    now.seconds += 0.1
    assert rates.take("a") == 0.0


def test_a_rest_fills_the_bucket(now):
    rates = Rates(rate=10, burst=3, now=now)
    for _ in range(3):
        rates.take("a")
    now.seconds += 60
    assert [rates.take("a") for _ in range(3)] == [0.0] * 3
    assert rates.take("a") > 0


def test_in_the_long_run_nobody_passes_the_rate(now):
    rates = Rates(rate=20, burst=10, now=now)
    passed = []
    for _ in range(1_000):
        now.seconds += 0.01
        if rates.take("flood") == 0.0:
            passed.append(now.seconds)
    assert len(passed) <= 10 + 10 * 20 + 1
    assert len(passed) >= 10 * 20
    assert all(later > earlier for earlier, later in pairwise(passed))


def test_few_senders_are_remembered(now, monkeypatch):
    monkeypatch.setattr(fairness, "SENDERS_KEPT", 5)
    rates = Rates(rate=1, burst=100, now=now)
    for number in range(50):
        rates.take(f"s{number}")
    assert len(rates._empty_until) == 5
    now.seconds += 1_000
    rates.take("last")
    assert list(rates._empty_until) == ["last"]
