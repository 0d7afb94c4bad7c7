from datetime import timedelta

import pytest

from lgsp.domain.retry import RetryPolicy
from lgsp.testing.world import NOW

PAUSES = [
    (1, 2),
    (2, 4),
    (3, 8),
    (4, 16),
    (8, 256),
    (9, 512),
    (10, 600),
    (11, 600),
    (21, 600),
    (22, 600),
    (10_000, 600),
]


@pytest.mark.parametrize(("counted", "seconds"), PAUSES)
def test_pauses_double_up_to_the_longest(counted, seconds):
    assert RetryPolicy().due(counted, NOW) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("attempts", "counted", "last"),
    [(8, 0, False), (8, 7, False), (8, 8, True), (8, 9, True), (1, 0, False), (1, 1, True)],
)
def test_a_delivery_is_parked_after_so_many_counted_attempts(attempts, counted, last):
    assert RetryPolicy(attempts=attempts).is_last(counted) is last


WISHES = [
    (timedelta(seconds=30), timedelta(seconds=30)),
    (timedelta(0), timedelta(0)),
    (timedelta(seconds=-5), timedelta(0)),
    (timedelta(days=1), timedelta(days=1)),
    (timedelta(days=400), timedelta(days=1)),
]


@pytest.mark.parametrize(("asked", "pause"), WISHES)
def test_a_receiver_s_wish_counts_within_a_day(asked, pause):
    assert RetryPolicy().due(5, NOW, asked) == NOW + pause
