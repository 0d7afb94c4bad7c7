"""Planning: what the acceptance of an envelope changes in the ledger: its exchange, its deliveries, its entry, its links to persons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lgsp.bus.body_keys import BodyKeys
from lgsp.bus.moves import Moves
from lgsp.bus.placing import Placing
from lgsp.bus.promises import Promise
from lgsp.domain import subjects
from lgsp.domain.admission import Accepted
from lgsp.domain.entries import Draft, draft
from lgsp.domain.exchange import Delivery, Exchange
from lgsp.ports.clock import Entropy
from lgsp.ports.ledger import Accept, ReceiptItem, SubjectLink
from lgsp.ports.persons import SubjectKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Plans acceptances in the name of one gateway."""

    gateway: str
    placing: Placing
    moves: Moves
    body_keys: BodyKeys
    subject_keys: SubjectKeys
    entropy: Entropy

    def plan(
        self, judged: Accepted, *, version: int, day: str, now: datetime, crowded: set[str]
    ) -> tuple[Accept, Sequence[Promise]]:
        """Return the operation that accepts an envelope under a version of the directory, its body sealed with the key of a day, and its promises.

        `crowded` are the inboxes without room for it.
        """
        read, leave = judged.read, judged.leave
        manifest, days = read.manifest, leave.service.archive_days
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
        deliveries = self._deliveries(exchange, judged, len(read.wire.compact) + len(sealed))
        entry = self._entry(judged, exchange, links)
        promises = self.placing.promise(deliveries, read, now=now, crowded=crowded)
        operation = Accept(
            exchange=exchange,
            deliveries=tuple(each.delivery for each in promises) or deliveries,
            sealed=sealed,
            day=day,
            entry=entry,
            item=ReceiptItem(
                env=read.env, id=manifest.id, src=manifest.source, aud=manifest.audience, outcome="accepted", code=""
            ),
            subjects=links,
            answers=judged.cause.key if judged.cause else None,
            head=version,
            kept_until=None if days is None else now + timedelta(days=days),
            handed=tuple(each.entry for each in promises if each.entry is not None),
        )
        return operation, promises

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
                lane=self.placing.lane(inbox, exchange.source, judged.leave.lane, now=exchange.accepted_at),
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
        pseudonym = subjects.pseudonym(self.subject_keys.newest, scheme, number)
        salt = self.entropy.token(subjects.SALT_BYTES)
        return SubjectLink(pseudonym=pseudonym, salt=salt, commitment=subjects.commitment(salt, pseudonym))
