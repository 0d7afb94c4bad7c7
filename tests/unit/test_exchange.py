import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from lgsp.domain import exchange
from lgsp.testing.world import FISHERIES, NOW, World, made_up_id

STATES = ["accepted", "queued", "leased", "waiting", "acked", "rejected", "parked", "expired"]
LEGAL = {
    ("accepted", "queued"): "the broker has confirmed it",
    ("accepted", "accepted"): "the sweep publishes it again",
    ("accepted", "leased"): "it arrives before its confirmation is noted",
    ("accepted", "acked"): "a late ack, while it is to go out again",
    ("accepted", "rejected"): "a late rejection, while it is to go out again",
    ("accepted", "parked"): "its carrier says something else than its row",
    ("accepted", "expired"): "nobody was there to queue it in time",
    ("queued", "accepted"): "the broker has lost it",
    ("queued", "parked"): "its carrier says something else than its row",
    ("leased", "accepted"): "the connection broke: it is to be published again",
    ("waiting", "accepted"): "due again, through a broker",
    ("parked", "accepted"): "an operator replays it, through a broker",
    ("queued", "leased"): "a receiver takes it",
    ("queued", "acked"): "a late ack, after the lease had ended",
    ("queued", "rejected"): "a late rejection",
    ("queued", "expired"): "expirytime has come",
    ("leased", "leased"): "another receiver takes it after the lease, or the lease is extended",
    ("leased", "acked"): "the receiver has it",
    ("leased", "rejected"): "the receiver refuses it",
    ("leased", "queued"): "the connection broke: it goes back uncounted",
    ("leased", "waiting"): "the receiver asks for another time",
    ("leased", "parked"): "it failed as often as it may",
    ("leased", "expired"): "expirytime came during the lease",
    ("waiting", "queued"): "due again",
    ("waiting", "acked"): "a late ack",
    ("waiting", "rejected"): "a late rejection",
    ("waiting", "expired"): "expirytime came before it was due",
    ("parked", "queued"): "an operator replays it",
    ("parked", "acked"): "a late ack",
    ("parked", "rejected"): "a late rejection",
    ("parked", "expired"): "nobody replayed it",
}


def test_every_state_stands_in_the_table_of_moves():
    assert list(exchange.MOVES) == ["accepted", "queued", "leased", "waiting", "parked", "acked", "rejected", "expired"]
    assert set(exchange.MOVES) == set(STATES) == exchange.OPEN | exchange.SETTLED


@pytest.mark.parametrize(("old", "new"), list(itertools.product(STATES, STATES)))
def test_a_delivery_moves_as_the_protocol_allows_and_not_otherwise(old, new):
    assert exchange.may_move(old, new) is ((old, new) in LEGAL)


@pytest.mark.parametrize("state", sorted(exchange.SETTLED))
def test_what_is_settled_stays_settled(state):
    assert not any(exchange.may_move(state, new) for new in STATES)


def test_every_open_state_can_reach_a_settled_one():
    for state in exchange.OPEN:
        reached, todo = set(), {state}
        while todo:
            reached |= todo
            todo = {new for old in todo for new in exchange.MOVES[old]} - reached
        assert reached & exchange.SETTLED == exchange.SETTLED


def test_the_sender_is_told_of_what_is_settled_and_of_what_is_parked():
    assert exchange.SETTLED | {"parked"} == exchange.OUTCOMES


def test_an_exchange_is_known_by_source_and_id():
    world = World.make()
    assert world.exchange(world.envelope(number=7)).key == (FISHERIES, made_up_id(7))


SOON, LATER, LAST = (NOW + timedelta(minutes=minutes) for minutes in (1, 2, 3))
DUE = [
    ("accepted", None, None, exchange.AT_ONCE),
    ("accepted", None, SOON, SOON),
    ("queued", None, None, LAST),
    ("leased", SOON, None, SOON),
    ("leased", LAST + timedelta(minutes=1), None, LAST + timedelta(minutes=1)),
    ("leased", None, None, exchange.AT_ONCE),
    ("waiting", None, LATER, LATER),
    ("waiting", None, LAST + timedelta(minutes=1), LAST),
    ("waiting", None, None, exchange.AT_ONCE),
    ("parked", None, SOON, LAST),
    ("acked", SOON, SOON, None),
    ("rejected", None, None, None),
    ("expired", None, SOON, None),
]


@pytest.mark.parametrize(("state", "lease_until", "due_at", "expected"), DUE)
def test_a_delivery_is_looked_at_again_when_its_state_says_so(state, lease_until, due_at, expected):
    assert exchange.next_due(state, lease_until=lease_until, due_at=due_at, expires=LAST) == expected


def test_every_state_stands_in_the_table_of_due_times():
    assert {row[0] for row in DUE} == set(STATES)


def test_an_exchange_lives_for_as_long_as_its_envelope_and_the_time_for_its_reply():
    world = World.make()
    asked = world.exchange(world.envelope())
    assert asked.reply_until is not None
    assert asked.term == asked.expires + (asked.reply_until - asked.accepted_at)
    assert replace(asked, reply_until=None).term == asked.expires
