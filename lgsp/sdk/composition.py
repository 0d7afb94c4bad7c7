"""From what a program states to a signed letter: the manifest's attributes, the body's bytes, the reply's addressee and author; acks and hellos.

Pure but for clock and chance, which are handed in. What a receiver would refuse at once is refused here, as `Refused`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Required, TypedDict

from lgsp.domain import envelope, names, statements, strictjson
from lgsp.domain.directory import Directory
from lgsp.domain.envelope import Manifest
from lgsp.domain.keys import Signer
from lgsp.domain.records import ServiceRecord
from lgsp.domain.statements import Statement
from lgsp.errors import Refusal
from lgsp.ports.clock import Clock, Entropy
from lgsp.sdk.errors import Refused
from lgsp.sdk.outbox import Keeps, Letter
from lgsp.tracing import Traces

LIFE_UNTOLD: Final = timedelta(hours=1)
"""Life of an envelope whose service this system has not seen in a directory yet."""
LONGEST_LIFE: Final = timedelta(days=1)
"""Life of a request or event for which the sender states none, where its service allows more."""
LONGEST_REPLY: Final = timedelta(days=366)
"""How long an answer may take where this system has not seen the service yet: the most that a service may state."""


class Told(TypedDict, total=False):
    """What a program states about an event; the names are those of protocol section 2 but for the first lines."""

    schema: Required[str]
    body: Required[object]
    """Any JSON value."""
    key: str | None
    """The program's own name for this sending: under one key an envelope goes out once."""
    expires_in: timedelta
    source: str
    """Another system that this one signs for under a delegation."""
    time: datetime
    classification: str
    purpose: str
    legalbasis: str
    procedure: str
    casefile: str
    authid: str
    orgcat: str
    correlationid: str
    causationid: str
    partitionkey: str
    sequence: str
    traceparent: str


class Stated(Told, total=False):
    """What a program states about an envelope: besides what an event has, to whom it goes."""

    audience: Required[str]


def published(type_: str, told: Told) -> Stated:
    """Return what is stated about an event on the topic of its type."""
    return {**told, "audience": names.topic_urn(type_)}


COPIED: Final = (
    "purpose", "legalbasis", "procedure", "casefile", "authid", "orgcat", "correlationid", "causationid", "partitionkey", "sequence",
    "traceparent",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Composer:
    """Signs in the name of one system."""

    system: str
    signer: Signer
    clock: Clock
    entropy: Entropy
    traces: Traces = field(default_factory=Traces.found)

    def letter(self, type_: str, stated: Stated, directory: Directory) -> Letter:
        """Return the signed letter; raise `Refused` for what the bus would refuse by its form alone.

        Where spans are recorded it states the one that it is made in, unless the program states another.
        """
        if not self.traces.are_on:
            return self._letter(type_, stated, directory)
        with self.traces.span("send", type=type_):
            return self._letter(type_, {"traceparent": self.traces.current(), **stated}, directory)

    def _letter(self, type_: str, stated: Stated, directory: Directory) -> Letter:
        now, audience = self.clock.now(), stated["audience"]
        service = directory.services.get(names.request_type(type_))
        life = stated.get("expires_in") or _life(service)
        by_name: Mapping[str, Any] = stated
        attributes = {
            "specversion": "1.0",
            "id": self.entropy.uuid7(),
            "source": stated.get("source", self.system),
            "type": type_,
            "time": envelope.format_time(stated.get("time", now)),
            "recordedtime": envelope.format_time(now),
            "expirytime": envelope.format_time(now + life),
            "audience": audience,
            "datacontenttype": "application/json",
            "dataschema": stated["schema"],
            "dataclassification": stated.get("classification"),
        } | {name: by_name[name] for name in COPIED if name in by_name}
        return self._signed(
            attributes,
            stated["body"],
            key=stated.get("key"),
            until=now + life + _reply_within(type_, service),
            keeps=_keeps(type_, service, audience),
        )

    def reply(
        self,
        request: Manifest,
        body: object,
        directory: Directory,
        *,
        schema: str | None = None,
        orgcat: str | None = None,
    ) -> Letter:
        """Return the signed reply to a request, by whoever of those this system stands for was asked."""
        service = directory.services.get(request.type)
        if service is None or not service.reply_schemas:
            raise Refused("reply_unasked", "nobody awaits a reply to this type")
        stated = Stated(
            audience=request.source,
            schema=schema or service.reply_schemas[-1],
            body=body,
            source=author(directory, self.system, request),
            causationid=request.id,
            correlationid=request.text("correlationid"),
            orgcat=orgcat or request.text("orgcat"),
            classification=request.text("dataclassification"),
            expires_in=timedelta(seconds=max(service.max_life, service.reply_within)),
        )
        return self.letter(names.reply_type(request.type), stated, directory)

    def acks(self, items: Sequence[bytes]) -> list[Statement]:
        """Sign at most 256 ack items under one signature."""
        head = statements.ack_head(system=self.system, at=self.clock.now())
        return statements.sign_batch(items, head, typ=statements.ACK, signer=self.signer)

    def authorization(self, bus: str, *, nonce: str, at: datetime) -> str:
        """Sign the hello by the gateway's clock: its nonce makes it count once, and a clock that is off need not keep a system out."""
        return self._call(bus, "/v1/stream", at, nonce)

    def asking(self, bus: str, path: str, *, at: datetime, body: bytes = b"") -> str:
        """Sign a call that only asks, by the gateway's clock: a GET, or a POST with what is asked."""
        return self._call(bus, path, at, self.entropy.uuid7(), body)

    def _call(self, bus: str, path: str, at: datetime, jti: str, body: bytes = b"") -> str:
        return statements.sign_auth(
            signer=self.signer,
            iss=self.system,
            aud=bus,
            method="POST" if body else "GET",
            path=path,
            body=body,
            at=at,
            jti=jti,
        )

    def _signed(
        self, attributes: dict[str, Any], body: object, *, key: str | None, until: datetime, keeps: Keeps
    ) -> Letter:
        chosen = {name: value for name, value in attributes.items() if value not in (None, "")}
        try:
            wire = envelope.sign(chosen, encoded(body), self.signer)
        except Refusal as refusal:
            raise Refused.of(refusal) from None
        return Letter(
            id=chosen["id"],
            key=key,
            env=wire.hash,
            source=chosen["source"],
            type=chosen["type"],
            audience=chosen["audience"],
            compact=wire.compact,
            body=wire.body,
            until=until,
            keeps=keeps,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Composing:
    """Signs against the newest directory seen, which `newest` returns."""

    composer: Composer
    newest: Callable[[], Directory]

    def letter(self, type_: str, stated: Stated) -> Letter:
        """Return the signed letter; raise `Refused`."""
        return self.composer.letter(type_, stated, self.newest())

    def reply(self, request: Manifest, body: object, *, schema: str | None, orgcat: str | None) -> Letter:
        """Return the signed reply to a request; raise `Refused`."""
        return self.composer.reply(request, body, self.newest(), schema=schema, orgcat=orgcat)


def encoded(body: object) -> bytes:
    """Return the exact bytes of a body; raise `Refused` (`body_nfc`, `body_json`) for what no receiver takes."""
    try:
        data = strictjson.compact(body)
    except (TypeError, ValueError):
        raise Refused("body_json", "the body is not a JSON value") from None
    if not strictjson.is_nfc(data, body):
        raise Refused("body_nfc", "a text of the body is not in Unicode NFC")
    return data


def author(directory: Directory, system: str, request: Manifest) -> str:
    """Return in whose name `system` answers: its own, or that of the principal which was asked."""
    if names.is_system(request.audience):
        return request.audience
    principals = (
        held.principal
        for held in directory.delegations
        if names.agency_of(held.principal) == request.audience
        and directory.may_sign_for(system, held.principal, request.type)
    )
    return next(principals, system) if names.agency_of(system) != request.audience else system


def _life(service: ServiceRecord | None) -> timedelta:
    return min(timedelta(seconds=service.max_life), LONGEST_LIFE) if service is not None else LIFE_UNTOLD


def _keeps(type_: str, service: ServiceRecord | None, audience: str) -> Keeps:
    """Return until when a body is kept: an event has any number of receivers, a request is over when it is answered."""
    if names.is_topic(audience):
        return "expiry"
    is_request = not names.is_reply_type(type_) and (service is None or bool(service.reply_schemas))
    return "reply" if is_request else "outcome"


def _reply_within(type_: str, service: ServiceRecord | None) -> timedelta:
    """Return how long after its delivery an envelope may still be answered, and so has to be remembered."""
    if names.is_reply_type(type_):
        return timedelta(0)
    return timedelta(seconds=service.reply_within) if service is not None else LONGEST_REPLY
