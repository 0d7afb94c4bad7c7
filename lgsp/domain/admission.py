"""The ordered checks on arrival, as two pure functions with one look-up between them (protocol section 4).

`read` takes bytes and the directory: sizes, form, key, signature, manifest, source, body hash (steps 1-10).
The caller then looks up whether (`source`, `id`) was accepted before, and for a reply its request (step 11).
`judge` is handed clock, directory, contracts, counters and that look-up: times, route, grant, body and schema (steps 12-14).
Each gives what it found or a `Refused` that says how much was proven before the "no".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from lgsp.domain import contracts, envelope, jws, policy, strictjson
from lgsp.domain.directory import Directory, Key
from lgsp.domain.envelope import Manifest, Wire
from lgsp.domain.exchange import Exchange, ExchangeKey
from lgsp.domain.limits import LIMITS, Limits
from lgsp.domain.records import ServiceRecord
from lgsp.domain.values import fixed
from lgsp.errors import Refusal


@fixed
class Read:
    """An envelope whose signature, manifest, source and body have been checked."""

    wire: Wire
    env: str
    key: Key
    manifest: Manifest

    @property
    def exchange_key(self) -> ExchangeKey:
        """(`source`, `id`): the exchange that it became, where it was accepted before."""
        return self.manifest.source, self.manifest.id

    @property
    def request_key(self) -> ExchangeKey | None:
        """The exchange that this reply answers, None for anything else."""
        if not self.manifest.is_reply:
            return None
        return self.manifest.audience, self.manifest.text("causationid")

    @property
    def looked_up(self) -> tuple[ExchangeKey, ...]:
        """What the look-up of step 11 asks for."""
        request = self.request_key
        return (self.exchange_key,) if request is None else (self.exchange_key, request)

    def repeats(self, seen: Exchange) -> bool:
        """Tell whether this is the envelope that was accepted as `seen`: by its signed manifest, since an ES256 signature has two valid spellings."""
        return seen.compact.split(b".")[1] == self.wire.compact.split(b".")[1]


@fixed
class Accepted:
    """An envelope that passed every check."""

    read: Read
    leave: policy.Leave
    cause: Exchange | None
    subjects: tuple[tuple[str, str], ...]
    """(scheme, number) of the persons its body names; never logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A "no", and what was proven before it."""

    refusal: Refusal
    env: str
    kid: str = ""
    manifest: Manifest | None = None
    source_proven: bool = False

    @property
    def signed(self) -> bool:
        """Whether the signature was verified: from there on every refusal is an entry of its own."""
        return bool(self.kid)


def read(wire: Wire, directory: Directory, *, limits: Limits = LIMITS) -> Read | Refused:
    """Check steps 1 to 10; pure."""
    try:
        parsed = _parse(wire, directory, limits)
        key = directory.key(parsed.kid, envelope.TYP)
        jws.verify(parsed, key.public)
    except Refusal as refusal:
        return Refused(refusal=refusal, env=wire.hash)
    manifest = None
    source_proven = False
    try:
        manifest = envelope.parse_manifest(parsed.payload)
        _check_source(directory, key, manifest)
        source_proven = True
        envelope.check_body(manifest, wire.body)
    except Refusal as refusal:
        return Refused(
            refusal=refusal, env=wire.hash, kid=key.record.id, manifest=manifest, source_proven=source_proven
        )
    return Read(wire=wire, env=wire.hash, key=key, manifest=manifest)


def _parse(wire: Wire, directory: Directory, limits: Limits) -> jws.Jws:
    if len(wire.compact) > limits.envelope_bytes:
        raise Refusal("too_large", "the JWS")
    if len(wire.body) > largest_body(directory, limits):
        raise Refusal("too_large", "the body")
    return jws.parse(wire.compact, typ=envelope.TYP)


def largest_body(directory: Directory, limits: Limits = LIMITS) -> int:
    """Return the most bytes that any service allows for a body."""
    return directory.largest_body or limits.body_bytes


def _check_source(directory: Directory, key: Key, manifest: Manifest) -> None:
    if not directory.may_sign_for(key.owner, manifest.source, manifest.type):
        raise Refusal("source_not_owned", pointer="/source")


def judge(
    read: Read,
    *,
    directory: Directory,
    held: contracts.Contracts,
    now: datetime,
    request: Exchange | None,
    used: policy.UsedToday,
    limits: Limits = LIMITS,
) -> Accepted | Refused:
    """Check steps 12 to 14; pure. `request` is the exchange that a reply names, where there is one."""
    manifest = read.manifest
    try:
        _check_times(manifest, now, limits)
        _check_life(manifest, policy.service_of(directory, manifest))
        policy.refuse_suspended(directory, read.key.owner)
        leave = _leave(directory, manifest, request, now=now, used=used)
        body = _check_body(read, leave, held)
    except Refusal as refusal:
        return Refused(refusal=refusal, env=read.env, kid=read.key.record.id, manifest=manifest, source_proven=True)
    declared = leave.service.reply_subjects if manifest.is_reply else leave.service.subjects
    return Accepted(read=read, leave=leave, cause=request, subjects=tuple(contracts.subject_values(declared, body)))


def _check_times(manifest: Manifest, now: datetime, limits: Limits) -> None:
    if manifest.recorded > now + limits.clock_ahead:
        raise Refusal("clock_ahead", pointer="/recordedtime", now=envelope.format_time(now))
    if manifest.expires <= now:
        raise Refusal("expired", pointer="/expirytime", now=envelope.format_time(now))


def _check_life(manifest: Manifest, service: ServiceRecord) -> None:
    allowed = service.reply_within if manifest.is_reply else 0
    if manifest.expires - manifest.recorded > timedelta(seconds=max(service.max_life, allowed)):
        raise Refusal("life_too_long", pointer="/expirytime")


def _leave(
    directory: Directory, manifest: Manifest, request: Exchange | None, *, now: datetime, used: policy.UsedToday
) -> policy.Leave:
    if manifest.is_reply:
        return policy.allow_reply(directory, manifest, request, now=now)
    return policy.allow_request(directory, manifest, now=now, used=used)


def _check_body(read: Read, leave: policy.Leave, held: contracts.Contracts) -> object:
    manifest, service = read.manifest, leave.service
    if manifest.schema not in (service.reply_schemas if manifest.is_reply else service.schemas):
        raise Refusal("schema_unknown", pointer="/dataschema")
    if len(read.wire.body) > service.max_body:
        raise Refusal("too_large", "the body", pointer="/datasize")
    try:
        body = strictjson.parse(read.wire.body)
    except strictjson.NotStrict as error:
        raise Refusal("body_json", str(error)) from None
    if not strictjson.is_nfc(read.wire.body, body):
        raise Refusal("body_nfc")
    held.check(manifest.schema, body)
    return body
