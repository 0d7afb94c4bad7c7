"""Before the first envelope over a new stream: the bus is asked, again where no answer came, and nothing goes over a stream that is gone."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import SimpleNamespace

import pytest

from lgsp.sdk import Refused, Unreachable, outbox
from lgsp.sdk.frames import Welcome
from lgsp.sdk.resuming import Resuming
from lgsp.testing.clock import ManualClock
from lgsp.testing.world import NOW

WELCOME = Welcome(nonce="n", max_inflight=8, now=NOW)


class Sender:
    """What was done with the backlog, in order."""

    def __init__(self):
        self.done = []
        self.backlog = SimpleNamespace(opened=lambda room: self.done.append(f"opened {room}"))

    async def repeat(self):
        self.done.append("repeated")


class Bus:
    """Gives these answers, one after the other; an event as an answer is waited for, and then it knows."""

    def __init__(self, answers):
        self.answers = answers
        self.is_asked = asyncio.Event()

    async def ask(self, env, at):
        assert (env, at) == ("the newest", NOW)
        self.is_asked.set()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            return False
        return answer


@pytest.fixture
def resuming(monkeypatch):
    monkeypatch.setattr("lgsp.sdk.resuming.PAUSE", 0.0)
    monkeypatch.setattr(outbox, "newest", lambda reader, now: "the newest")

    def made(bus):
        box, sender = SimpleNamespace(reader=None, hurry=lambda: None), Sender()
        return Resuming(box=box, clock=ManualClock(NOW), sender=sender, ask=bus.ask), sender

    return made


async def run_until(resuming, condition):
    running = asyncio.create_task(resuming.run())
    try:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@pytest.mark.parametrize("answer", [Unreachable(), Refused("too_many_requests", retryable=True)])
async def test_a_question_without_an_answer_is_asked_again_and_nothing_goes_out_before(resuming, answer):
    bus = Bus([answer, answer, False])
    found, sender = resuming(bus)
    found.opened(WELCOME)
    await run_until(found, lambda: sender.done)
    assert (sender.done, bus.answers) == (["repeated", "opened 8"], [])


async def test_a_bus_that_will_never_answer_is_sent_to_all_the_same(resuming):
    """The same "no" will meet what is sent."""
    found, sender = resuming(Bus([Refused("not_yours")]))
    found.opened(WELCOME)
    await run_until(found, lambda: sender.done)
    assert sender.done == ["opened 8"]


async def test_nothing_goes_over_a_stream_that_ended_while_the_bus_was_asked(resuming):
    late = asyncio.Event()
    bus = Bus([late, True])
    found, sender = resuming(bus)
    found.opened(WELCOME)
    running = asyncio.create_task(found.run())
    async with asyncio.timeout(5):
        await bus.is_asked.wait()
    found.closed()
    late.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert sender.done == []
    found.opened(Welcome(nonce="n", max_inflight=3, now=NOW))
    running.cancel()
    await run_until(found, lambda: sender.done)
    assert sender.done == ["opened 3"]


async def test_a_stream_that_ends_before_the_question_is_not_asked_about(resuming):
    bus = Bus([])
    found, sender = resuming(bus)
    found.opened(WELCOME)
    found.closed()
    await run_until(found, lambda: not found._bell.is_set())
    assert sender.done == []
    assert not bus.is_asked.is_set()
