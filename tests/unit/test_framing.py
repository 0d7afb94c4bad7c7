"""Frames lie in messages as the subprotocol says: one in each, or several in a JSON array, within bounds."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgsp.domain import framing, strictjson
from lgsp.domain.limits import LIMITS
from lgsp.domain.strictjson import NotStrict

DEPTH = 5
PING = b'{"op":"ping"}'


def messages(frames, *, grouped):
    waiting, found = deque(frames), []
    while waiting:
        found.append(framing.message_of(framing.next_group(waiting, grouped=grouped)))
    return found


def frame(size):
    return strictjson.compact({"op": "x", "text": "a" * size})


@given(st.lists(st.integers(0, 2 * LIMITS.group_bytes), max_size=8))
def test_what_is_written_in_groups_is_read_in_order(sizes):
    frames = [frame(size) for size in sizes]
    found = messages(frames, grouped=True)
    read = [each for message in found for each in framing.frames_of(message, depth=DEPTH, grouped=True)]
    assert [strictjson.compact(each) for each in read] == frames
    for message in found:
        assert len(message) <= LIMITS.group_bytes + LIMITS.group_frames + 1 or message in frames


def test_a_message_holds_so_many_frames_and_no_more():
    found = messages([PING] * (2 * LIMITS.group_frames + 1), grouped=True)
    assert [len(framing.frames_of(message, depth=DEPTH, grouped=True)) for message in found] == [
        LIMITS.group_frames, LIMITS.group_frames, 1,
    ]  # fmt: skip
    assert found[-1] == PING


def test_a_frame_above_the_bound_goes_alone():
    large = frame(LIMITS.group_bytes)
    assert messages([PING, large, PING, PING], grouped=True) == [PING, large, b"[%s,%s]" % (PING, PING)]


def test_where_no_groups_were_agreed_upon_each_frame_is_a_message_and_a_group_is_none():
    assert messages([PING, PING], grouped=False) == [PING, PING]
    with pytest.raises(NotStrict):
        framing.frames_of(b"[%s]" % PING, depth=DEPTH, grouped=False)


@pytest.mark.parametrize(
    "message",
    [
        b"[]",
        b"[[]]",
        b'[{"op":"ping"},1]',
        b'[{"op":"ping"},{"op":1}]',
        b'[{"op":"ping"},{}]',
        b'[{"op":"ping"},{"op":"a","op":"b"}]',
        b'[{"op":"ping"}',
        b'"ping"',
        b"[" + b",".join([PING] * (LIMITS.group_frames + 1)) + b"]",
        b'[{"op":{"a":[[[[1]]]]}}]',
    ],
    ids=lambda message: message[:40].decode(),
)
def test_what_is_no_group_of_frames_is_refused_whole(message):
    with pytest.raises(NotStrict):
        framing.frames_of(message, depth=DEPTH, grouped=True)
