"""The sending side of a client: the backlog goes out, receipts and refusals come back, and so does what became of each envelope.

Every answer is stored before anybody is told, and an outcome before the bus hears that it was seen. When to send is `backlog`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from lgsp.domain import names
from lgsp.domain.envelope import parse_time
from lgsp.errors import Refusal
from lgsp.logs import get_logger
from lgsp.ports.clock import Clock
from lgsp.sdk import frames, outbox, trust
from lgsp.sdk.backlog import Backlog
from lgsp.sdk.box import Box, Outgoing
from lgsp.sdk.directories import Directories
from lgsp.sdk.errors import ClientError, Refused
from lgsp.sdk.frames import Became
from lgsp.sdk.gathering import Gathering
from lgsp.sdk.outbox import Outcome, Sent
from lgsp.sdk.trust import Trust

CLOCK_SECONDS: Final = 60.0
"""How far the own clock may be from the bus's before the program is warned (protocol section 4, step 12)."""
REF_LENGTH: Final = 18
"""Digits of an outbox position at most: all that SQLite counts."""
AGAIN_FIRST: Final = 0.5
AGAIN_LONGEST: Final = 30.0

EVENTS_GATHERED: Final = 0.05
"""Seconds for which an event waits for company: nobody waits for an answer, and a burst costs the bus as few transactions as a single one."""

FailExpected = Callable[[str, Exception], bool]


class Sender:
    """Envelopes of this system, from the outbox to the bus, and what is heard of them."""

    def __init__(
        self,
        *,
        box: Box,
        trust: Trust,
        clock: Clock,
        directories: Directories,
        put: Callable[[bytes], None],
        fail_expected: FailExpected,
    ) -> None:
        self.failed = asyncio.Event()
        self._box = box
        self._trust = trust
        self._clock = clock
        self._directories = directories
        self._put = put
        self._fail_expected = fail_expected
        self.backlog = Backlog(
            load=lambda after, limit: outbox.queued_after(box.reader, after, limit), transmit=self._transmit
        )
        self._receipt_waits: dict[str, list[asyncio.Future[None]]] = {}
        self._outcome_waits: dict[str, list[asyncio.Future[None]]] = {}
        self._receipts: Gathering[tuple[Outgoing, str]] = Gathering(self._store_receipts)
        self._outcomes: Gathering[Outcome] = Gathering(self._store_outcomes)
        self._events: Gathering[Outgoing] = Gathering(self._send_events, seconds=EVENTS_GATHERED)
        self._pauses: dict[int, float] = {}
        self._transmitted: set[str] = set()
        self._warned = False

    def hurry(self) -> None:
        """Let no event wait for company any longer."""
        self._events.flush()

    def _transmit(self, outgoing: Outgoing) -> None:
        if names.is_topic(outgoing.audience):
            self._events.add(outgoing)
        else:
            self._send(outgoing)

    def _send_events(self, gathered: list[Outgoing]) -> None:
        """Send events over this stream but for those that a closed one took back; they come again."""
        for outgoing in {each.seq: each for each in gathered if self.backlog.was_sent(each.seq)}.values():
            self._send(outgoing)

    def _send(self, outgoing: Outgoing) -> None:
        self._transmitted.add(outgoing.id)
        self._put(frames.send(outgoing.seq, outgoing.compact, outgoing.body))

    def opened(self) -> None:
        """A new stream: its clock may be told about again."""
        self._warned = False

    def was_transmitted(self, identifier: str) -> bool:
        """Tell whether an unanswered envelope has been put on the wire by this process."""
        return identifier in self._transmitted

    # --- those who wait -------------------------------------------------------------------------------------------------------------

    def await_receipt(self, identifier: str) -> asyncio.Future[None]:
        """Return what is done once the receipt of an envelope, or its refusal, is stored; who waits no longer cancels it.

        An event that somebody waits for goes out at once.
        """
        self.hurry()
        return _waiting(self._receipt_waits, identifier)

    def await_outcome(self, identifier: str) -> asyncio.Future[None]:
        """Return what is done once an outcome of an envelope is stored; who waits no longer cancels it."""
        return _waiting(self._outcome_waits, identifier)

    # --- receipts and refusals ------------------------------------------------------------------------------------------------------

    async def receipt(self, frame: dict[str, Any]) -> None:
        """Take the receipt of an envelope; one that does not verify is none, and the envelope goes out again."""
        statement = frames.statement(frame, "receipt")
        found = self.backlog.answered(_seq(frame))
        if found is None:
            return
        outgoing, fresh = found
        try:
            directory = await self._directories.at(trust.policy_of(statement))
            at = self._trust.receipt(statement, outgoing, directory)
        except (Refusal, ClientError) as error:
            self._repeat(outgoing, getattr(error, "code", "unavailable"))
            return
        if fresh:
            self.compare_clock((at - self._clock.now()).total_seconds())
        self._receipts.add((outgoing, statement.text()))

    def _store_receipts(self, receipts: list[tuple[Outgoing, str]]) -> None:
        def done(_: None) -> None:
            for outgoing, _text in receipts:
                self._forget(outgoing)
                _release(self._receipt_waits, outgoing.id)

        rows = [(outgoing.seq, text) for outgoing, text in receipts]
        self._box.post(lambda writing: outbox.receipted(writing, rows), done=done)

    def refused(self, frame: dict[str, Any]) -> None:
        """Take the refusal of an envelope, for good or to be tried again, or of an ack or nack, which is told to the operator."""
        refused = Refused.of_problem(frames.problem(frame))
        if refused.code == "clock_ahead":
            self._compare_told(frames.problem(frame))
        if "ref" not in frame:
            get_logger().warning("client.refused", code=refused.code, env=str(frame.get("env", "")))
            return
        found = self.backlog.answered(_seq(frame))
        if found is None:
            return
        if refused.retryable:
            self._repeat(found[0], refused.code)
        else:
            self._store_refusal(found[0], refused)

    def _repeat(self, outgoing: Outgoing, code: str) -> None:
        pause = self._pauses.get(outgoing.seq, AGAIN_FIRST)
        self._pauses[outgoing.seq] = min(pause * 2, AGAIN_LONGEST)
        get_logger().warning("client.refused", code=code, env=outgoing.env)
        self.backlog.again(outgoing, pause)

    def _store_refusal(self, outgoing: Outgoing, refused: Refused) -> None:
        outcome = Outcome(
            id=outgoing.id,
            key=None,
            type=outgoing.type,
            env=outgoing.env,
            to="",
            state="refused",
            code=refused.code,
            pointer=refused.pointer,
        )

        def done(_: None) -> None:
            self._forget(outgoing)
            told = _release(self._receipt_waits, outgoing.id)
            self._tell(outcome, told=told)

        get_logger().warning("client.refused", code=refused.code, env=outgoing.env)
        self._box.post(lambda writing: outbox.refused(writing, outgoing.seq, outcome), done=done)

    def _forget(self, outgoing: Outgoing) -> None:
        self._pauses.pop(outgoing.seq, None)
        self._transmitted.discard(outgoing.id)

    # --- outcomes -------------------------------------------------------------------------------------------------------------------

    async def outcome(self, became: Became) -> None:
        """Take what became of an envelope; an ack that does not verify is told to the operator and not taken."""
        found = outbox.by_env(self._box.reader, became.env)
        if found is None:
            self._put(
                frames.seen(became.env, became.to, became.state)
            )  # of a box that is no more: nobody else will say so
            return
        try:
            self._outcomes.add(await self._checked(became, *found))
        except (Refusal, ClientError) as error:
            get_logger().warning("client.refused", code=getattr(error, "code", "unavailable"), env=became.env)

    async def _checked(self, became: Became, sent: Sent, type_: str, audience: str) -> Outcome:
        item: dict[str, Any] = {}
        if became.state in {"acked", "rejected"}:
            item = await self._acked(became, sent, type_, audience)
            if (item["outcome"] == "accepted") != (became.state == "acked"):
                raise Refusal("ack_invalid", "the ack says something else than the bus")
        return Outcome(
            id=sent.id,
            key=sent.key,
            type=type_,
            env=became.env,
            to=became.to,
            state=became.state,
            code=str(item.get("code", "")) or became.code,
            pointer=str(item.get("pointer", "")),
            ack=became.ack,
        )

    async def _acked(self, became: Became, sent: Sent, type_: str, audience: str) -> dict[str, Any]:
        """Return the item of a receiver's ack; refuse as `ack_invalid` what neither the newest directory nor that of acceptance allows."""
        try:
            return self._trust.ack(became, self._directories.head, audience=audience, type_=type_)
        except Refusal:  # by a key that is younger than the directory seen last
            newest = await self._directories.refresh()
        try:
            return self._trust.ack(became, newest, audience=audience, type_=type_)
        except Refusal:
            if sent.receipt is None:
                raise
        # By one who was a receiver when the envelope was accepted, and is none any more: its subscription or delegation has ended.
        accepted = await self._directories.at(trust.policy_of(sent.receipt))
        return self._trust.ack(became, newest, audience=audience, type_=type_, accepted=accepted)

    def _store_outcomes(self, outcomes: list[Outcome]) -> None:
        def done(_: None) -> None:
            for outcome in outcomes:
                self._put(frames.seen(outcome.env, outcome.to, outcome.state))
                self._tell(outcome, told=False)

        self._box.post(lambda writing: outbox.settled(writing, outcomes), done=done)

    def _tell(self, outcome: Outcome, *, told: bool) -> None:
        """Tell those who wait; a failure that nobody waited for is shown by `failures`."""
        told = _release(self._outcome_waits, outcome.id) or told
        if outcome.state == "acked":
            return
        error = Refused(outcome.code or outcome.state, pointer=outcome.pointer)
        if self._fail_expected(outcome.id, error) or told:
            self._box.post(lambda writing: outbox.notice(writing, outcome))
        else:
            self.failed.set()

    # --- the clock ------------------------------------------------------------------------------------------------------------------

    def compare_clock(self, seconds: float) -> None:
        """Warn, once a stream, when the bus's clock is more than a minute off the own one; `seconds` is how far it is ahead."""
        if abs(seconds) > CLOCK_SECONDS and not self._warned:
            self._warned = True
            get_logger().warning("client.clock", seconds=round(seconds))

    def _compare_told(self, problem: dict[str, Any]) -> None:
        try:
            told = parse_time(str(problem.get("now")))
        except ValueError:
            return
        self.compare_clock((told - self._clock.now()).total_seconds())


def _seq(frame: dict[str, Any]) -> int:
    """Return the outbox position that an answer names, -1 for a reference that is none of ours."""
    ref = str(frame.get("ref", ""))
    return int(ref) if ref.isascii() and ref.isdecimal() and len(ref) <= REF_LENGTH else -1


def _waiting(waits: dict[str, list[asyncio.Future[None]]], identifier: str) -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waits.setdefault(identifier, []).append(future)
    future.add_done_callback(lambda ended: _leave(waits, identifier, ended))
    return future


def _leave(waits: dict[str, list[asyncio.Future[None]]], identifier: str, ended: asyncio.Future[None]) -> None:
    """Take out whoever waits no longer, told or not."""
    waiting = waits.get(identifier, [])
    if ended in waiting:
        waiting.remove(ended)
        if not waiting:
            del waits[identifier]


def _release(waits: dict[str, list[asyncio.Future[None]]], identifier: str) -> bool:
    """Let those go on who wait for an envelope; False when nobody does."""
    waiting = [future for future in waits.pop(identifier, []) if not future.done()]
    for future in waiting:
        future.set_result(None)
    return bool(waiting)
