"""Sample values: made-up envelopes that are really signed, and the operations that record what becomes of them.

Everything follows from a number: the same number gives the same bytes. Keys are SHA-256 of public labels, for tests only. Persons are made
up, from the range that no place uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache, lru_cache
from hashlib import sha256
from typing import Any, Final

from lgsp.domain import base64url, entries, envelope, sealing, statements, strictjson
from lgsp.domain.envelope import Wire
from lgsp.domain.exchange import Delivery, Exchange, ExchangeKey, State
from lgsp.domain.keys import PrivateKey, ed25519_from_seed
from lgsp.domain.records import Lane
from lgsp.domain.statements import Statement
from lgsp.ports.ledger import Accept, Move, Note, Publish, ReceiptItem, Refuse, SubjectLink
from lgsp.testing.clock import START
from lgsp.testing.entropy import uuid7
from lgsp.testing.world import (
    BUS,
    FISHERIES,
    GATEWAY,
    LOG,
    NDXP,
    POPULATION,
    VERIFY,
    VERIFY_REPLY,
    VERIFY_REPLY_SCHEMA,
    VERIFY_SCHEMA,
)

SCHEMAS: Final = {
    VERIFY: VERIFY_SCHEMA,
    VERIFY_REPLY: VERIFY_REPLY_SCHEMA,
}
NOW: Final = START
LIFE: Final = timedelta(hours=1)
DAY: Final = "2026-11-22"
GRANT: Final = "fisheries-verify"


@cache
def key(label: str) -> PrivateKey:
    """Return the Ed25519 key whose seed is SHA-256 of a label; a system's label is its URN."""
    return ed25519_from_seed(sha256(label.encode()).digest())


def identity(number: int) -> str:
    """Return the UUIDv7 of a number; they sort as the numbers do."""
    return uuid7(int(NOW.timestamp() * 1000), number)


def person(number: int) -> dict[str, str]:
    """Return the body of a question about a made-up person."""
    return {"personalNumber": f"099{number:09d}", "fullName": "Nguyễn Văn Mẫu", "birthDate": "1985"}


@lru_cache(maxsize=4096)
def wire(
    number: int = 1, *, source: str = FISHERIES, audience: str = POPULATION, asked: int = 0, size: int = 0
) -> Wire:
    """Return a signed envelope: a question about a person, or with `asked` the answer to question number `asked`.

    With `size` the body is a text of so many bytes instead.
    """
    message_type = VERIFY_REPLY if asked else VERIFY
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": identity(number),
        "source": source,
        "type": message_type,
        "time": envelope.format_time(NOW),
        "recordedtime": envelope.format_time(NOW),
        "expirytime": envelope.format_time(NOW + LIFE),
        "audience": audience,
        "datacontenttype": "application/json",
        "dataschema": SCHEMAS[message_type],
        "purpose": "dpv:IdentityVerification",
        "legalbasis": "dpv:LegalObligation",
        "procedure": "1.004359",
        "casefile": f"AG-{number:05d}-TS",
        "authid": "7f3a91",
    }
    if asked:
        attributes["causationid"] = identity(asked)
    value: object = "x" * (size - 2) if size else {"result": "match"} if asked else person(number)
    return envelope.sign(attributes, strictjson.compact(value), key(source))


def exchange(
    of: Wire, *, receivers: Sequence[str] = (POPULATION,), rule: str = GRANT, at: datetime = NOW, policy: int = 0
) -> Exchange:
    """Return the exchange of an envelope, without its receipt."""
    manifest = envelope.parse_manifest(base64url.decode(of.compact.split(b".")[1]))
    return Exchange(
        source=manifest.source,
        id=manifest.id,
        env=of.hash,
        type=manifest.type,
        audience=manifest.audience,
        receivers=tuple(receivers),
        accepted_at=at,
        expires=manifest.expires,
        reply_until=None if manifest.is_reply else at + timedelta(minutes=1),
        cause="",
        reply="",
        policy=policy,
        rule=rule,
        compact=of.compact,
        receipt="",
    )


def delivery(
    held: Exchange, *, to: str = NDXP, lane: Lane = "request", state: State = "queued", expires: datetime | None = None
) -> Delivery:
    """Return a new delivery of an exchange."""
    return Delivery(
        env=held.env,
        to=to,
        source=held.source,
        id=held.id,
        lane=lane,
        state=state,
        attempts=0,
        lease="",
        lease_until=None,
        due_at=None,
        expires=expires or held.expires,
        code="",
        ack="",
        final=False,
        order=0,
        size=len(held.compact),
    )


def accept(  # noqa: PLR0913 - each has a default; a test names what it is about
    number: int = 1,
    *,
    source: str = FISHERIES,
    to: Sequence[str] = (NDXP,),
    lane: Lane = "request",
    state: State = "queued",
    rule: str = GRANT,
    at: datetime = NOW,
    expires: datetime | None = None,
    head: int = 0,
    asked: int = 0,
    asker: str = FISHERIES,
    persons: int = 0,
    size: int = 0,
    day: str = DAY,
    kept_until: datetime | None = None,
) -> Accept:
    """Return the operation that accepts envelope `number` for these inboxes; with `asked` it answers that question of `asker`."""
    sent = wire(number, source=source, audience=asker if asked else POPULATION, asked=asked, size=size)
    held = exchange(sent, rule=rule, at=at, policy=head)
    answers: ExchangeKey | None = (asker, identity(asked)) if asked else None
    return Accept(
        exchange=held,
        deliveries=tuple(delivery(held, to=each, lane=lane, state=state, expires=expires) for each in to),
        sealed=sealing.seal(_BODY_KEY, held.env, sent.body, number.to_bytes(sealing.NONCE_BYTES, "big")),
        day=day,
        entry=entries.draft("msg.accepted", at=at, bus=GATEWAY, env=held.env, id=held.id, src=source, rule=rule),
        item=ReceiptItem(env=held.env, id=held.id, src=source, aud=held.audience, outcome="accepted"),
        subjects=tuple(link(number + place) for place in range(persons)),
        answers=answers,
        head=head,
        kept_until=kept_until,
    )


_BODY_KEY: Final = sha256(b"made-up body key").digest()


def link(number: int) -> SubjectLink:
    """Return the link to a made-up person."""
    pseudonym = sha256(f"person {number}".encode()).digest()
    return SubjectLink(pseudonym=pseudonym, salt=pseudonym[:16], commitment=base64url.encode(pseudonym))


def refuse(number: int = 1, *, code: str = "no_grant", receipt: bool = True) -> Refuse:
    """Return the operation that records the refusal of envelope `number`."""
    sent = wire(number)
    item = ReceiptItem(env=sent.hash, id=identity(number), src=FISHERIES, aud=POPULATION, outcome="rejected", code=code)
    entry = entries.draft("msg.rejected", at=NOW, bus=GATEWAY, env=sent.hash, src=FISHERIES, code=code)
    return Refuse(entry=entry, item=item if receipt else None)


def move(held: Delivery, state: State, /, *, event: str = "", **members: Any) -> Move:  # noqa: ANN401 - members of a move
    """Return the move of a delivery from where it stands to `state`, with an entry when an `event` is named."""
    entry = entries.draft(event, at=NOW, bus=GATEWAY, env=held.env, to=held.to) if event else None
    told = {"env": held.env, "to": held.to, "expect": frozenset({held.state}), "attempts": held.attempts}
    return Move(**{**told, "state": state, "entry": entry, **members})


def lease(held: Delivery, name: str = "lease-1", *, until: datetime = NOW + timedelta(minutes=5)) -> Move:
    """Return the move that leases a queued delivery."""
    return move(held, "leased", event="msg.delivered", lease=name, lease_until=until)


def note(number: int = 1) -> Note:
    """Return the operation that appends an entry and nothing else."""
    return Note(entry=entries.draft("edge.refused", at=NOW, bus=GATEWAY, code="base64", n=number))


def publish(version: int, names: Sequence[str], documents: Mapping[str, bytes] | None = None) -> Publish:
    """Return the operation that publishes a directory of one made-up record a name."""
    return Publish(
        version=version,
        statement=f"statement {version}".encode(),
        records=tuple(strictjson.compact({"kind": "agency", "id": name}) for name in names),
        documents=documents or {},
        entries=(entries.draft("directory.changed", at=NOW, bus=GATEWAY, obj=BUS, reason="a test"),),
    )


def sign_receipts(items: Sequence[bytes], policy: int) -> list[Statement]:
    """Sign receipts as the gateway does, at the one moment there is."""
    head = statements.receipt_head(gateway=GATEWAY, at=NOW, log=LOG, policy=policy)
    return statements.sign_batch(items, head, typ=statements.RECEIPT, signer=key(GATEWAY))


def as_held(operation: Accept, *, index: int, place: int = 0) -> Delivery:
    """Return the delivery as the ledger holds it once the operation's entry stands at `index`."""
    return replace(operation.deliveries[place], order=index)
