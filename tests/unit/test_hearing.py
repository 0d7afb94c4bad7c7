"""What a gateway looks at because of what it hears, and because time has passed."""

import asyncio
from types import SimpleNamespace

import pytest

from lgsp.bus import hearing as hearing_module
from lgsp.bus.hearing import Hearing
from lgsp.ports.neighbours import News

QUEUED = News(queued=frozenset({"urn:lgsp:agency:H01.99:sys:asker"}))


class Recording(Hearing):
    """Notes what would be looked at."""

    __slots__ = ("looks",)

    async def take_in(self, news):
        self.looks.append(news)


@pytest.fixture
def hearing():
    neighbours = SimpleNamespace(alone=False, listen=lambda _hear: None)
    made = Recording(neighbours=neighbours, registry=None, replies=None, courier=None, progress=None, inboxes=None)
    made.looks = []
    return made


async def test_everything_is_looked_at_in_time_though_the_others_tell_something_all_the_time(hearing, monkeypatch):
    monkeypatch.setattr(hearing_module, "LOOK_EVERY", 0.05)
    running = asyncio.create_task(hearing.run())
    async with asyncio.timeout(20):
        while sum(news.missed for news in hearing.looks) < 3:
            hearing.hear(QUEUED)
            await asyncio.sleep(0.001)
    running.cancel()
    assert QUEUED in hearing.looks


async def test_while_there_is_nobody_else_nothing_is_looked_at_for_time_alone(hearing, monkeypatch):
    monkeypatch.setattr(hearing_module, "LOOK_EVERY", 0.01)
    hearing.neighbours.alone = True
    running = asyncio.create_task(hearing.run())
    async with asyncio.timeout(20):
        while len(hearing.looks) < 5:
            await asyncio.sleep(0.001)
    running.cancel()
    assert set(hearing.looks) == {News()}


async def test_more_news_than_is_gathered_is_a_look_at_everything(hearing, monkeypatch):
    monkeypatch.setattr(hearing_module, "NEWS_MAX", 3)
    for _ in range(4):
        hearing.hear(QUEUED)
    running = asyncio.create_task(hearing.run())
    async with asyncio.timeout(20):
        while not hearing.looks:
            await asyncio.sleep(0)
    running.cancel()
    assert hearing.looks[0].missed
    assert not hearing.looks[0].queued
