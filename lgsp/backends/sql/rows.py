"""Rows to and from dataclasses: times as whole milliseconds, lists as JSON text, truth as 0 and 1."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from lgsp.domain.exchange import OUTCOMES, SETTLED, Delivery, Exchange, next_due
from lgsp.domain.mentions import Mention
from lgsp.domain.withholding import Withholding
from lgsp.ports.bodies import DayHeld
from lgsp.ports.ledger import Accept, Move, SubjectLink
from lgsp.ports.persons import Use
from lgsp.ports.retention import Evidence
from lgsp.ports.search import Kept

Row = dict[str, Any]
"""Parameters by the names of their columns."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EVER: Final = datetime.max.replace(tzinfo=UTC)


def milliseconds(moment: datetime) -> int:
    """Return an aware time as milliseconds since 1970, the rest cut."""
    since = moment - EPOCH
    # By its parts: dividing one span of time by another takes twice as long, and each row has several.
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


def _maybe(moment: datetime | None) -> int | None:
    return None if moment is None else milliseconds(moment)


def _moment(value: int) -> datetime:
    return EPOCH + timedelta(milliseconds=value)


def links_of(found: Iterable[Sequence[Any]]) -> dict[str, list[SubjectLink]]:
    """Return the persons of `selects.PERSON`, by env hash."""
    links: dict[str, list[SubjectLink]] = {}
    for env, pseudonym, salt, commitment in found:
        links.setdefault(env, []).append(SubjectLink(pseudonym=pseudonym, salt=salt, commitment=commitment))
    return links


def moment_of(value: int | None) -> datetime | None:
    """Return the time of so many milliseconds since 1970, None for None."""
    return None if value is None else EPOCH + timedelta(milliseconds=value)


def _names(receivers: tuple[str, ...]) -> str:
    """Return receivers as JSON text."""
    return _name_alone(receivers) if len(receivers) == 1 else json.dumps(receivers)


@lru_cache(maxsize=1024)
def _name_alone(receivers: tuple[str, ...]) -> str:
    """Return one receiver as JSON text; remembered, for the same few get most of what is sent."""
    return json.dumps(receivers)


def exchange_row(exchange: Exchange) -> Row:
    """Return an exchange's row."""
    return {
        "source": exchange.source,
        "id": exchange.id,
        "env": exchange.env,
        "type": exchange.type,
        "audience": exchange.audience,
        "receivers": _names(exchange.receivers),
        "accepted_at": milliseconds(exchange.accepted_at),
        "expires": milliseconds(exchange.expires),
        "reply_until": _maybe(exchange.reply_until),
        "cause": exchange.cause,
        "reply": exchange.reply,
        "policy": exchange.policy,
        "rule": exchange.rule,
        "compact": exchange.compact,
        "receipt": exchange.receipt,
    }


def exchange_of(row: tuple[Any, ...]) -> Exchange:
    """Return the exchange of `selects.EXCHANGE_COLUMNS`."""
    (
        source,
        id_,
        env,
        type_,
        audience,
        receivers,
        accepted_at,
        expires,
        reply_until,
        cause,
        reply,
        policy,
        rule,
        compact,
        receipt,
    ) = row
    return Exchange(
        source=source,
        id=id_,
        env=env,
        type=type_,
        audience=audience,
        receivers=tuple(json.loads(receivers)),
        accepted_at=_moment(accepted_at),
        expires=_moment(expires),
        reply_until=moment_of(reply_until),
        cause=cause,
        reply=reply,
        policy=policy,
        rule=rule,
        compact=compact,
        receipt=receipt,
    )


def body_row(accepted: Accept) -> Row:
    """Return the row of the body of a new exchange."""
    env, kept_until = accepted.exchange.env, _maybe(accepted.kept_until)
    return {"env": env, "sealed": accepted.sealed, "day": accepted.day, "kept_until": kept_until}


def days_held(kept: Iterable[Sequence[Any]], open_: Iterable[Sequence[Any]]) -> list[DayHeld]:
    """Return what is held of each day, from `selects.KEPT_BY_DAY` and `selects.OPEN_BY_DAY`."""
    waiting = {day: (in_flight, parked, to_be_archived) for day, in_flight, parked, to_be_archived in open_}
    archived = dict.fromkeys(waiting, 0) | {row[0]: row[1] for row in kept}
    return [
        DayHeld(day=day, in_flight=int(in_flight), parked=int(parked), archived=int(archived[day] - to_be_archived))
        for day in sorted(archived)
        for in_flight, parked, to_be_archived in [waiting.get(day, (0, 0, 0))]
    ]


def kept_of(rows: Iterable[tuple[Any, ...]]) -> dict[str, Kept]:
    """Return what is kept of envelopes, by env hash, of `selects.KEPT`."""
    return {env: Kept(compact=compact, cause=cause) for env, compact, cause in rows}


def mention_row(mention: Mention) -> Row:
    """Return a row of the catalogue."""
    return {
        "seq": mention.seq,
        "env": mention.env,
        "casefile": mention.casefile,
        "procedure": mention.procedure,
        "officer": mention.officer,
    }


def evidence_in(row: tuple[Any, ...]) -> Evidence:
    """Return the evidence of `selects.EVIDENCES`."""
    env, compact, acks, receipt, reply = row
    return Evidence(
        env=env, compact=compact, acks=tuple(acks.split("\n")) if acks else (), receipt=receipt, reply=reply
    )


def use_of(row: tuple[Any, ...]) -> Use:
    """Return the use of `selects.USES`."""
    env, seq, commitment, data, compact = row
    return Use(env=env, index=seq, commitment=commitment, entry=data or b"", compact=compact or b"")


def withholding_row(rule: Withholding) -> Row:
    """Return a withholding rule's row."""
    texts = {name: getattr(rule, name) for name in ("id", "system", "type", "procedure", "casefile", "basis")}
    return texts | {
        "since": milliseconds(rule.since),
        "until": milliseconds(rule.until),
        "ended": _maybe(rule.ended),
    }


def withholding_of(row: tuple[Any, ...]) -> Withholding:
    """Return the withholding rule of `selects.WITHHOLDINGS`."""
    id_, system, type_, procedure, casefile, basis, since, until, ended = row
    return Withholding(
        id=id_,
        system=system,
        type=type_,
        procedure=procedure,
        casefile=casefile,
        basis=basis,
        since=_moment(since),
        until=_moment(until),
        ended=moment_of(ended),
    )


def delivery_row(delivery: Delivery, position: int) -> Row:
    """Return the row of a delivery accepted by the entry at `position`."""
    row = _standing(delivery, _wakes_at(delivery, delivery.expires))
    row |= {
        "env": delivery.env,
        "inbox": delivery.to,
        "source": delivery.source,
        "id": delivery.id,
        "lane": delivery.lane,
        "expires": milliseconds(delivery.expires),
        "position": position,
        "size": delivery.size,
        "subscriptions": " ".join(delivery.subscriptions),
    }
    return row


def standing_row(move: Move, expires: int) -> Row:
    """Return the members that a move writes of a delivery which expires then."""
    # Nobody wakes for what is settled, as nearly all that moves is: that spares the number's way back to a time.
    return _standing(move, None if move.state in SETTLED else _wakes_at(move, _moment(expires)))


def _wakes_at(new: Delivery | Move, expires: datetime) -> int | None:
    return _maybe(next_due(new.state, lease_until=new.lease_until, due_at=new.due_at, expires=expires))


def _standing(new: Delivery | Move, wakes_at: int | None) -> Row:
    """Return the members that a move writes, and the two that follow from them."""
    return {
        "state": new.state,
        "attempts": new.attempts,
        "lease": new.lease,
        "lease_until": _maybe(new.lease_until),
        "due_at": _maybe(new.due_at),
        "code": new.code,
        "ack": new.ack,
        "final": int(new.final),
        "wakes_at": wakes_at,
        "unseen": int(new.state in OUTCOMES),
    }


def delivery_of(row: tuple[Any, ...]) -> Delivery:
    """Return the delivery of `selects.DELIVERY_COLUMNS`."""
    (
        env,
        inbox,
        source,
        id_,
        lane,
        state,
        attempts,
        lease,
        lease_until,
        due_at,
        expires,
        code,
        ack,
        final,
        position,
        size,
        subscriptions,
    ) = row
    return Delivery(
        env=env,
        to=inbox,
        source=source,
        id=id_,
        lane=lane,
        state=state,
        attempts=attempts,
        lease=lease,
        lease_until=moment_of(lease_until),
        due_at=moment_of(due_at),
        expires=_moment(expires),
        code=code,
        ack=ack,
        final=bool(final),
        order=position,
        size=size,
        subscriptions=tuple(subscriptions.split()),
    )
