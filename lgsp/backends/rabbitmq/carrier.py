"""What a message says: a parcel as AMQP properties, headers and sealed body (protocol section 6), and back again only if it agrees with itself.

Whether it agrees with its row is checked by the transport.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from lgsp.domain import base64url, jws, statements, strictjson
from lgsp.domain.records import Lane
from lgsp.ports.inboxes import Parcel

ENVELOPE: Final = "lgsp-env"
RECEIPT: Final = "lgsp-rcpt"
BODY_KEY: Final = "lgsp-bk"
LONGEST_LIFE: Final = timedelta(days=49)
"""The broker closes the channel on an expiration beyond 2**32 - 1 ms; a message that ends before its row is published again by the sweep."""
SHORTEST_LIFE: Final = timedelta(milliseconds=1)


class MismatchError(Exception):
    """A message that does not agree with itself; `env` is the hash it goes by."""

    def __init__(self, env: str, what: str) -> None:
        super().__init__(what)
        self.env = env


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What a message carries, and the message to answer for it."""

    message: AbstractIncomingMessage
    env: str
    lane: Lane
    compact: bytes
    receipt: str
    sealed: bytes
    day: str
    order: int
    """Position in the log, as the receipt has it: what comes back goes before what came later."""


def to_message(parcel: Parcel, *, now: datetime) -> aio_pika.Message:
    """Return the message of a parcel; it lives as long as the delivery may wait."""
    left = min(max(parcel.delivery.expires - now, SHORTEST_LIFE), LONGEST_LIFE)
    return aio_pika.Message(
        parcel.sealed,
        # Texts alone: a header of raw bytes comes back as something else.
        headers={ENVELOPE: parcel.compact.decode("ascii"), RECEIPT: parcel.receipt, BODY_KEY: parcel.day},
        message_id=parcel.delivery.env,
        type=type_of(parcel.compact),
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        expiration=left,
    )


def read_message(message: AbstractIncomingMessage, lane: Lane) -> Carried:
    """Return what a message carries; raise `MismatchError` unless its id and type are those of the envelope in it and its receipt names that."""
    named = message.message_id or ""
    texts = [message.headers.get(name) for name in (ENVELOPE, RECEIPT, BODY_KEY)]
    if not all(isinstance(text, str) for text in texts):
        raise MismatchError(named, "headers")
    envelope, receipt, day = map(str, texts)
    try:
        compact = envelope.encode("ascii")
        message_type, (receipted, order) = type_of(compact), _item_of(receipt)
    except (ValueError, KeyError, IndexError, TypeError, strictjson.NotStrict) as error:
        raise MismatchError(named, "form") from error
    if not named == jws.hash_of(compact) == receipted:
        raise MismatchError(named, "message_id")
    if message.type != message_type:
        raise MismatchError(named, "type")
    return Carried(
        message=message,
        env=named,
        lane=lane,
        compact=compact,
        receipt=receipt,
        sealed=message.body,
        day=day,
        order=order,
    )


def type_of(compact: bytes) -> str:
    """Return the message type that an envelope's manifest states."""
    stated = strictjson.parse_object(base64url.decode(compact.split(b".")[1]))
    return str(stated["type"])


def _item_of(receipt: str) -> tuple[str, int]:
    """Return the env hash and the position in the log that a receipt names; its signature is for the receiver to check."""
    item = strictjson.parse_object(statements.from_text(receipt).item.encode())
    return str(item["env"]), int(item["index"])
