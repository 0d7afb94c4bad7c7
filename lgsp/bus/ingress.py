"""Ingress: envelopes from their bytes to their receipts (protocol section 4): read, look up, judge, commit.

What a stream sends at once goes together: one commit takes all of it, and others on the event loop have their turn in between. Each envelope has
an answer of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from lgsp.bus.body_keys import BodyKeys
from lgsp.bus.engines import Engines
from lgsp.bus.fairness import Answering, Rates, Turns
from lgsp.bus.figures import Figures
from lgsp.bus.placing import Arrival, Placing
from lgsp.bus.planning import Planner
from lgsp.bus.promises import Promise
from lgsp.bus.quotas import Quotas
from lgsp.bus.refusing import Refusing, proven
from lgsp.bus.registry import Registry
from lgsp.bus.sequencer import Order, Sequencer
from lgsp.domain import admission, policy
from lgsp.domain.admission import Accepted, Read, Refused
from lgsp.domain.directory import Directory
from lgsp.domain.envelope import Manifest, Wire
from lgsp.domain.exchange import Exchange
from lgsp.domain.values import fixed
from lgsp.errors import Defect, Refusal
from lgsp.ports.clock import Clock
from lgsp.ports.ledger import Accept, Done, Ledger, Result
from lgsp.tracing import NOTHING, Opened, Traces

JUDGED_AT_MOST = 8
"""How often an envelope is judged again because the directory moved or its twin won; more is a fault of ours."""
AT_A_TIME: Final = 16
"""Envelopes of a group that are read, judged and planned before others on the event loop have their turn: with bodies of 1 KB two to four
milliseconds. While people ask they are as few as bulk in a transaction."""


@fixed
class Receipted:
    """An accepted envelope and its receipt, as JSON text: the first one, byte for byte, when it came again."""

    env: str
    receipt: str
    manifest: Manifest
    duplicate: bool


Answer = Receipted | Exception
"""A receipt, `EnvelopeRefused`, `Refusal`, or whatever else went wrong with this envelope alone."""
Tell = Callable[[int, Answer], None]
"""Told the answer of the envelope at a place, as soon as there is one; may not block."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Coming:
    """One envelope on its way in, until it is answered."""

    wire: Wire
    tell: Callable[[Answer], None]
    is_answered: bool = False
    read: Read | None = None
    seen: Exchange | None = None
    """The exchange that it became before."""
    request: Exchange | None = None
    """The exchange that it answers."""
    judged: Accepted | Refused | None = None
    crowded: set[str] = field(default_factory=set)
    """The inboxes that have no room for it."""
    operation: Accept | None = None
    promises: Sequence[Promise] = ()
    holds_quota: bool = False

    def answer(self, answer: Answer) -> None:
        """Give the answer."""
        self.is_answered = True
        self.tell(answer)

    def forget(self) -> None:
        """Forget what was found out: it is judged again."""
        self.read = self.seen = self.request = self.judged = self.operation = None
        self.crowded, self.promises = set(), ()

    @property
    def found(self) -> Read:
        """What was read of it."""
        assert self.read is not None
        return self.read

    @property
    def planned(self) -> Accept:
        """The operation that accepts it."""
        assert self.operation is not None
        return self.operation


Again = Callable[[Sequence[_Coming]], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Ingress:
    """Takes envelopes in."""

    registry: Registry
    ledger: Ledger
    sequencer: Sequencer
    engines: Engines
    figures: Figures
    placing: Placing
    planner: Planner
    quotas: Quotas
    rates: Rates
    turns: Turns
    refusing: Refusing
    body_keys: BodyKeys
    clock: Clock
    answering: Answering = field(default_factory=Answering)
    traces: Traces = field(default_factory=Traces.found)
    draining: bool = False
    closed: str = ""
    """The code under which nothing is taken in for now."""

    async def submit(self, wire: Wire, *, peer: str, system: str = "") -> Receipted:
        """Accept one envelope and return its receipt; any other answer is raised. See `submit_all`."""
        answers: list[Answer] = []
        await self.submit_all([wire], peer=peer, system=system, tell=lambda _, answer: answers.append(answer))
        [answer] = answers
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def submit_all(self, wires: Sequence[Wire], *, peer: str, system: str = "", tell: Tell) -> None:
        """Accept envelopes of one sender and tell the answer of each; `system` is who is known to send, on a stream.

        A stream that sends too fast is slowed down, a call is refused (`rate_limited`). A `Refusal` says `rate_limited`, `inbox_full`,
        `unavailable`, `draining` or what the gateway is closed for.
        """
        coming = [_Coming(wire=wire, tell=partial(tell, place)) for place, wire in enumerate(wires)]
        try:
            if self.draining:
                raise Refusal("draining")
            if self.closed:
                raise Refusal(self.closed)
            self.engines.check()
            if system and (delay := self.rates.delay(system, len(wires))):
                await asyncio.sleep(delay)
            # A span is of one envelope.
            if len(coming) == 1 or self.traces.are_on or not await self._together(coming, peer, system):
                await self._each_alone(coming, peer, system)
        except Refusal as refusal:
            _refuse_rest(coming, refusal)

    async def _together(self, coming: Sequence[_Coming], peer: str, system: str) -> bool:
        """Submit envelopes together, and tell whether that went well; where something failed, those without an answer are to go alone."""
        try:
            await self._submit(coming, peer, system)
        except Refusal as refusal:
            _refuse_rest(coming, refusal)
        except Exception:  # noqa: BLE001 - it shows again with the envelope that it comes from, and is its answer
            return False
        return True

    async def _each_alone(self, coming: Sequence[_Coming], peer: str, system: str) -> None:
        left = [each for each in coming if not each.is_answered]
        if len(left) == 1:
            await self._alone(left[0], peer, system)
            return
        async with asyncio.TaskGroup() as tasks:
            for each in left:
                tasks.create_task(self._alone(each, peer, system))

    async def _alone(self, each: _Coming, peer: str, system: str) -> None:
        try:
            await self._submit([each], peer, system)
        except Exception as error:  # noqa: BLE001 - it is the answer
            each.answer(error)

    async def _submit(self, coming: Sequence[_Coming], peer: str, system: str, turn: int = 0) -> None:
        """Answer envelopes; what must be judged again is so as soon as that shows: no look-up waits for the bulk that came with it."""
        if turn == JUDGED_AT_MOST:
            raise Defect("an envelope was judged again and again")
        first, again = turn == 0, partial(self._submit, peer=peer, system=system, turn=turn + 1)
        for each in coming:
            each.forget()
        try:
            # However often it is judged, a call is one call.
            await self._submit_once(coming, peer, system or peer, again, bounded=first and not system, hopeful=first)
        finally:
            for each in coming:
                self._let_go(each, result=None)

    async def _submit_once(
        self, coming: Sequence[_Coming], peer: str, sender: str, again: Again, *, bounded: bool, hopeful: bool
    ) -> None:
        """Answer what can be answered; what is left is judged `again`.

        Nearly every envelope is new, and the commit sees whether it is. So who is `hopeful` looks whether it was accepted before only when it
        would be refused: what was accepted once gets its receipt whatever is to be said of it now. Where a quota counts it is looked for first:
        a repeat uses nothing, and nobody else may be refused because of it, be it for the length of a commit.
        """
        # What is read in pieces takes all places: nothing of the same sender passes it.
        async with self.turns.turn(sender, self.turns.most if len(coming) > 1 else 1) as leave:
            is_crowd = self.turns.is_crowd(sender) and not self.answering.has_answered(sender)
            planned: list[_Coming] = []
            start = 0
            while start < len(coming):
                if is_crowd:
                    await self.sequencer.calm()  # with its places in hand, so that what is behind it waits, too
                elif start:
                    await asyncio.sleep(0)
                few = coming[start : start + min(AT_A_TIME, self.sequencer.together())]
                planned += await self._plan_few(few, peer, sender, bounded=bounded, hopeful=hopeful)
                start += len(few)
            # Who waits for a commit needs no place: bulk, whose commits come last, would keep its sender's own look-ups waiting.
            leave()
            await _all(self._commit(part, order, again) for part, order in self._parts(planned))

    async def _plan_few(
        self, coming: Sequence[_Coming], peer: str, sender: str, *, bounded: bool, hopeful: bool
    ) -> list[_Coming]:
        """Read and judge a few envelopes, and plan what is allowed; answer the rest."""
        directory = self.registry.current
        read = await self._read(coming, directory, peer, bounded=bounded)
        await self._look_up([each for each in read if not hopeful or _may_matter(each.found, directory)])
        for each in read:
            self._judge(each, directory)
            if isinstance(each.judged, Refused):
                await asyncio.sleep(0)  # the words for a "no" take some milliseconds: others go in between
        # Its twin may have been accepted since it was looked for, if it was.
        await self._look_up([each for each in read if isinstance(each.judged, Refused)])
        await self._answer_judged(read, peer)
        allowed = [each for each in read if isinstance(each.judged, Accepted)]
        if any(each.found.manifest.is_reply for each in allowed):
            self.answering.note(sender)
        await self._plan(allowed, directory.version)
        return allowed

    async def _read(
        self, coming: Sequence[_Coming], directory: Directory, peer: str, *, bounded: bool
    ) -> list[_Coming]:
        """Return what is signed and formed well; answer the rest."""
        with self.figures.timed("read", len(coming)):
            reads = [admission.read(each.wire, directory) for each in coming]
        good = []
        for each, read in zip(coming, reads, strict=True):
            if isinstance(read, Refused):
                each.answer(await self.refusing.record(read, peer))
            elif bounded and (
                limited := self.rates.refusal(read.key.owner)
            ):  # only a good signature says whose rate it is
                self.refusing.edge.count(limited.code, peer)
                each.answer(limited)
            else:
                each.read = read
                good.append(each)
        return good

    async def _look_up(self, coming: Sequence[_Coming]) -> None:
        """Find the exchanges that these envelopes may have become before, and those that they answer."""
        if not coming:
            return
        keys = [key for each in coming for key in each.found.looked_up]
        with self.figures.timed("look_up", len(coming)):
            held = await self.ledger.exchanges(keys)
        for each in coming:
            each.seen = held.get(each.found.exchange_key)
            each.request = held.get(each.found.request_key) if each.found.request_key else None

    def _judge(self, each: _Coming, directory: Directory) -> None:
        """Judge what was not accepted before, and count its use of a grant at once: envelopes judged side by side cannot pass a quota together."""
        if each.seen is not None:
            return
        with self.figures.timed("judge"):
            judged = admission.judge(
                each.found,
                directory=directory,
                held=self.registry.contracts,
                now=self.clock.now(),
                request=each.request,
                used=partial(self.quotas.used, but=each.found.exchange_key),
            )
        if isinstance(judged, Accepted):
            each.crowded = self.placing.crowded(judged)
            if self.placing.is_refused(judged, each.crowded):
                judged = proven(each.found, Refusal("inbox_full"))
        if isinstance(judged, Accepted):
            self.quotas.hold(judged.leave.rule, each.found.exchange_key)
            each.holds_quota = True
        each.judged = judged

    async def _answer_judged(self, read: Sequence[_Coming], peer: str) -> None:
        """Answer those that were accepted before, and those that are refused."""
        for each in read:
            if each.seen is not None:
                each.answer(await self._again(each.found, each.seen, peer))
            elif isinstance(each.judged, Refused):
                each.answer(await self.refusing.record(each.judged, peer))

    async def _again(self, read: Read, seen: Exchange, peer: str) -> Answer:
        """Answer an envelope whose (`source`, `id`) was accepted before: with the first receipt, or `id_conflict`."""
        if not read.repeats(seen):
            return await self.refusing.record(proven(read, Refusal("id_conflict", pointer="/id")), peer)
        try:
            await self.placing.again(seen.env)
        except Refusal as refusal:
            return refusal
        return Receipted(env=seen.env, receipt=seen.receipt, manifest=read.manifest, duplicate=True)

    async def _plan(self, allowed: Sequence[_Coming], version: int) -> None:
        if not allowed:
            return
        day, now = await self.body_keys.today(), self.clock.now()
        for each in allowed:
            assert isinstance(each.judged, Accepted)
            each.operation, each.promises = self.planner.plan(
                each.judged, version=version, day=day, now=now, crowded=each.crowded
            )

    def _parts(self, planned: Iterable[_Coming]) -> list[tuple[Sequence[_Coming], Order]]:
        """Return what is committed together: what a person waits for apart from the rest, and of that a few while people ask."""
        parts: dict[Order, list[_Coming]] = {}
        for each in planned:
            parts.setdefault(_order(each.planned), []).append(each)
        most = self.sequencer.together()
        return [
            (part[start : start + most], order) for order, part in parts.items() for start in range(0, len(part), most)
        ]

    async def _commit(self, coming: Sequence[_Coming], order: Order, again: Again) -> None:
        """Commit what goes together and answer it."""
        try:
            with self._span(coming) as span, self.figures.timed("commit", len(coming)):
                results = await self.sequencer.submit(*(each.planned for each in coming), order=order)
                if not isinstance(results[0], Done):
                    span.became("again")
        except Refusal as refusal:
            _refuse_rest(coming, refusal)
            return
        accepted = []
        for each, result in zip(coming, results, strict=True):
            self._let_go(each, result=result)
            if isinstance(result, Done):
                accepted.append((each, _arrival(each, result)))
        await self._place(accepted)
        if "stale" in results:
            await self.registry.reload()
        if left := [each for each in coming if not each.is_answered]:
            await again(left)

    async def _place(self, accepted: Sequence[tuple[_Coming, Arrival]]) -> None:
        """Hand over or queue what is committed, and answer it."""
        if not accepted:
            return
        for each, arrival in accepted:
            self.figures.accepted(arrival.operation.deliveries)
            # First of all: what is promised is leased already, and nobody else would hand it over.
            promises, each.promises = each.promises, ()
            await self.placing.promises.keep(promises, each.wire, arrival.receipt)
        # Apart by where it goes: a queue that does not answer holds up no receipt of what goes elsewhere.
        parts: dict[frozenset[str], list[tuple[_Coming, Arrival]]] = {}
        for each, arrival in accepted:
            parts.setdefault(arrival.inboxes, []).append((each, arrival))
        await _all(self._hand_on(part) for part in parts.values())

    async def _hand_on(self, accepted: Sequence[tuple[_Coming, Arrival]]) -> None:
        arrivals = [arrival for _, arrival in accepted]
        try:
            refusals = await self.placing.place(arrivals)
        except Refusal as away:
            refusals = [away for _ in arrivals]
        for (each, arrival), refusal in zip(accepted, refusals, strict=True):
            each.answer(refusal or _receipted(arrival))

    def _let_go(self, each: _Coming, *, result: Result | None) -> None:
        """Settle what was held for an envelope, unless that is done; without a result it may have been committed all the same."""
        is_accepted = isinstance(result, Done)
        if each.holds_quota and isinstance(each.judged, Accepted):
            each.holds_quota = False
            self.quotas.settle(each.judged.leave.rule, each.found.exchange_key, used=is_accepted)
        if not is_accepted:  # or it was, and something failed before its promises were kept
            promises, each.promises = each.promises, ()
            self.placing.promises.withdraw(promises, unsure=result is None)

    def _span(self, coming: Sequence[_Coming]) -> AbstractContextManager[Opened]:
        """Return the span of an envelope; where there are spans each goes alone."""
        judged = coming[0].judged
        if not self.traces.are_on or not isinstance(judged, Accepted):
            return NOTHING
        manifest = judged.read.manifest
        return self.traces.span(
            "accept",
            parent=manifest.text("traceparent"),
            type=manifest.type,
            lane=judged.leave.lane,
            env=judged.read.env,
        )


async def _all(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do each to its end, and raise what the first raised: what goes on is not to be taken for withdrawn because something else failed."""
    waiting = list(works)
    if len(waiting) == 1:
        await waiting[0]
        return
    for error in await asyncio.gather(*waiting, return_exceptions=True):
        if error is not None:
            raise error


def _may_matter(read: Read, directory: Directory) -> bool:
    """Tell whether it matters before the judgement what was accepted earlier: the request of a reply, or what counts in a quota."""
    return read.manifest.is_reply or policy.is_counted(directory, read.manifest)


def _refuse_rest(coming: Iterable[_Coming], refusal: Refusal) -> None:
    for each in coming:
        if not each.is_answered:
            each.answer(refusal)


def _arrival(each: _Coming, result: Done) -> Arrival:
    if result.receipt is None:
        raise Defect("an accepted envelope got no receipt")
    return Arrival(
        operation=each.planned,
        manifest=each.found.manifest,
        receipt=result.receipt,
        crowded=each.crowded,
        promises=each.promises,
    )


def _receipted(arrival: Arrival) -> Receipted:
    env = arrival.operation.exchange.env
    return Receipted(env=env, receipt=arrival.receipt, manifest=arrival.manifest, duplicate=False)


def _order(operation: Accept) -> Order:
    """Return when an envelope goes: by the lanes of its deliveries, for what a sender asks beyond its share of look-ups is bulk."""
    return "urgent" if any(delivery.lane == "request" for delivery in operation.deliveries) else "bulk"
