"""When the ends of keys are looked for again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from lgsp.cli.keys import expiries
from lgsp.errors import Unusable

FOUND = {"gateway": datetime(2027, 1, 2, tzinfo=UTC)}


class Shown:
    """Takes what is to be shown."""

    def __init__(self):
        self.times = 0

    def show_expiries(self, found):
        assert found == FOUND
        self.times += 1


async def test_after_a_look_that_failed_the_next_comes_soon_and_each_later_than_the_one_before(monkeypatch):
    shown, pauses = Shown(), []
    answers = iter([*["away"] * 10, "there", "away", "there"])

    async def look(_bus, _settings, _tls):
        if next(answers) == "away":
            raise Unusable("database_away")
        return FOUND

    async def pause(seconds):
        pauses.append(seconds)
        if shown.times == 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(expiries, "ends", look)
    monkeypatch.setattr(expiries.asyncio, "sleep", pause)
    with pytest.raises(asyncio.CancelledError):
        await expiries.keep_shown(None, None, shown, None)
    assert pauses[:10] == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]
    assert pauses[10:] == [600, 5, 600]
