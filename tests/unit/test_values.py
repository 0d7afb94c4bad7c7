"""Values that are made for every envelope."""

from dataclasses import replace

import pytest

from lgsp.domain.exchange import SETTLED, Delivery
from lgsp.domain.values import fixed
from lgsp.testing.world import NOW


@fixed
class Place:
    env: str
    inbox: str = ""


def test_a_value_takes_names_alone_and_has_no_room_for_other_members():
    with pytest.raises(TypeError):
        Place("a")
    with pytest.raises(AttributeError):
        Place(env="a").other = "b"


def test_values_of_the_same_members_are_the_same_and_find_each_other():
    assert Place(env="a") == Place(env="a", inbox="")
    assert {Place(env="a"): 1}[Place(env="a")] == 1
    assert Place(env="a") != Place(env="b")
    assert replace(Place(env="a"), inbox="b") == Place(env="a", inbox="b")


def leased(**members):
    return Delivery(
        **{
            "env": "sha-256:a", "to": "police", "source": "fisheries", "id": "1", "lane": "bulk", "state": "leased", "attempts": 2,
            "lease": "l", "lease_until": NOW, "due_at": None, "expires": NOW, "code": "busy", "ack": "", "final": True, "order": 7,
            "size": 9, "subscriptions": ("s-1",),
        }
        | members
    )  # fmt: skip


@pytest.mark.parametrize("state", [*sorted(SETTLED), "queued", "parked"])
def test_a_delivery_that_is_moved_rests_in_nobodys_hand_unless_it_is_said_otherwise(state):
    rests = {"lease": "", "lease_until": None, "due_at": None, "code": "", "ack": "", "final": False}
    assert leased().moved(state) == leased(state=state, **rests)


def test_what_is_said_of_a_move_stands_in_the_delivery_after_it():
    said = {"attempts": 0, "lease": "m", "lease_until": NOW, "due_at": NOW, "code": "late", "ack": "{}"}
    assert leased().moved("waiting", **said) == leased(state="waiting", final=False, **said)
