"""Frames are read strictly and written whole; what waits to be sent is bounded and joined."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgsp.bus.inbox import Handover
from lgsp.domain.envelope import Wire, format_time, from_structured
from lgsp.domain.limits import LIMITS
from lgsp.errors import Refusal
from lgsp.http import frames, telling
from lgsp.http.outgoing import Outgoing
from lgsp.http.telling import Telling
from lgsp.testing.world import NDXP, World

NOW = datetime(2026, 11, 22, 0, 16, 31, 123_000, tzinfo=UTC)
READERS = (frames.read_ref, frames.read_credit, frames.read_nack, frames.read_extension, frames.read_sighting)
VALUES = (
    st.sampled_from([None, True, 0, -1, 2**53, 1.5, float("inf"), "", "x", "x" * 200, "sha-256:", [], {}])
    | st.integers()
)
NAMES = st.sampled_from(["ref", "n", "bytes", "env", "lease", "code", "retry_after", "to", "ack"])


@given(st.binary(max_size=200))
@settings(max_examples=50)
def test_any_bytes_are_a_frame_or_a_refusal(data):
    try:
        [frame] = frames.parse(data, grouped=False)
    except Refusal as refusal:
        assert refusal.code == "bad_request"  # noqa: PT017 - either outcome is right, another exception is not
    else:
        assert isinstance(frame["op"], str)


@given(st.dictionaries(NAMES, VALUES), st.sampled_from(READERS))
@settings(max_examples=50)
def test_any_members_are_read_or_refused(members, reader):
    try:
        reader(members)
    except Refusal as refusal:
        assert refusal.code == "bad_request"  # noqa: PT017 - either outcome is right, another exception is not


@given(st.text(max_size=64))
@settings(max_examples=50)
def test_a_reference_comes_back_as_it_was_sent(ref):
    written = frames.receipt(frames.read_ref({"ref": ref}), "{}")
    assert json.loads(written) == {"op": "receipt", "ref": ref, "receipt": {}}


def test_a_delivery_is_written_as_one_json_object():
    wire = World.make().envelope()
    handover = Handover(
        wire=wire, env=wire.hash, to=NDXP, receipt='{"jws":"x"}', lease='a"b', lease_until=NOW, attempt=2
    )
    frame = json.loads(frames.deliver(handover, NOW))
    assert from_structured(frame.pop("envelope")) == wire
    assert frame == {
        "op": "deliver", "receipt": {"jws": "x"}, "lease": 'a"b', "attempt": 2, "now": format_time(NOW),
    }  # fmt: skip
    assert json.loads(frames.inbox_item(handover))["lease_until"] == format_time(NOW)


def test_an_envelope_without_a_body_is_written_whole():
    wire = Wire(compact=b"YQ.Yg.Yw", body=b"")
    assert from_structured(json.loads(wire.structured_text())) == wire


@pytest.mark.parametrize(
    ("written", "members"),
    [
        (frames.closing("drain", retry_after=2.0), {"reason": "drain", "retry_after": 2}),
        (frames.closing("bad_frame", problem='{"code":"x"}'), {"reason": "bad_frame", "problem": {"code": "x"}}),
        (frames.checkpoint("a\n—\n"), {"note": "a\n—\n"}),
        (frames.settled("sha-256:x"), {"env": "sha-256:x"}),
        (frames.pong(NOW), {"now": format_time(NOW)}),
    ],
)
def test_each_frame_has_the_members_of_the_table(written, members):
    frame = json.loads(written)
    assert frame.pop("op")
    assert frame == members


# --- the queue of what goes out ------------------------------------------------------------------------------------------------


class Pipe:
    """A transport and its pacing: keeps what is written, and holds the writer while `open` is not set."""

    def __init__(self):
        self.written = []
        self.open = asyncio.Event()
        self.open.set()
        self.closing = False

    def write(self, data):
        self.written.append(data)

    def is_closing(self):
        return self.closing

    async def drain(self):
        await self.open.wait()


def texts(data):
    """Take unmasked text messages apart (RFC 6455 section 5.2)."""
    found = []
    while data:
        assert data[0] == 0x81
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4]), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10]), 10
        found.append(data[start : start + size].decode())
        data = data[start + size :]
    return found


def never():
    raise AssertionError("nothing overflows here")


async def write_all(outgoing, sent):
    for text in sent:
        outgoing.put(text)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(outgoing.run())
        await outgoing.flush()
        running.cancel()


async def test_frames_that_wait_are_written_with_one_call_in_order():
    pipe = Pipe()
    outgoing = Outgoing(pipe, pipe, grouped=False, most=2**20, overflow=never)
    sent = ["x" * length for length in (0, 1, 125, 126, 65_535, 65_536)]
    await write_all(outgoing, sent)
    assert len(pipe.written) == 1
    assert texts(pipe.written[0]) == sent


async def test_frames_go_in_groups_where_that_was_agreed_and_are_counted_the_same():
    pipe = Pipe()
    outgoing = Outgoing(pipe, pipe, grouped=True, most=2**20, overflow=never)
    large = json.dumps({"op": "x", "text": "a" * LIMITS.group_bytes})
    sent = ['{"op":"a"}', '{"op":"b"}', large, '{"op":"c"}', '{"op":"d"}']
    await write_all(outgoing, sent)
    written = [text for data in pipe.written for text in texts(data)]
    assert written == [f"[{sent[0]},{sent[1]}]", large, f"[{sent[3]},{sent[4]}]"]
    assert outgoing._unsent == 0


async def test_what_waits_is_bounded_and_what_was_sent_is_not_counted():
    pipe = Pipe()
    overflows = []
    outgoing = Outgoing(pipe, pipe, grouped=False, most=300, overflow=lambda: overflows.append(True))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(outgoing.run())
        for _ in range(20):
            outgoing.put("x" * 100)
            await outgoing.flush()
        assert overflows == []
        pipe.open.clear()
        for _ in range(3):
            outgoing.put("x" * 101)
        assert overflows == [True]
        outgoing.drop()
        outgoing.finish("the last")
        outgoing.put("one more")
        pipe.open.set()
        await outgoing.flush()
        running.cancel()
    assert texts(pipe.written[-1]) == ["the last"]


async def test_writing_to_a_connection_that_closes_is_an_error():
    pipe = Pipe()
    pipe.closing = True
    outgoing = Outgoing(pipe, pipe, grouped=False, most=300, overflow=never)
    outgoing.put("x")
    with pytest.raises(ConnectionResetError):
        await outgoing.run()


# --- what is told --------------------------------------------------------------------------------------------------------------


async def test_outcomes_are_asked_for_again_when_the_ledger_was_away(monkeypatch):
    monkeypatch.setattr(telling, "TRY_AGAIN", 0.0)
    asked = asyncio.Event()

    class Courier:
        calls = 0

        async def outcomes(self, system, *, limit):
            assert (system, limit) == (NDXP, 2)
            self.calls += 1
            if self.calls == 1:
                raise Refusal("unavailable")
            asked.set()
            return []

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(Telling(Courier(), NDXP, never, page=2, look_again=5.0).run())
        await asyncio.wait_for(asked.wait(), 5)
        running.cancel()
