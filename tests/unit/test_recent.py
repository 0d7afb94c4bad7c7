"""What was posted lately is remembered until an outcome is stored or younger ones take its place."""

from lgsp.sdk.box import Outgoing
from lgsp.sdk.outbox import Posted
from lgsp.sdk.recent import Recent


def outgoing(seq):
    return Outgoing(
        seq=seq, id=f"id {seq}", env=f"env {seq}", source="s", type="t", audience="a", compact=b"", body=b"", key=f"key {seq}"
    )  # fmt: skip


def test_what_was_posted_is_known_by_env_hash_and_by_id():
    recent = Recent()
    recent.add([outgoing(1), outgoing(2)])
    assert recent.posted("env 2") == Posted(id="id 2", key="key 2", type="t", audience="a")
    assert recent.has("id 1")
    assert not recent.has("id 3")
    assert recent.posted("env 3") is None


def test_what_an_outcome_is_stored_of_is_left_to_the_box():
    recent = Recent()
    recent.add([outgoing(1)])
    for _ in range(2):
        recent.heard_of("env 1")
        assert recent.posted("env 1") is None
        assert not recent.has("id 1")


def test_younger_ones_take_the_place_of_the_oldest():
    recent = Recent(kept=2)
    recent.add([outgoing(seq) for seq in (1, 2, 3)])
    assert [recent.has(f"id {seq}") for seq in (1, 2, 3)] == [False, True, True]
    assert recent.posted("env 1") is None
