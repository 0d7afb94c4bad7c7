"""Faults are dealt fairly, and the same again from the same seed."""

from collections import Counter

import pytest

from tests.chaos.faults import MINUTE, Pace, deal
from tests.chaos.proxy import TROUBLES

PARTS = {"victims": ["gateway", "broker", "sender"], "links": ["broker", "clients"], "disks": ["gateway"]}
ROUND = 6 + 3
"""Kills and pauses of three victims, and as many others."""


def dealt(seed, count, **pace):
    return deal(seed, count, **PARTS, pace=Pace(**pace))


def test_a_seed_repeats_its_faults_and_another_has_others():
    assert dealt(1, 40) == dealt(1, 40)
    assert dealt(1, 40) != dealt(2, 40)


@pytest.mark.parametrize("seed", range(5))
def test_everybody_is_killed_and_paused_once_in_each_round(seed):
    faults = dealt(seed, 3 * ROUND)
    for first in range(0, len(faults), ROUND):
        hand = Counter((fault.kind, fault.whom) for fault in faults[first : first + ROUND])
        assert {hand[kind, whom] for kind in ("kill", "pause") for whom in PARTS["victims"]} == {1}


@pytest.mark.parametrize("seed", range(5))
def test_everybody_is_killed_once_in_a_round_that_is_cut_short_too(seed):
    faults = dealt(seed, len(PARTS["victims"]) + 1)
    assert {fault.whom for fault in faults if fault.kind == "kill"} == set(PARTS["victims"])


@pytest.mark.parametrize("seed", range(5))
def test_no_trouble_and_no_full_disk_comes_twice_before_the_others_had_their_turn(seed):
    others = [(fault.kind, fault.whom) for fault in dealt(seed, 4 * ROUND) if fault.kind not in {"kill", "pause"}]
    every = {(trouble, link) for trouble in TROUBLES for link in PARTS["links"]} | {("full", "gateway")}
    assert len(others) == len(set(others)) == 12
    assert set(others) < every


def test_as_many_stand_still_for_a_minute_as_the_pace_says():
    faults = dealt(1, 40, minutes=2)
    assert [fault.kind for fault in faults if fault.seconds == MINUTE] == ["pause", "pause"]
    assert all(fault.seconds <= Pace().longest for fault in faults if fault.seconds != MINUTE)
