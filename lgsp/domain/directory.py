"""The directory: an immutable, signed snapshot of who exists, holds which key, offers what and may do what (protocol sections 1, 3 and 8).

`open_directory` takes the registrar's statement and the records' bytes, and gives a `Directory` or a refusal; `open_excerpt` takes a few of the
records with the proof that they are the statement's. Decisions on it are `policy`'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from math import ceil
from typing import Any, Final

from lgsp.domain import base64url, envelope, jws, keys, merkle, names, records, statements, strictjson
from lgsp.domain.keys import PublicKey, Role
from lgsp.domain.records import Record
from lgsp.errors import Refusal

ZONE: Final = timezone(timedelta(hours=7), "Asia/Ho_Chi_Minh")
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A registered key."""

    record: records.KeyRecord
    public: PublicKey

    @property
    def owner(self) -> str:
        """The URN that the key belongs to."""
        return self.record.owner

    @property
    def role(self) -> Role:
        """The one role of the key."""
        return self.record.role


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """One version of the directory, indexed."""

    bus: str
    version: int
    statement: bytes
    at: datetime
    log: str
    """The origin of the bus's log, "" where the record of the bus names none."""
    encoded: tuple[bytes, ...]
    agencies: dict[str, records.AgencyRecord]
    systems: dict[str, records.SystemRecord]
    officers: dict[str, records.OfficerRecord]
    keys: dict[str, Key]
    services: dict[str, records.ServiceRecord]
    schemas: dict[str, records.SchemaRecord]
    grants: dict[tuple[str, str], tuple[records.GrantRecord, ...]]
    subscriptions: dict[str, tuple[records.SubscriptionRecord, ...]]
    delegations: tuple[records.DelegationRecord, ...]
    largest_body: int = field(init=False)
    """The most bytes that any service allows for a body; 0 without services."""
    counted: frozenset[tuple[str, str]] = field(init=False)
    """(Grantee, type) of the grants that state a quota."""
    decided: dict[Hashable, Any] = field(init=False, repr=False, compare=False, default_factory=dict)
    """What `policy` has found out about this version, so as not to find it out again for every envelope; it changes no answer."""

    def __post_init__(self) -> None:
        largest = max((service.max_body for service in self.services.values()), default=0)
        object.__setattr__(self, "largest_body", largest)
        counted = (key for key, held in self.grants.items() if any(grant.quota_per_day is not None for grant in held))
        object.__setattr__(self, "counted", frozenset(counted))

    @property
    def hash(self) -> str:
        """The hash of the statement: `prev` of the next one."""
        return jws.hash_of(self.statement)

    def key(self, kid: str, typ: str) -> Key:
        """Return the key that may carry `typ` in this version; refuse as `kid_unknown`, `key_role` or `key_not_valid`."""
        found = self.keys.get(kid)
        if found is None:
            raise Refusal("kid_unknown")
        if typ not in keys.ROLE_SIGNS[found.role]:
            raise Refusal("key_role")
        if not found.record.holds_at(self.version):
            raise Refusal("key_not_valid")
        return found

    def keys_of(self, owner: str) -> list[Key]:
        """Return the owner's keys that are valid in this version."""
        return [key for key in self.keys.values() if key.owner == owner and key.record.holds_at(self.version)]

    def bridge_for(self, principal: str, message_type: str) -> str | None:
        """Return the system that stands for `principal` for this type, if any."""
        return next(
            (
                held.bridge
                for held in self.delegations
                if held.principal == principal and self._covers(held, message_type)
            ),
            None,
        )

    def bridges_of(self, principal: str) -> set[str]:
        """Return the systems that stand for `principal` for any type."""
        return {held.bridge for held in self.delegations if held.principal == principal and held.holds_at(self.version)}

    def principals_of(self, bridge: str) -> set[str]:
        """Return the systems that `bridge` stands for, for any type."""
        return {held.principal for held in self.delegations if held.bridge == bridge and held.holds_at(self.version)}

    def may_sign_for(self, owner: str, source: str, message_type: str) -> bool:
        """Tell whether a key of `owner` may sign as `source`: its own name, or under a delegation for the type."""
        if owner == source:
            return True
        return any(
            held.bridge == owner and held.principal == source and self._covers(held, message_type)
            for held in self.delegations
        )

    def stands_for(self, system: str, audience: str, message_type: str) -> bool:
        """Tell whether a message to `audience` may be received by `system`: for itself, or for a principal that it stands for.

        A receiver takes what is addressed to itself, its agency, a topic that it subscribes to, or what its agency has inherited.
        """
        if system == audience:  # as nearly always
            return True
        principals = {
            held.principal for held in self.delegations if held.bridge == system and self._covers(held, message_type)
        }
        return any(self._receives(receiver, audience) for receiver in {system} | principals)

    def _receives(self, receiver: str, audience: str) -> bool:
        own = names.agency_of(receiver)
        if audience in {receiver, own} or self._succeeds(own, names.agency_of(audience)):
            return True
        topic = audience.removeprefix("urn:lgsp:topic:")
        return any(held.subscriber == receiver for held in self.subscriptions.get(topic, ()))

    def is_subscribed(self, ids: Iterable[str]) -> bool:
        """Tell whether any of these subscriptions, by the ids of their records, is in force."""
        wanted = set(ids)
        return any(held.id in wanted for group in self.subscriptions.values() for held in group)

    def _covers(self, held: records.DelegationRecord, message_type: str) -> bool:
        return held.holds_at(self.version) and held.covers(message_type)

    def _succeeds(self, heir: str, agency: str) -> bool:
        found = self.agencies.get(agency)
        return found is not None and heir in found.successors


def day_of(moment: datetime) -> date:
    """Return the day of a moment in the bus's zone, by which validity dates and quotas are counted."""
    return moment.astimezone(ZONE).date()


def left_of_day(moment: datetime) -> int:
    """Return in how many seconds, rounded up, the next day begins in the bus's zone."""
    here = moment.astimezone(ZONE)
    return ceil((here.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1) - here).total_seconds())


def open_directory(statement: bytes, encoded: Sequence[bytes], registrar: PublicKey, *, bus: str) -> Directory:
    """Return the directory of a statement by the pinned registrar key; refuse (`directory_invalid`) anything that does not fit."""
    payload = _payload(statement, registrar)
    ordered = tuple(sorted(encoded))
    root = "sha-256:" + base64url.encode(merkle.root([merkle.leaf_hash(record) for record in ordered]))
    version = payload.get("version")
    if payload.get("bus") != bus or type(version) is not int or version < 1:
        raise Refusal("directory_invalid", "the statement is another bus's or has no version")
    if payload.get("size") != len(ordered) or payload.get("root") != root:
        raise Refusal("directory_invalid", "the records are not those of the statement")
    if len(set(ordered)) != len(ordered):
        raise Refusal("directory_invalid", "a record stands twice")
    return _indexed(
        [records.parse(record) for record in ordered],
        bus=bus,
        version=version,
        statement=statement,
        at=_time_of(payload),
        encoded=ordered,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One record with its place among those of a version, sorted bytewise, and the path from there to the statement's root."""

    record: bytes
    pos: int
    path: tuple[bytes, ...]


def place(directory: Directory, wanted: Collection[tuple[str, str]]) -> tuple[Placed, ...]:
    """Return the records of these (kind, id) that the directory holds, each with its path; those that it does not hold are left out."""
    _, paths = merkle.batch_paths([merkle.leaf_hash(record) for record in directory.encoded])
    return tuple(
        Placed(record=record, pos=pos, path=tuple(path))
        for pos, (record, path) in enumerate(zip(directory.encoded, paths, strict=True))
        if _name_of(record) in wanted
    )


def _name_of(record: bytes) -> tuple[str, str]:
    members = strictjson.parse_object(record)
    return str(members["kind"]), str(members["id"])


def open_excerpt(statement: bytes, placed: Sequence[Placed], registrar: PublicKey, *, bus: str) -> Directory:
    """Return the part of a version that these records are; refuse (`directory_invalid`) what the registrar did not sign.

    It says what is there. Of what is not in it, it says nothing: never take its silence for a "no" of the directory.
    """
    payload = _payload(statement, registrar)
    version, size, root = payload.get("version"), payload.get("size"), _root_of(payload)
    if payload.get("bus") != bus or type(version) is not int or version < 1 or type(size) is not int:
        raise Refusal("directory_invalid", "the statement is another bus's or has no version")
    for each in placed:
        if not merkle.verify_inclusion(merkle.leaf_hash(each.record), each.pos, size, each.path, root):
            raise Refusal("directory_invalid", f"record {each.pos} is not one of the statement's")
    return _indexed(
        [records.parse(each.record) for each in placed],
        bus=bus,
        version=version,
        statement=statement,
        at=_time_of(payload),
        encoded=tuple(each.record for each in placed),
    )


def _root_of(payload: dict[str, object]) -> bytes:
    root = str(payload.get("root"))
    if envelope.HASH_FORM.fullmatch(root) is None:
        raise Refusal("directory_invalid", "the statement has no root")
    try:
        return base64url.decode(root.removeprefix("sha-256:"))
    except ValueError:
        raise Refusal("directory_invalid", "the statement has no root") from None


def _time_of(payload: dict[str, object]) -> datetime:
    try:
        return envelope.parse_time(str(payload.get("ts")))
    except ValueError:
        raise Refusal("directory_invalid", "the statement has no time of the protocol's form") from None


def previous_of(statement: bytes) -> str:
    """Return the hash that a verified statement gives as the one before, "" for the first."""
    payload = strictjson.parse_object(base64url.decode(statement.split(b".")[1]))
    return str(payload.get("prev", ""))


def _payload(statement: bytes, registrar: PublicKey) -> dict[str, object]:
    try:
        parsed = jws.parse(statement, typ=statements.DIRECTORY)
        if parsed.kid != registrar.kid:
            raise Refusal("directory_invalid", "the statement is not by the pinned registrar")
        jws.verify(parsed, registrar)
        return strictjson.parse_object(parsed.payload)
    except strictjson.NotStrict:
        raise Refusal("directory_invalid", "the statement is not strict JSON") from None
    except Refusal as refusal:
        if refusal.code == "directory_invalid":
            raise
        raise Refusal("directory_invalid", f"the statement does not verify: {refusal.code}") from None


def empty_directory(bus: str) -> Directory:
    """Return version 0: nobody exists and nothing is allowed."""
    return _indexed([], bus=bus, version=0, statement=b"", at=BEGINNING, encoded=())


def _indexed(
    found: Sequence[Record], *, bus: str, version: int, statement: bytes, at: datetime, encoded: tuple[bytes, ...]
) -> Directory:
    _refuse_doubles(found)
    grants: defaultdict[tuple[str, str], list[records.GrantRecord]] = defaultdict(list)
    for grant in _of(found, records.GrantRecord):
        grants[grant.grantee, grant.type].append(grant)
    subscriptions: defaultdict[str, list[records.SubscriptionRecord]] = defaultdict(list)
    for subscription in _of(found, records.SubscriptionRecord):
        if subscription.holds_at(version):
            subscriptions[subscription.type].append(subscription)
    return Directory(
        bus=bus,
        version=version,
        statement=statement,
        at=at,
        log=next((record.log or "" for record in _of(found, records.BusRecord)), ""),
        encoded=encoded,
        agencies={record.id: record for record in _of(found, records.AgencyRecord)},
        systems={record.id: record for record in _of(found, records.SystemRecord)},
        officers={record.id: record for record in _of(found, records.OfficerRecord)},
        keys={record.id: _key(record) for record in _of(found, records.KeyRecord)},
        services={record.id: record for record in _of(found, records.ServiceRecord)},
        schemas={record.id: record for record in _of(found, records.SchemaRecord)},
        grants={pair: tuple(held) for pair, held in grants.items()},
        subscriptions={topic: tuple(held) for topic, held in subscriptions.items()},
        delegations=tuple(_of(found, records.DelegationRecord)),
    )


def _of(found: Iterable[Record], kind: type[records.T]) -> list[records.T]:
    return [record for record in found if isinstance(record, kind)]


def _refuse_doubles(found: Iterable[Record]) -> None:
    seen: set[tuple[str, str]] = set()
    for record in found:
        if (record.kind, record.id) in seen:
            raise Refusal("directory_invalid", f"{record.kind} {record.id} stands twice")
        seen.add((record.kind, record.id))


def _key(record: records.KeyRecord) -> Key:
    try:
        public = keys.public_key(record.jwk)
    except Refusal as refusal:
        raise Refusal("directory_invalid", f"key {record.id}: {refusal.detail}") from None
    if public.kid != record.id:
        raise Refusal("directory_invalid", f"key {record.id} is not the thumbprint of its JWK")
    if _role_of(record.owner) not in {record.role, "registrar" if record.role == "log" else record.role}:
        raise Refusal("directory_invalid", f"key {record.id} has a role that its owner cannot hold")
    return Key(record=record, public=public)


def _role_of(owner: str) -> Role:
    if names.SYSTEM_FORM.fullmatch(owner):
        return "system"
    if names.OFFICER_FORM.fullmatch(owner):
        return "officer"
    return "gateway" if names.GATEWAY_FORM.fullmatch(owner) else "registrar"


def broken_links(directory: Directory, documents: Iterable[str]) -> list[str]:
    """Return, in words, every record that names something the directory does not hold; `documents` are the URNs of schemas at hand."""
    at_hand = set(documents)
    found = [
        f"system {urn}: its agency is not registered"
        for urn in directory.systems
        if names.agency_of(urn) not in directory.agencies
    ]
    found += [
        f"officer {urn}: the agency is not registered"
        for urn in directory.officers
        if names.agency_of(urn) not in directory.agencies
    ]
    found += [
        f"key {kid}: its owner is not registered"
        for kid, key in directory.keys.items()
        if not _owner_exists(directory, key)
    ]
    found += [
        f"agency {agency.id}: successor {urn} is not registered"
        for agency in directory.agencies.values()
        for urn in agency.successors
        if urn not in directory.agencies
    ]
    found += [f"schema {urn}: its document is missing" for urn in directory.schemas if urn not in at_hand]
    for service in directory.services.values():
        found += [
            f"service {service.id}: schema {urn} is not registered"
            for urn in service.schemas + service.reply_schemas
            if urn not in directory.schemas
        ]
    for grant in (grant for group in directory.grants.values() for grant in group):
        found += _broken_grant(directory, grant)
    for delegation in directory.delegations:
        found += [
            f"delegation {delegation.id}: {urn} is not registered"
            for urn in (delegation.principal, delegation.bridge)
            if urn not in directory.systems
        ]
    for held in (subscription for group in directory.subscriptions.values() for subscription in group):
        found += _broken_subscription(directory, held)
    return found


def _owner_exists(directory: Directory, key: Key) -> bool:
    if key.role == "system":
        return key.owner in directory.systems
    if key.role == "officer":
        return key.owner in directory.officers
    return key.owner.startswith(directory.bus)


def _broken_grant(directory: Directory, grant: records.GrantRecord) -> list[str]:
    known = directory.systems.keys() | directory.agencies.keys()
    found = [f"grant {grant.id}: {grant.grantee} is not registered"] if grant.grantee not in known else []
    if grant.type not in directory.services:
        found.append(f"grant {grant.id}: service {grant.type} is not registered")
    if not grant.audience.startswith("urn:lgsp:topic:") and grant.audience not in known:
        found.append(f"grant {grant.id}: {grant.audience} is not registered")
    return found


def _broken_subscription(directory: Directory, held: records.SubscriptionRecord) -> list[str]:
    found = (
        [] if held.subscriber in directory.systems else [f"subscription {held.id}: {held.subscriber} is not registered"]
    )
    if held.type not in directory.services:
        found.append(f"subscription {held.id}: service {held.type} is not registered")
    return found
