"""Frames as a client writes and reads them."""

from __future__ import annotations

import json

import pytest

from lgsp.domain import envelope
from lgsp.sdk import frames
from lgsp.testing.world import World

STATEMENT = {"jws": "a.b.c", "item": "{}", "pos": 0, "path": []}
NOW = "2026-11-22T00:16:31.123Z"


@pytest.fixture(scope="module")
def wire():
    return World.make().envelope()


def test_a_send_carries_the_structured_form(wire):
    frame = json.loads(frames.send(7, wire.compact, wire.body))
    assert (frame["op"], frame["ref"]) == ("send", "7")
    assert envelope.from_structured(frame["envelope"]) == wire


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (frames.hello("a.b.c"), {"op": "hello", "auth": "a.b.c"}),
        (frames.ack(json.dumps(STATEMENT)), {"op": "ack", "ack": STATEMENT}),
        (frames.nack("e", "l", "c", None), {"op": "nack", "env": "e", "lease": "l", "code": "c"}),
        (frames.nack("e", "l", "c", 1.5), {"op": "nack", "env": "e", "lease": "l", "code": "c", "retry_after": 1.5}),
        (
            frames.nack("e", "l", "c", 1e9),
            {"op": "nack", "env": "e", "lease": "l", "code": "c", "retry_after": 86400.0},
        ),
        (frames.credit(2, 300), {"op": "credit", "n": 2, "bytes": 300}),
        (frames.extend("e", "l"), {"op": "extend", "env": "e", "lease": "l"}),
        (frames.seen("e", "t", "acked"), {"op": "seen", "env": "e", "to": "t", "state": "acked"}),
        (frames.PING, {"op": "ping"}),
    ],
)
def test_frames_are_written_as_the_protocol_has_them(written, read):
    assert json.loads(written) == read


def test_a_delivery_is_read(wire):
    frame = {
        "op": "deliver",
        "envelope": wire.structured(),
        "receipt": STATEMENT,
        "lease": "l",
        "attempt": 2,
        "now": NOW,
    }
    handed = frames.handed(*frames.parse(json.dumps(frame).encode(), grouped=False))
    assert (handed.wire, handed.env, handed.attempt) == (wire, wire.hash, 2)
    assert handed.size == len(wire.compact) + len(wire.body)


@pytest.mark.parametrize("member", ["envelope", "receipt", "lease", "attempt", "now"])
@pytest.mark.parametrize("value", [None, 1.5, []])
def test_a_delivery_with_an_odd_member_ends_the_stream(wire, member, value):
    frame = {
        "op": "deliver",
        "envelope": wire.structured(),
        "receipt": STATEMENT,
        "lease": "l",
        "attempt": 2,
        "now": NOW,
    }
    with pytest.raises(frames.BadFrame):
        frames.handed(frame | {member: value})


def test_what_a_gateway_told_is_said_back_as_one_frame():
    to = 't","state":"acked"},{"op":"credit'
    assert json.loads(frames.seen("e", to, "parked")) == {"op": "seen", "env": "e", "to": to, "state": "parked"}


@pytest.mark.parametrize("data", [b"", b"[]", b'{"op":1}', b'{"op":"a","op":"b"}', b"{" * 40, b'{"op":"x","n":NaN}'])
def test_what_is_no_frame_is_refused(data):
    with pytest.raises(frames.BadFrame):
        frames.parse(data, grouped=False)


@pytest.mark.parametrize(
    ("frame", "read"),
    [
        ({"state": "acked", "ack": STATEMENT}, True),
        ({"state": "parked", "ack": None, "code": "body_lost"}, True),
        ({"state": "queued"}, False),
        ({"state": "acked", "ack": {}}, True),
        ({"state": "acked", "ack": {"jws": 1}}, False),
    ],
)
def test_outcomes_are_read(frame, read):
    whole = {"op": "outcome", "env": "e", "to": "t", "code": ""} | frame
    if read:
        assert frames.became(whole).state == frame["state"]
    else:
        with pytest.raises(frames.BadFrame):
            frames.became(whole)


@pytest.mark.parametrize(
    "frame",
    [
        {"op": "welcome", "nonce": "n", "max_inflight": 0, "now": NOW},
        {"op": "welcome", "nonce": 5, "max_inflight": 8, "now": NOW},
        {"op": "welcome", "nonce": "n", "max_inflight": 8, "now": "yesterday"},
        {"op": "closing", "reason": "drain"},
    ],
)
def test_a_first_frame_that_is_no_welcome_is_refused(frame):
    with pytest.raises(frames.BadFrame):
        frames.welcome(frame)


@pytest.mark.parametrize(
    ("value", "seconds"), [(5, 5.0), (1e9, 60.0), (10**400, 60.0), (-1, 0.0), ("5", 0.0), (None, 0.0)]
)
def test_a_pause_is_bounded(value, seconds):
    assert frames.seconds({"retry_after": value}, "retry_after", most=60.0) == seconds
