"""Whose turn it is in an inbox: every lane gets its share, and none waits for ever."""

from collections import Counter

import pytest

from lgsp.domain.lanes import LANES, Turns


def test_a_round_of_twelve_is_eight_for_requests_three_for_events_and_one_for_bulk():
    assert Turns().shares(12) == Counter(request=8, event=3, bulk=1)


@pytest.mark.parametrize("steps", [[1] * 12, [5, 7], [11, 1], [3, 3, 3, 3], [0, 12, -1]])
def test_the_turns_go_on_where_the_last_draw_ended(steps):
    turns, whole = Turns(), Counter()
    for count in steps:
        whole += turns.shares(count)
    assert whole == Turns().shares(12)


def test_nobody_gets_a_turn_where_there_is_none():
    turns = Turns()
    assert [turns.shares(count).total() for count in (0, -1)] == [0, 0]


def test_of_bulk_no_more_is_given_than_may_be_and_the_others_keep_their_shares():
    assert Turns().shares(120, bulk=4) == Counter(request=80, event=30, bulk=4)
    assert Turns().shares(12, bulk=4) == Turns().shares(12)
    assert Turns().shares(120, bulk=0)["bulk"] == 0


def test_every_lane_has_turns():
    assert set(Turns().shares(12)) == set(LANES)
