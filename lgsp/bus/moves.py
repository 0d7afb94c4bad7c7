"""The legal moves of a delivery as ledger operations with their log entries: each gives the operation and the delivery as it will stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from lgsp.domain.entries import Draft, draft
from lgsp.domain.exchange import OPEN, UNHELD, Delivery, State
from lgsp.domain.leases import lease_name
from lgsp.domain.limits import LIMITS, Limits
from lgsp.domain.retry import RETRY, RetryPolicy
from lgsp.domain.statements import Statement
from lgsp.domain.values import fixed
from lgsp.errors import Refusal
from lgsp.ports.ledger import Move

REASON_FORM: Final = re.compile(r"(?!.*[0-9]{9})[a-z][a-z0-9_.-]{0,63}")
POINTER_FORM: Final = re.compile(r"(?!.*[0-9]{9})(?:/[A-Za-z0-9_*-]{1,64}){0,16}")
"""What a receiver gives as its reason, and where it found it. Nine digits in a row may be a person's number: these texts go into the log."""

DROPPED: Final = "dropped"
"""The code of a delivery that a person ended."""

ERASED: Final = "body_erased"
"""The code of a delivery whose body was erased with its day before it came out."""


@fixed
class Step:
    """A move to make and the delivery after it."""

    move: Move
    after: Delivery


def took(steps: Sequence[Step], done: Sequence[bool]) -> list[Delivery]:
    """Return the deliveries after those steps that took effect."""
    return [step.after for step, is_done in zip(steps, done, strict=True) if is_done]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """Makes steps in the name of one gateway."""

    gateway: str
    holder: str
    """The number under which this running gateway holds leases."""
    embedded: bool
    """Whether what is committed as queued is queued; with a broker it is accepted until the broker has confirmed it."""
    retry: RetryPolicy = RETRY
    limits: Limits = LIMITS

    def unplaced(self, now: datetime) -> tuple[State, datetime | None]:
        """Return the state of a delivery that is to go out, and when the sweep looks after it if nobody has placed it by then."""
        if self.embedded:
            return "queued", None
        due = now + self.limits.republish
        return "accepted", due.replace(microsecond=due.microsecond // 1000 * 1000)  # as the row will say it

    def queue(self, held: Delivery) -> Step:
        """Note that the broker has confirmed a delivery, unless it went out and came back before that was heard: then another message carries it."""
        return _step(held, held.moved("queued", code=held.code), expect=frozenset({"accepted"}), held_due=held.due_at)

    def lease(self, held: Delivery, *, uuid7: str, until: datetime, now: datetime) -> Step:
        """Lease a delivery for a hand-over; with a broker it may arrive before it is noted as queued."""
        after, entry = self.leased(held, uuid7=uuid7, until=until, now=now)
        return _step(held, after, expect=UNHELD, entry=entry)

    def leased(self, held: Delivery, *, uuid7: str, until: datetime, now: datetime) -> tuple[Delivery, Draft]:
        """Return a delivery as it stands once it is leased, and the entry of its hand-over: both are one commit with its acceptance, or a step."""
        after = held.moved(
            "leased",
            lease=lease_name(uuid7, self.holder),
            lease_until=until,
            code=held.code,
            ack=held.ack,
        )
        return after, self._entry("msg.delivered", held, now, attempt=held.attempts + 1)

    def extend(self, held: Delivery, *, until: datetime) -> Step:
        """Let a lease last longer."""
        return _step(held, replace(held, lease_until=until), expect=frozenset({"leased"}), held_lease=held.lease)

    def settle(self, held: Delivery, statement: Statement, item: dict[str, Any], *, now: datetime) -> Step:
        """Settle a delivery by the receiver's ack; refuse (`ack_invalid`) an outcome, code or pointer that is not of its form."""
        outcome, code, pointer = item.get("outcome"), item.get("code", ""), item.get("pointer", "")
        sound = isinstance(code, str) and isinstance(pointer, str) and (not code or REASON_FORM.fullmatch(code))
        if outcome not in {"accepted", "rejected"} or not sound or not POINTER_FORM.fullmatch(pointer):
            raise Refusal("ack_invalid", "the item is not of its form")
        state: State = "acked" if outcome == "accepted" else "rejected"
        # An entry without a code is a good end: what was rejected without one says so in the bus's own word.
        told = code or ("rejected" if state == "rejected" else "")
        entry = self._entry("msg.acked", held, now, stmt=statement.leaf, code=told)
        after = held.moved(state, code=code, ack=statement.text())
        return _step(held, after, expect=OPEN, entry=entry)

    def settle_final(self, held: Delivery, *, now: datetime) -> Step:
        """Settle a reply that went out in a waiting call's answer, once its lease ended without a nack."""
        return _step(
            held,
            held.moved("acked"),
            expect=frozenset({"leased"}),
            held_lease=held.lease,
            entry=self._entry("msg.acked", held, now),
        )

    def put_back(self, held: Delivery, *, code: str, now: datetime, asked: timedelta | None = None) -> Step:
        """Count an attempt that the receiver put back: wait for the next one, or park after the last; refuse (`bad_request`) another code."""
        if not REASON_FORM.fullmatch(code):
            raise Refusal(
                "bad_request", "a code is lower case letters, a few digits, dot, dash or underscore", pointer="/code"
            )
        return self._count(held, "msg.nacked", code=code, now=now, asked=asked)

    def give_time(self, held: Delivery, *, code: str, now: datetime) -> Step:
        """Count an attempt that ended without a word of the receiver, in the same way; the entry does not say that the receiver put it back."""
        return self._count(held, "msg.waiting", code=code, now=now)

    def _count(self, held: Delivery, event: str, *, code: str, now: datetime, asked: timedelta | None = None) -> Step:
        counted = held.attempts + 1
        if self.retry.is_last(counted):
            return self.park(held, code=code, now=now, attempts=counted)
        due = self.retry.due(counted, now, asked)
        after = held.moved("waiting", attempts=counted, due_at=due, code=code)
        entry = self._entry(event, held, now, code=code, attempt=counted)
        return _step(held, after, expect=frozenset({"leased"}), held_lease=held.lease, entry=entry)

    def park(self, held: Delivery, *, code: str, now: datetime, attempts: int) -> Step:
        """Set a leased delivery aside until a person decides."""
        after = held.moved("parked", attempts=attempts, code=code)
        entry = self._entry("msg.parked", held, now, code=code, attempt=attempts)
        return _step(held, after, expect=frozenset({"leased"}), held_lease=held.lease, entry=entry)

    def finish(self, held: Delivery) -> Step:
        """Note that a leased reply went out in a waiting call's answer: it is settled when its lease ends."""
        return _step(held, replace(held, final=True), expect=frozenset({"leased"}), held_lease=held.lease)

    def set_aside(self, held: Delivery, *, code: str, now: datetime) -> Step:
        """Park a delivery that is in nobody's hand until a person decides."""
        entry = self._entry("msg.parked", held, now, code=code, attempt=held.attempts)
        return _step(held, held.moved("parked", code=code), expect=UNHELD, entry=entry)

    def requeue(self, held: Delivery, *, now: datetime) -> Step:
        """Let a delivery go out again without counting an attempt: its lease or pause is over, its receiver or its carrier went away."""
        state, due = self.unplaced(now)
        after = held.moved(state, due_at=due, code=held.code)
        return _step(held, after, expect=frozenset({held.state}), held_lease=held.lease)

    def lapse(self, held: Delivery, *, alone: bool, now: datetime) -> Step:
        """End a lease whose time is over, unless it is extended at the same moment.

        A final one is settled. What was `alone` in flight counts an attempt, everything else goes out again.
        """
        if held.final:
            step = self.settle_final(held, now=now)
        elif alone:
            step = self.give_time(held, code="lease_ended", now=now)
        else:
            step = self.requeue(held, now=now)
        return replace(step, move=replace(step.move, until=held.lease_until))

    def expire(self, held: Delivery, *, now: datetime, code: str = "expired") -> Step:
        """End a delivery whose time is over."""
        entry = self._entry("msg.expired", held, now, code=code)
        return _step(
            held,
            held.moved("expired", code=code),
            expect=UNHELD if held.state in UNHELD else frozenset({held.state}),
            held_lease=held.lease,
            entry=entry,
        )

    def replay(self, held: Delivery, *, by: str, reason: str, now: datetime) -> Step:
        """Let a parked delivery go out again as if for the first time."""
        state, due = self.unplaced(now)
        after = held.moved(state, attempts=0, due_at=due)
        entry = self._entry("msg.replayed", held, now, by=by, reason=reason)
        return _step(held, after, expect=frozenset({"parked"}), entry=entry)

    def drop(self, held: Delivery, *, by: str, reason: str, now: datetime) -> Step:
        """End a parked delivery for good, before its time."""
        after = held.moved("expired", code=DROPPED)
        entry = self._entry("msg.expired", held, now, code=DROPPED, by=by, reason=reason)
        return _step(held, after, expect=frozenset({"parked"}), entry=entry)

    def _entry(self, event: str, held: Delivery, now: datetime, **members: str | int) -> Draft:
        return draft(event, at=now, bus=self.gateway, env=held.env, id=held.id, to=held.to, **members)


def _step(
    held: Delivery,
    after: Delivery,
    *,
    expect: frozenset[State],
    held_lease: str | None = None,
    held_due: datetime | None = None,
    entry: Draft | None = None,
) -> Step:
    move = Move(
        env=held.env,
        to=held.to,
        expect=expect,
        held=held_lease,
        due=held_due,
        state=after.state,
        attempts=after.attempts,
        lease=after.lease,
        lease_until=after.lease_until,
        due_at=after.due_at,
        code=after.code,
        ack=after.ack,
        final=after.final,
        entry=entry,
    )
    return Step(move=move, after=after)
