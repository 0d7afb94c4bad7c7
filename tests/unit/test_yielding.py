"""The window of bulk work, against a made-up path: a queue in front of a server with others beside it."""

import pytest

from lgsp.sdk.yielding import PERIOD, PERIODS, YieldingWindow


class Path:
    """A path that takes `base` seconds and serves `rate` requests a second; what it cannot serve at once queues."""

    def __init__(self, *, base, rate):
        self.base, self.rate, self.now = base, rate, 0.0

    def run(self, window, seconds):
        """Keep the window full for so long; return the answer times of the last quarter."""
        found, end = [], self.now + seconds
        while self.now < end:
            open_requests = window.size
            took = max(self.base, open_requests / self.rate)
            self.now += took / open_requests
            window.answered(took, now=self.now)
            found.append(took)
        return found[-len(found) // 4 :]


def test_it_fills_a_path_and_queues_no_longer_than_its_target():
    path, window = Path(base=0.020, rate=300), YieldingWindow(largest=96, target=0.010)
    took = path.run(window, 30)
    assert window.size >= 300 * 0.020, "the path is used to the full"
    assert max(took) - 0.020 <= 0.0125


def test_it_never_passes_its_largest_or_falls_below_two():
    window = YieldingWindow(largest=5, target=0.010)
    Path(base=0.020, rate=10_000).run(window, 5)
    assert window.size == 5
    for _ in range(10):
        window.failed()
    assert window.size == 2


def test_it_yields_when_others_come_and_takes_up_again_when_they_go():
    path, window = Path(base=0.020, rate=600), YieldingWindow(largest=96, target=0.010)
    path.run(window, 20)
    alone = window.size
    path.rate = 200
    path.run(window, 5)
    beside = window.size
    assert beside < alone / 2
    path.rate = 600
    path.run(window, 20)
    assert window.size == pytest.approx(alone, abs=2)


def test_a_path_that_has_become_longer_is_taken_as_it_is_after_a_while():
    path, window = Path(base=0.020, rate=300), YieldingWindow(largest=96, target=0.010)
    path.run(window, 10)
    path.base = 0.060
    path.run(window, PERIOD * (PERIODS + 2))
    assert window.size >= 300 * 0.060 * 0.9


def test_one_slow_answer_changes_little():
    path, window = Path(base=0.020, rate=300), YieldingWindow(largest=96, target=0.010)
    path.run(window, 20)
    before = window.size
    window.answered(30.0, now=path.now)
    assert window.size >= before - 1
