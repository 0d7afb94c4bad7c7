"""The sending side of a client: the backlog goes out, receipts and refusals come back, and so does what became of each envelope.

Every answer is stored before anybody is told, and an outcome before the bus hears that it was seen; what nobody waits for is stored along with
something else, for an answer that is lost in a crash is given again. When to send is `backlog`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from lgsp.domain import names
from lgsp.domain.envelope import manifest_of, parse_time
from lgsp.domain.statements import Statement
from lgsp.errors import Refusal
from lgsp.gathering import Gathering
from lgsp.logs import get_logger
from lgsp.ports.clock import Clock
from lgsp.sdk import frames, marks, outbox, rollback, trust
from lgsp.sdk.awaited import Awaited
from lgsp.sdk.backlog import Backlog
from lgsp.sdk.box import Box, Operation, Outgoing, report
from lgsp.sdk.directories import Directories
from lgsp.sdk.errors import ClientError, Refused
from lgsp.sdk.frames import Became
from lgsp.sdk.outbox import Outcome, Posted
from lgsp.sdk.recent import Recent
from lgsp.sdk.trust import Trust

CLOCK_SECONDS: Final = 60.0
"""How far the own clock may be from the bus's before the program is warned (protocol section 4, step 12)."""
REF_LENGTH: Final = 18
"""Digits of an outbox position at most: all that SQLite counts."""
AGAIN_FIRST: Final = 0.5
AGAIN_LONGEST: Final = 30.0
EARLY_LONGEST: Final = 600.0
"""Longest pause before a reply goes out again whose request the bus has lost: the asker's outbox may be away for hours."""

EVENTS_GATHERED: Final = 0.05
"""Seconds for which an event waits for company: nobody waits for an answer, and a burst costs the bus as few transactions as a single one."""

FailExpected = Callable[[str, Exception], bool]


def _nothing_lost() -> None:
    """The bus tells it again."""


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
        self.receipt_waits: Awaited[Statement | None] = Awaited(box.hurry)
        """For receipts once they are stored; None is the answer to what the bus refused."""
        self.outcome_waits: Awaited[Outcome] = Awaited(box.hurry)
        """For the next outcome of an envelope, once it is stored."""
        self._receipts: Gathering[tuple[Outgoing, Statement]] = Gathering(self._store_receipts)
        self._outcomes: Gathering[Outcome] = Gathering(self._store_outcomes)
        self._events: Gathering[Outgoing] = Gathering(self._send_events, seconds=EVENTS_GATHERED)
        self._pauses: dict[int, float] = {}
        self._transmitted: set[str] = set()
        self._recent = Recent()
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

    def added(self, queued: Sequence[Outgoing]) -> None:
        """Send envelopes that have just become durable."""
        self._recent.add(queued)
        self.backlog.added(queued)

    def opened(self) -> None:
        """A new stream: its clock may be told about again."""
        self._warned = False

    async def repeat(self) -> None:
        """Send again what the bus has forgotten; see `rollback`. To be called while nothing is on its way."""
        now = self._clock.now()
        found = await self._box.write(lambda writing: rollback.repeat(writing, now))
        get_logger().warning("client.rolled_back", again=found.again, over=len(found.over))
        self.backlog.rewound()
        for outcome in found.over:
            self._tell(outcome, told=False)

    def awaits_outcome(self, identifier: str) -> bool:
        """Tell whether an envelope is known to have no outcome yet; False where only the box knows."""
        return self._recent.has(identifier)

    def was_transmitted(self, identifier: str) -> bool:
        """Tell whether an unanswered envelope has been put on the wire by this process."""
        return identifier in self._transmitted

    # --- storing --------------------------------------------------------------------------------------------------------------------

    def _store(
        self,
        waits: Awaited[Any],
        identifiers: Collection[str],
        operation: Operation[None],
        *,
        done: Callable[[], None],
        lost: Callable[[], None] = _nothing_lost,
        is_news: bool = False,
    ) -> None:
        """Store answers: at once when one of them is news or somebody waits for it, else along with something else.

        `lost` is called when they could not be stored; what the bus tells again by itself needs none.
        """

        def stored(_: None) -> None:
            waits.stored(identifiers)
            done()

        def failed(error: Exception) -> None:
            waits.stored(identifiers)
            report(error)
            lost()

        lazy = not is_news and waits.may_put_off(identifiers)
        self._box.post(operation, done=stored, failed=failed, lazy=lazy, sure=True)

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
        self._receipts.add((outgoing, statement))

    def _store_receipts(self, receipts: list[tuple[Outgoing, Statement]]) -> None:
        def done() -> None:
            for outgoing, statement in receipts:
                self._forget(outgoing)
                self.receipt_waits.release(outgoing.id, statement)

        def lost() -> None:
            for outgoing, _ in receipts:
                self._send_again(outgoing)

        rows = [(outgoing.seq, statement.text()) for outgoing, statement in receipts]
        identifiers = [outgoing.id for outgoing, _ in receipts]
        self._store(
            self.receipt_waits, identifiers, lambda writing: outbox.receipted(writing, rows), done=done, lost=lost
        )

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
        elif refused.code == "reply_unasked" and self._was_asked(found[0]):
            self._repeat(found[0], refused.code, longest=EARLY_LONGEST)
        else:
            self._store_refusal(found[0], refused)

    def _was_asked(self, reply: Outgoing) -> bool:
        """Tell whether the bus itself delivered the request that a reply answers: then it has lost it, and the asker will repeat it."""
        cause = manifest_of(reply.compact).text("causationid")
        return marks.has(self._box.reader, reply.audience, cause)

    def _repeat(self, outgoing: Outgoing, code: str, *, longest: float = AGAIN_LONGEST) -> None:
        get_logger().warning("client.refused", code=code, env=outgoing.env)
        self._send_again(outgoing, longest)

    def _send_again(self, outgoing: Outgoing, longest: float = AGAIN_LONGEST) -> None:
        """Send an envelope again in a while: the bus answers as it did the first time."""
        pause = self._pauses.get(outgoing.seq, AGAIN_FIRST)
        self._pauses[outgoing.seq] = min(pause * 2, longest)
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
            self._recent.heard_of(outgoing.env)
            told = self.receipt_waits.release(outgoing.id, None)
            self._tell(outcome, told=told)

        def lost(error: Exception) -> None:
            report(error)
            self._send_again(outgoing)

        get_logger().warning("client.refused", code=refused.code, env=outgoing.env)
        self._box.post(lambda writing: outbox.refused(writing, outgoing.seq, outcome), done=done, failed=lost)

    def _forget(self, outgoing: Outgoing) -> None:
        self._pauses.pop(outgoing.seq, None)
        self._transmitted.discard(outgoing.id)

    # --- outcomes -------------------------------------------------------------------------------------------------------------------

    async def outcome(self, became: Became) -> None:
        """Take what became of an envelope; an ack that does not verify is told to the operator and not taken."""
        posted = self._recent.posted(became.env) or outbox.posted(self._box.reader, became.env)
        if posted is None:
            self._put(
                frames.seen(became.env, became.to, became.state)
            )  # of a box that is no more: nobody else will say so
            return
        try:
            self._outcomes.add(await self._checked(became, posted))
        except (Refusal, ClientError) as error:
            get_logger().warning("client.refused", code=getattr(error, "code", "unavailable"), env=became.env)

    async def _checked(self, became: Became, posted: Posted) -> Outcome:
        item: dict[str, Any] = {}
        if became.state in {"acked", "rejected"}:
            item = await self._acked(became, posted)
            if (item["outcome"] == "accepted") != (became.state == "acked"):
                raise Refusal("ack_invalid", "the ack says something else than the bus")
        return Outcome(
            id=posted.id,
            key=posted.key,
            type=posted.type,
            env=became.env,
            to=became.to,
            state=became.state,
            code=str(item.get("code", "")) or became.code,
            pointer=str(item.get("pointer", "")),
            ack=became.ack,
        )

    async def _acked(self, became: Became, posted: Posted) -> dict[str, Any]:
        """Return the item of a receiver's ack; refuse as `ack_invalid` what neither the newest directory nor that of acceptance allows."""
        try:
            return self._trust.ack(became, self._directories.head, audience=posted.audience, type_=posted.type)
        except Refusal:  # by a key that is younger than the directory seen last
            newest = await self._directories.refresh()
        try:
            return self._trust.ack(became, newest, audience=posted.audience, type_=posted.type)
        except Refusal:
            receipt = await self._receipt_of(posted)
            if receipt is None:
                raise
        # By one who was a receiver when the envelope was accepted, and is none any more: its subscription or delegation has ended.
        accepted = await self._directories.at(trust.policy_of(receipt))
        return self._trust.ack(became, newest, audience=posted.audience, type_=posted.type, accepted=accepted)

    async def _receipt_of(self, posted: Posted) -> Statement | None:
        """Return the stored receipt of an envelope, with any that is about to be stored."""
        found = await self._box.write(lambda writing: outbox.by_id(writing.connection, posted.id))
        return found.receipt if found else None

    def _store_outcomes(self, outcomes: list[Outcome]) -> None:
        def done() -> None:
            for outcome in outcomes:
                self._recent.heard_of(outcome.env)
                self._put(frames.seen(outcome.env, outcome.to, outcome.state))
            for outcome in sorted(outcomes, key=_may_change):
                self._tell(outcome, told=False)

        identifiers = [outcome.id for outcome in outcomes]
        # For `failures`, or a call that waits for a reply which will not come.
        is_news = any(outcome.state != "acked" for outcome in outcomes)
        self._store(
            self.outcome_waits,
            identifiers,
            lambda writing: outbox.settled(writing, outcomes),
            done=done,
            is_news=is_news,
        )

    def _tell(self, outcome: Outcome, *, told: bool) -> None:
        """Tell those who wait; a failure that nobody waited for is shown by `failures`."""
        told = self.outcome_waits.release(outcome.id, outcome) or told
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


def _may_change(outcome: Outcome) -> bool:
    """Tell whether another outcome may follow: whoever waits is told of one that stays, if there is any."""
    return outcome.state == "parked"
