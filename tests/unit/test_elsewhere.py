"""What a gateway knows of calls that wait at others: for as long as they may wait, and no more of them than it can keep."""

import pytest

from lgsp.bus import elsewhere
from lgsp.bus.elsewhere import Elsewhere

REQUESTS = [("urn:lgsp:agency:H01.99:sys:asker", f"request {number}") for number in range(3)]


@pytest.fixture
def known():
    return Elsewhere()


async def test_a_call_is_known_until_its_request_is_answered(known):
    known.add(REQUESTS[:2])
    known.answered(REQUESTS[0])
    known.answered(REQUESTS[2])
    assert [known.has(each) for each in REQUESTS] == [False, True, False]


async def test_what_is_too_much_is_forgotten_the_oldest_first(known, monkeypatch):
    monkeypatch.setattr(elsewhere, "KEPT", 2)
    known.add(REQUESTS[:2])
    known.add([REQUESTS[0], REQUESTS[2]])
    assert [known.has(each) for each in REQUESTS] == [True, False, True]


async def test_a_call_that_can_wait_no_more_is_forgotten(known, monkeypatch):
    known.add(REQUESTS[:1])
    monkeypatch.setattr(elsewhere, "WAIT_MAX", -1.0)
    assert not known.has(REQUESTS[0])
    known.add([])
    assert known._since == {}
