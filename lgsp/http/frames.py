"""Stream frames both ways (protocol section 6), and the same members in the answers of plain calls.

Frames that go out are joined from JSON text: receipts and acks are text already and stay byte for byte what was signed.
Frames that come in are strict JSON of at most the depth an ack needs; every member is checked by hand, for there are many of them a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final

from lgsp.bus.inbox import Handover
from lgsp.bus.progress import Sighting
from lgsp.domain import framing, names, statements, strictjson
from lgsp.domain.envelope import CODE_FORM, HASH_FORM, format_time
from lgsp.domain.exchange import OUTCOMES, Delivery
from lgsp.domain.statements import Statement
from lgsp.errors import Refusal

DEPTH: Final = 5
REF_MAX: Final = 2**53
"""The largest integer that every JSON reader keeps exactly (RFC 8259 section 6)."""
REF_LENGTH: Final = 64
LEASE_LENGTH: Final = 128
CREDIT_MAX: Final = 2**31
RETRY_MAX: Final = 86_400.0


def parse(message: bytes, *, grouped: bool) -> list[dict[str, Any]]:
    """Return the frames of an incoming message; refuse (`bad_request`) what is not one strict JSON object with an `op`, or a group of such."""
    try:
        return framing.frames_of(message, depth=DEPTH, grouped=grouped)
    except strictjson.NotStrict as error:
        raise Refusal("bad_request", f"a frame is one strict JSON object with an op: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nack:
    """A delivery put back by its receiver, to be tried again after `retry_after` seconds."""

    env: str
    lease: str
    code: str
    retry_after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A lease that its holder still needs."""

    env: str
    lease: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """How many more deliveries, and how many bytes of them, a stream takes."""

    n: int
    size: int


def read_ref(frame: dict[str, Any]) -> str:
    """Return the JSON text of the sender's own reference: a text of at most 64 characters or an integer below 2^53."""
    ref = frame.get("ref")
    if type(ref) is int and 0 <= ref < REF_MAX:
        return str(ref)
    if isinstance(ref, str) and len(ref) <= REF_LENGTH:
        return quoted(ref)
    raise Refusal("bad_request", "a reference is a short text or an integer", pointer="/ref")


def read_credit(frame: dict[str, Any]) -> Credit:
    """Return the credit that a frame gives."""
    n, size = frame.get("n"), frame.get("bytes")
    if type(n) is not int or not 0 <= n < CREDIT_MAX:
        raise Refusal("bad_request", "a credit is a count of deliveries", pointer="/n")
    if type(size) is not int or not 0 <= size < CREDIT_MAX:
        raise Refusal("bad_request", "a credit is a count of bytes", pointer="/bytes")
    return Credit(n=n, size=size)


def read_ack(value: object) -> Statement:
    """Return the ack; what it is worth is decided by the courier. Refuse as `ack_invalid`."""
    try:
        return statements.from_wire(value)
    except ValueError:
        raise Refusal("ack_invalid", "an ack has the members jws, item, pos, path", pointer="/ack") from None


def read_nack(frame: dict[str, Any]) -> Nack:
    """Return the nack of these members."""
    code, after = frame.get("code"), frame.get("retry_after")
    if not isinstance(code, str) or CODE_FORM.fullmatch(code) is None:
        raise Refusal("bad_request", "a nack states a code", pointer="/code")
    if after is not None and (type(after) not in {int, float} or not 0 <= after <= RETRY_MAX):
        raise Refusal("bad_request", "a pause is at most a day, in seconds", pointer="/retry_after")
    return Nack(env=_env(frame), lease=_lease(frame), code=code, retry_after=after)


def read_extension(frame: dict[str, Any]) -> Extension:
    """Return the extension of these members."""
    return Extension(env=_env(frame), lease=_lease(frame))


def read_sighting(frame: dict[str, Any]) -> Sighting:
    """Return the sighting of these members."""
    to = frame.get("to")
    if not isinstance(to, str) or not names.is_system(to):
        raise Refusal("bad_request", "a receiver is a system's URN", pointer="/to")
    state = frame.get("state", "")
    found = next((each for each in OUTCOMES if each == state), None)
    if found is None and state != "":
        raise Refusal("bad_request", "an outcome is acked, rejected, parked or expired", pointer="/state")
    return Sighting(env=_env(frame), to=to, state=found or "")


def _env(frame: dict[str, Any]) -> str:
    env = frame.get("env")
    if not isinstance(env, str) or HASH_FORM.fullmatch(env) is None:
        raise Refusal("bad_request", "an env hash looks like sha-256:…", pointer="/env")
    return env


def _lease(frame: dict[str, Any]) -> str:
    lease = frame.get("lease")
    if not isinstance(lease, str) or not 0 < len(lease) <= LEASE_LENGTH:
        raise Refusal("bad_request", "a lease is the text that came with the delivery", pointer="/lease")
    return lease


def about(frame: dict[str, Any]) -> str:
    """Return the member by which an answer names a frame that is not of its form: its reference, or its env hash."""
    if frame["op"] != "send":
        return about_env(frame.get("env"))
    try:
        return about_ref(read_ref(frame))
    except Refusal:
        return about_ref("null")


def about_ref(ref: str) -> str:
    """Return the member by which an answer names the `send` it belongs to."""
    return f'"ref":{ref}'


def about_env(text: object) -> str:
    """Return the member by which an answer names the delivery it belongs to: the first env hash in what was said, "" for none."""
    found = HASH_FORM.search(text) if isinstance(text, str) else None
    return f'"env":"{found[0]}"' if found else '"env":""'


def welcome(*, nonce: str, max_inflight: int, now: datetime) -> str:
    """Return the first frame of a stream."""
    return f'{{"op":"welcome","nonce":{quoted(nonce)},"max_inflight":{max_inflight},"now":"{format_time(now)}"}}'


def receipt(ref: str, statement: str) -> str:
    """Return the answer to an accepted `send`."""
    return f'{{"op":"receipt","ref":{ref},"receipt":{statement}}}'


def refused(about: str, problem: str) -> str:
    """Return the answer to anything that was refused; `about` is the member that says what."""
    return f'{{"op":"refused",{about},"problem":{problem}}}'


def settled(env: str) -> str:
    """Return the answer to an ack."""
    return f'{{"op":"settled","env":"{env}"}}'


def pong(now: datetime) -> str:
    """Return the answer to a ping."""
    return f'{{"op":"pong","now":"{format_time(now)}"}}'


def closing(reason: str, *, retry_after: float | None = None, problem: str = "") -> str:
    """Return the last frame of a stream."""
    pause = f',"retry_after":{retry_after:g}' if retry_after is not None else ""
    told = f',"problem":{problem}' if problem else ""
    return f'{{"op":"closing","reason":{quoted(reason)}{pause}{told}}}'


def checkpoint(note: str) -> str:
    """Return a checkpoint of the log, told to a stream."""
    return f'{{"op":"checkpoint","note":{quoted(note)}}}'


def deliver(handover: Handover, now: datetime) -> str:
    """Return the frame that hands a delivery over."""
    return f'{{"op":"deliver",{_handed(handover)},"now":"{format_time(now)}"}}'


def inbox_item(handover: Handover) -> str:
    """Return a delivery as `GET /v1/inbox` hands it over."""
    return f'{{{_handed(handover)},"lease_until":"{format_time(handover.lease_until)}"}}'


def outcome(delivery: Delivery) -> str:
    """Return the frame that tells what became of something that was sent."""
    return f'{{"op":"outcome",{_told(delivery)}}}'


def outcome_item(delivery: Delivery) -> str:
    """Return an outcome as `GET /v1/outcomes` tells it."""
    return f"{{{_told(delivery)}}}"


def _handed(handover: Handover) -> str:
    return (
        f'"envelope":{handover.wire.structured_text()},"receipt":{handover.receipt},'
        f'"lease":{quoted(handover.lease)},"attempt":{handover.attempt}'
    )


def _told(delivery: Delivery) -> str:
    return (
        f'"env":"{delivery.env}","to":"{delivery.to}","state":"{delivery.state}",'
        f'"code":{quoted(delivery.code)},"ack":{delivery.ack or "null"}'
    )
