"""Frames of the stream (protocol section 6): those that a client writes, as JSON text, and those that it reads, checked.

The members of an envelope are base64url and the other texts are ours, so that they are joined without encoding them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, cast

from lgsp.domain import envelope, framing, statements, strictjson
from lgsp.domain.envelope import Wire
from lgsp.domain.statements import Statement
from lgsp.domain.values import fixed
from lgsp.errors import Refusal

DEPTH: Final = 8
RETRY_MOST: Final = 86_400.0
"""Seconds: the longest pause that the bus grants."""
State = Literal["acked", "rejected", "parked", "expired"]
STATES: Final = frozenset({"acked", "rejected", "parked", "expired"})


class BadFrame(ValueError):
    """The gateway sent what the protocol does not know; the text carries nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The gateway's first frame."""

    nonce: str
    max_inflight: int
    now: datetime


@fixed
class Handed:
    """A delivery."""

    wire: Wire
    env: str
    receipt: Statement
    lease: str
    attempt: int
    now: datetime

    @property
    def size(self) -> int:
        """Bytes that it took of the credit."""
        return len(self.wire.compact) + len(self.wire.body)


@fixed
class Became:
    """What became of an envelope that was sent."""

    env: str
    to: str
    state: State
    code: str
    ack: Statement | None


def hello(auth: str) -> bytes:
    """Return the client's first frame."""
    return strictjson.compact({"op": "hello", "auth": auth})


def send(ref: int, compact: bytes, body: bytes) -> bytes:
    """Return the frame that sends an envelope."""
    form = Wire(compact=compact, body=body).structured_text()
    return f'{{"op":"send","ref":"{ref}","envelope":{form}}}'.encode()


def ack(statement: str) -> bytes:
    """Return the frame of an ack given as JSON text."""
    return f'{{"op":"ack","ack":{statement}}}'.encode()


def nack(env: str, lease: str, code: str, retry_after: float | None) -> bytes:
    """Return the frame that puts a delivery back; `retry_after` in seconds, None when the bus may choose."""
    frame: dict[str, Any] = {"op": "nack", "env": env, "lease": lease, "code": code}
    if retry_after is not None:
        frame["retry_after"] = min(max(retry_after, 0.0), RETRY_MOST)
    return strictjson.compact(frame)


def credit(count: int, size: int) -> bytes:
    """Return the frame that allows so many more deliveries of so many bytes."""
    return b'{"op":"credit","n":%d,"bytes":%d}' % (count, size)


def extend(env: str, lease: str) -> bytes:
    """Return the frame that asks for a longer lease."""
    return strictjson.compact({"op": "extend", "env": env, "lease": lease})


def seen(env: str, to: str, state: str) -> bytes:
    """Return the frame that says an outcome is stored, as it was told: what has become of it since is to be told again."""
    return strictjson.compact_members({"op": "seen", "env": env, "to": to, "state": state})


PING: Final = b'{"op":"ping"}'


def parse(message: bytes, *, grouped: bool) -> list[dict[str, Any]]:
    """Return the frames of a message; raise `BadFrame` for anything that is not an object with an `op`, or a group of such."""
    try:
        return framing.frames_of(message, depth=DEPTH, grouped=grouped)
    except strictjson.NotStrict as error:
        raise BadFrame(str(error)) from None


def welcome(frame: dict[str, Any]) -> Welcome:
    """Return the gateway's first frame."""
    inflight = frame.get("max_inflight")
    if frame["op"] != "welcome" or type(inflight) is not int or inflight < 1:
        raise BadFrame("the first frame is no welcome")
    return Welcome(nonce=text(frame, "nonce"), max_inflight=inflight, now=moment(frame))


def handed(frame: dict[str, Any]) -> Handed:
    """Return a delivery; raise `BadFrame` when its parts are not of their form, whatever they say."""
    attempt = frame.get("attempt")
    if type(attempt) is not int:
        raise BadFrame("a delivery without attempt")
    try:
        wire = envelope.from_structured(frame.get("envelope"))
    except Refusal:
        raise BadFrame("a delivery without envelope") from None
    return Handed(
        wire=wire,
        env=wire.hash,
        receipt=statement(frame, "receipt"),
        lease=text(frame, "lease"),
        attempt=attempt,
        now=moment(frame),
    )


def became(frame: dict[str, Any]) -> Became:
    """Return an outcome."""
    state = text(frame, "state")
    if state not in STATES:
        raise BadFrame("an outcome of an unknown state")
    return Became(
        env=text(frame, "env"),
        to=text(frame, "to"),
        state=cast("State", state),
        code=str(frame.get("code") or ""),
        ack=statement(frame, "ack") if frame.get("ack") else None,
    )


def statement(frame: dict[str, Any], name: str) -> Statement:
    """Return a statement, whether it stands there as an object or as JSON text."""
    value = frame.get(name)
    try:
        return statements.from_text(value) if isinstance(value, str) else statements.from_wire(value)
    except ValueError:
        raise BadFrame(f"a frame's {name} is no statement") from None


def text(frame: dict[str, Any], name: str) -> str:
    """Return a text member."""
    value = frame.get(name)
    if not isinstance(value, str):
        raise BadFrame(f"a frame's {name} is no text")
    return value


def moment(frame: dict[str, Any], name: str = "now") -> datetime:
    """Return a time member."""
    try:
        return envelope.parse_time(text(frame, name))
    except ValueError:
        raise BadFrame(f"a frame's {name} is no time") from None


def problem(frame: dict[str, Any]) -> dict[str, Any]:
    """Return the problem of a refusal."""
    value = frame.get("problem")
    if not isinstance(value, dict):
        raise BadFrame("a refusal without problem")
    return value


def may_repeat_ack(frame: dict[str, Any]) -> bool:
    """Tell whether a refusal is of something about a delivery that the bus will take another time."""
    return "ref" not in frame and "env" in frame and problem(frame).get("retryable") is True


def seconds(frame: dict[str, Any], name: str, *, most: float) -> float:
    """Return a duration between 0 and `most`, 0 when it is absent."""
    value = frame.get(name)
    return float(min(max(value, 0), most)) if isinstance(value, int | float) else 0.0
