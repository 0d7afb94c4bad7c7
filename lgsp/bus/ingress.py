"""Ingress: one envelope from its bytes to its receipt (protocol section 4): read, look up, judge, commit."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from lgsp.bus.body_keys import BodyKeys
from lgsp.bus.edge_refusals import EdgeRefusals
from lgsp.bus.engines import Engines
from lgsp.bus.fairness import Rates, Turns
from lgsp.bus.figures import Figures
from lgsp.bus.moves import Moves
from lgsp.bus.placing import Placing
from lgsp.bus.promises import Promise
from lgsp.bus.quotas import Quotas
from lgsp.bus.registry import Registry
from lgsp.bus.sequencer import Order, Sequencer
from lgsp.domain import admission, policy, subjects
from lgsp.domain.admission import Accepted, Read, Refused
from lgsp.domain.entries import Draft, draft
from lgsp.domain.envelope import Manifest, Wire
from lgsp.domain.exchange import Delivery, Exchange
from lgsp.errors import Defect, Refusal
from lgsp.logs import get_logger
from lgsp.ports.clock import Clock, Entropy
from lgsp.ports.ledger import Accept, Done, Ledger, ReceiptItem, Refuse, SubjectLink
from lgsp.tracing import Traces

SALT_BYTES = 16
JUDGED_AT_MOST = 8
"""How often an envelope is judged again because the directory moved or its twin won; more is a fault of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipted:
    """An accepted envelope and its receipt, as JSON text: the first one, byte for byte, when it came again."""

    env: str
    receipt: str
    manifest: Manifest
    duplicate: bool


class EnvelopeRefused(Exception):
    """A refused envelope; `receipt` (JSON text) is there when the refusal has an entry of its own."""

    def __init__(self, refusal: Refusal, *, env: str, receipt: str | None) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal
        self.env = env
        self.receipt = receipt


@dataclass(slots=True, kw_only=True)
class Ingress:
    """Takes envelopes in."""

    gateway: str
    registry: Registry
    ledger: Ledger
    sequencer: Sequencer
    engines: Engines
    figures: Figures
    placing: Placing
    moves: Moves
    quotas: Quotas
    rates: Rates
    turns: Turns
    refusals: EdgeRefusals
    body_keys: BodyKeys
    subject_key: bytes
    clock: Clock
    entropy: Entropy
    traces: Traces = field(default_factory=Traces.found)
    draining: bool = False

    async def submit(self, wire: Wire, *, peer: str, system: str = "") -> Receipted:
        """Accept an envelope and return its receipt; `system` is who is known to send, on a stream.

        A stream that sends too fast is slowed down, a call is refused (`rate_limited`). Raises `EnvelopeRefused`, or `Refusal` as
        `rate_limited`, `inbox_full`, `unavailable` or `draining`.
        """
        if self.draining:
            raise Refusal("draining")
        self.engines.check()
        if system and (delay := self.rates.delay(system)):
            await asyncio.sleep(delay)
        for turn in range(JUDGED_AT_MOST):
            first = turn == 0
            async with self.turns.turn(system or peer) as judged:
                if self.turns.is_crowd(system or peer):
                    await self.sequencer.calm()  # with its places in hand, so that what is behind it waits, too
                # However often it is judged, a call is one call.
                found = await self._submit_once(wire, peer, judged, bounded=first and not system, hopeful=first)
            if found is not None:
                return found
        raise Defect("an envelope was judged again and again")

    async def _submit_once(
        self, wire: Wire, peer: str, leave: Callable[[], None], *, bounded: bool, hopeful: bool
    ) -> Receipted | None:
        """Return the receipt, or None when the envelope must be judged again; `leave` gives the place up once it is judged.

        Nearly every envelope is new, and the commit sees whether it is. So who is `hopeful` looks whether it was accepted before only when it
        would be refused: what was accepted once gets its receipt whatever is to be said of it now. Where a quota counts it is looked for first:
        a repeat uses nothing, and nobody else may be refused because of it, be it for the length of a commit.
        """
        directory = self.registry.current
        with self.figures.timed("read"):
            read = admission.read(wire, directory)
        if isinstance(read, Refused):
            raise await self._refused(read, peer)
        if bounded:
            self._bound(read.key.owner, peer)
        hopeful = hopeful and not read.manifest.is_reply and not policy.is_counted(directory, read.manifest)
        seen, request = (None, None) if hopeful else await self._look_up(read)
        if seen is not None:
            return await self._again(read, seen, peer)
        with self.figures.timed("judge"):
            judged = admission.judge(
                read,
                directory=directory,
                held=self.registry.contracts,
                now=self.clock.now(),
                request=request,
                used=partial(self.quotas.used, but=read.exchange_key),
            )
        crowded = set() if isinstance(judged, Refused) else self.placing.crowded(judged)
        if not isinstance(judged, Refused) and self.placing.is_refused(judged, crowded):
            judged = _refuse(read, Refusal("inbox_full"))
        if isinstance(judged, Refused):
            # Its twin may have been accepted since it was looked for, if it was.
            if (seen := (await self._look_up(read))[0]) is not None:
                return await self._again(read, seen, peer)
            raise await self._refused(judged, peer)
        # Who waits for a commit needs no place: bulk, whose commits come last, would keep its sender's own look-ups waiting.
        leave()
        manifest = read.manifest
        with self.traces.span(
            "accept",
            parent=manifest.text("traceparent"),
            type=manifest.type,
            lane=judged.leave.lane,
            env=read.env,
        ) as span:
            receipted = await self._accept(judged, directory.version, crowded)
            if receipted is None:
                span.became("again")
        return receipted

    async def _look_up(self, read: Read) -> tuple[Exchange | None, Exchange | None]:
        """Return the exchange that this envelope may have become before, and the one that it answers."""
        keys = [read.exchange_key] + ([read.request_key] if read.request_key else [])
        with self.figures.timed("look_up"):
            held = await self.ledger.exchanges(keys)
        return held.get(read.exchange_key), held.get(read.request_key) if read.request_key else None

    def _bound(self, sender: str, peer: str) -> None:
        """Refuse (`rate_limited`) a call of a sender who makes too many; only its good signature says who it is."""
        wait = self.rates.take(sender)
        if wait:
            self.refusals.count("rate_limited", peer)
            raise Refusal("rate_limited", retry_after=math.ceil(wait))

    async def _again(self, read: Read, seen: Exchange, peer: str) -> Receipted:
        """Answer an envelope whose (`source`, `id`) was accepted before: with the first receipt, or `id_conflict`."""
        if not read.repeats(seen):
            raise await self._refused(_refuse(read, Refusal("id_conflict", pointer="/id")), peer)
        await self.placing.again(seen.env)
        return Receipted(env=seen.env, receipt=seen.receipt, manifest=read.manifest, duplicate=True)

    async def _accept(self, judged: Accepted, version: int, crowded: set[str]) -> Receipted | None:
        read, rule, result = judged.read, judged.leave.rule, None
        # Counted before the commit, so that envelopes judged side by side cannot pass a quota together.
        self.quotas.hold(rule, read.exchange_key)
        promises: Sequence[Promise] = ()
        try:
            planned = await self._operation(judged, version)
            operation, promises = self.placing.promise(planned, read.wire, read.manifest, crowded)
            with self.figures.timed("commit"):
                [result] = await self.sequencer.submit(operation, order=_order(operation))
        finally:
            self.quotas.settle(rule, read.exchange_key, used=isinstance(result, Done))
            if not isinstance(result, Done):
                self.placing.promises.withdraw(promises, unsure=result is None)
        if not isinstance(result, Done):
            if result == "stale":
                await self.registry.reload()
            return None
        if result.receipt is None:
            raise Defect("an accepted envelope got no receipt")
        self.figures.accepted(operation.deliveries)
        # First of all: what is promised is leased already, and nobody else would hand it over.
        await self.placing.promises.keep(promises, read.wire, result.receipt.text())
        await self.placing.place(operation, result.receipt.text(), read, crowded, promises)
        return Receipted(env=read.env, receipt=result.receipt.text(), manifest=read.manifest, duplicate=False)

    async def _operation(self, judged: Accepted, version: int) -> Accept:
        read, leave, now = judged.read, judged.leave, self.clock.now()
        manifest = read.manifest
        day = await self.body_keys.today()
        sealed = self.body_keys.seal(day, read.env, read.wire.body)
        links = tuple(self._link(scheme, number) for scheme, number in judged.subjects)
        exchange = Exchange(
            source=manifest.source,
            id=manifest.id,
            env=read.env,
            type=manifest.type,
            audience=manifest.audience,
            receivers=tuple(target.receiver for target in leave.targets),
            accepted_at=now,
            expires=manifest.expires,
            reply_until=leave.reply_until,
            cause=judged.cause.env if judged.cause else "",
            reply="",
            policy=version,
            rule=leave.rule,
            compact=read.wire.compact,
            receipt="",
        )
        return Accept(
            exchange=exchange,
            deliveries=self._deliveries(exchange, judged, len(read.wire.compact) + len(sealed)),
            sealed=sealed,
            day=day,
            entry=self._entry(judged, exchange, links),
            item=_item(read.env, manifest, "accepted"),
            subjects=links,
            answers=judged.cause.key if judged.cause else None,
            head=version,
        )

    def _deliveries(self, exchange: Exchange, judged: Accepted, size: int) -> tuple[Delivery, ...]:
        """Return one delivery per inbox: a bridge that stands for two subscribers, or a system that subscribed twice, gets it once."""
        targets = judged.leave.targets
        state, due = self.moves.unplaced(exchange.accepted_at)
        return tuple(
            Delivery(
                env=exchange.env,
                to=inbox,
                source=exchange.source,
                id=exchange.id,
                lane=self.placing.lane(inbox, exchange.source, judged.leave.lane),
                state=state,
                attempts=0,
                lease="",
                lease_until=None,
                due_at=due,
                expires=exchange.expires,
                code="",
                ack="",
                final=False,
                order=0,
                size=size,
                subscriptions=tuple(
                    target.subscription for target in targets if target.inbox == inbox and target.subscription
                ),
            )
            for inbox in dict.fromkeys(target.inbox for target in targets)
        )

    def _entry(self, judged: Accepted, exchange: Exchange, links: tuple[SubjectLink, ...]) -> Draft:
        manifest = judged.read.manifest
        return draft(
            "msg.accepted",
            at=exchange.accepted_at,
            bus=self.gateway,
            env=exchange.env,
            id=exchange.id,
            src=exchange.source,
            aud=exchange.audience,
            type=exchange.type,
            schema=manifest.schema,
            policy=exchange.policy,
            rule=exchange.rule,
            kid=judged.read.key.record.id,
            purpose=manifest.text("purpose"),
            cause=exchange.cause,
            sc=[link.commitment for link in links],
        )

    def _link(self, scheme: str, number: str) -> SubjectLink:
        pseudonym = subjects.pseudonym(self.subject_key, scheme, number)
        salt = self.entropy.token(SALT_BYTES)
        return SubjectLink(pseudonym=pseudonym, salt=salt, commitment=subjects.commitment(salt, pseudonym))

    async def _refused(self, refused: Refused, peer: str) -> EnvelopeRefused:
        """Record a refusal as its stage asks, and return what to raise."""
        code = refused.refusal.code
        if not refused.signed:
            self.refusals.count(code, peer)
            return EnvelopeRefused(refused.refusal, env=refused.env, receipt=None)
        if self.refusals.is_one_too_many(refused.kid, code):
            return EnvelopeRefused(refused.refusal, env=refused.env, receipt=None)
        # Only what gets an entry gets a line: a flood fills neither the log nor the disk.
        get_logger().info("envelope.refused", code=code, env=refused.env, peer=peer)
        parent = refused.manifest.text("traceparent") if refused.manifest else ""
        with self.traces.span("refuse", parent=parent, code=code, env=refused.env):
            [result] = await self.sequencer.submit(self._refuse_operation(refused))
        receipt = result.receipt.text() if isinstance(result, Done) and result.receipt else None
        return EnvelopeRefused(refused.refusal, env=refused.env, receipt=receipt)

    def _refuse_operation(self, refused: Refused) -> Refuse:
        manifest, code = refused.manifest, refused.refusal.code
        entry = draft(
            "msg.rejected",
            at=self.clock.now(),
            bus=self.gateway,
            env=refused.env,
            id=manifest.id if manifest else "",
            src=manifest.source if manifest and refused.source_proven else "",
            aud=manifest.audience if manifest else "",
            type=manifest.type if manifest else "",
            policy=self.registry.current.version,
            kid=refused.kid,
            code=code,
        )
        proven = manifest is not None and refused.source_proven
        return Refuse(entry=entry, item=_item(refused.env, manifest, "rejected", code) if proven and manifest else None)


def _refuse(read: Read, refusal: Refusal) -> Refused:
    """Return a refusal of an envelope whose signature and source are proven."""
    return Refused(refusal=refusal, env=read.env, kid=read.key.record.id, manifest=read.manifest, source_proven=True)


def _order(operation: Accept) -> Order:
    """Return when an envelope goes: by the lanes of its deliveries, for what a sender asks beyond its share of look-ups is bulk."""
    return "urgent" if any(delivery.lane == "request" for delivery in operation.deliveries) else "bulk"


def _item(env: str, manifest: Manifest, outcome: str, code: str = "") -> ReceiptItem:
    return ReceiptItem(
        env=env,
        id=manifest.id,
        src=manifest.source,
        aud=manifest.audience,
        outcome="accepted" if outcome == "accepted" else "rejected",
        code=code,
    )
