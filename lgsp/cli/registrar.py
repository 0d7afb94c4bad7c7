"""The registrar's desk, pure: from a directory and what a directory file wants to the next version, the difference between them, and its signature.

Reading the file is `directory.file`'s, bringing the new version to the bus `gateway_door`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from lgsp.cli.keys.policy import KeyPolicy, objections
from lgsp.cli.keys.possession import is_proven
from lgsp.domain import contracts, jws, keys, names, records, statements, strictjson
from lgsp.domain.directory import Directory, broken_links, open_directory
from lgsp.domain.keys import Signer
from lgsp.domain.records import Record
from lgsp.errors import Refusal, together

Name = tuple[str, str]
"""(kind, id) of a record."""

PROOF: Final = "proof"
"""Member of a key's row that is no part of its record. A row without it was made by whoever made the key, here and now."""

NEXT: Final = "next"
"""What a directory file writes for the version that it is about to make."""

AGENCY_MEMBERS: Final = frozenset({"grantee", "audience", "successors"})
SYSTEM_MEMBERS: Final = frozenset({"owner", "grantee", "audience", "subscriber", "principal", "bridge"})
VERSIONED: Final = frozenset({"key", "grant", "subscription", "delegation"})
REHEARSAL: Final = keys.ed25519_from_seed(bytes(32))
"""Signs what is only looked at: a new version is checked as a gateway would before the registrar's key is taken out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a directory file asks for: members of records as written, names to be gone, schema documents.

    `documents` are those that the file points to; `shipped` are taken where neither the file nor the bus has one.
    """

    stated: tuple[dict[str, Any], ...]
    removed: tuple[Name, ...] = ()
    documents: Mapping[str, bytes] = field(default_factory=dict)
    shipped: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One record that is added (`before` is None), altered, or removed (`after` is None)."""

    name: Name
    before: Record | None
    after: Record | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The next version of a directory, unsigned; without changes there is none to make."""

    bus: str
    version: int
    prev: str
    records: tuple[bytes, ...]
    documents: dict[str, bytes]
    """Schema documents that the bus does not hold yet."""
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A signed version, ready to be brought to the bus."""

    version: int
    statement: bytes
    records: tuple[bytes, ...]
    documents: dict[str, bytes]


def draw_plan(directory: Directory, wanted: Wanted, held: Mapping[str, bytes], policy: KeyPolicy) -> Plan:
    """Return the next version in which all that is wanted holds; refuse (`directory_invalid`) with every problem on a line of its own.

    `held` are the schema documents that the bus has. Records that the file does not name stay as they are.
    """
    present = {(record.kind, record.id): record for record in map(records.parse, directory.encoded)}
    documents = _documents(wanted, held)
    rows = _complete(wanted, present, directory.version + 1, documents)
    proofs = {row["id"]: str(row.pop(PROOF)) for row in rows if row["kind"] == "key" and PROOF in row}
    stated = _stated(rows)
    _refuse_contradictions(wanted, stated, present)
    _refuse_ended(stated, present, directory.version)
    added = [record for name, record in stated.items() if name not in present]
    _refuse_unproven(added, proofs, directory.bus, policy)
    future = {name: record for name, record in (present | stated).items() if name not in set(wanted.removed)}
    plan = Plan(
        bus=directory.bus,
        version=directory.version + 1,
        prev=directory.hash if directory.version else "",
        records=tuple(record.encoded() for record in future.values()),
        documents={urn: document for urn, document in documents.items() if urn not in held},
        changes=tuple(_changes(present, future)),
    )
    _rehearse(plan, {**held, **documents}, policy)
    return plan


def sign_plan(plan: Plan, signer: Signer, at: datetime) -> Sealed:
    """Return the version signed by the registrar's key."""
    statement = statements.sign_directory(
        plan.records, signer=signer, bus=plan.bus, version=plan.version, prev=plan.prev, at=at
    )
    return Sealed(version=plan.version, statement=statement, records=plan.records, documents=plan.documents)


def _documents(wanted: Wanted, held: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the documents of the wanted schemas and of all that they refer to."""
    found: dict[str, bytes] = {}
    waiting = [str(row.get("id")) for row in wanted.stated if row.get("kind") == "schema"]
    while waiting:
        urn = waiting.pop()
        document = wanted.documents.get(urn, held.get(urn, wanted.shipped.get(urn)))
        if urn not in found and document is not None:
            found[urn] = document
            waiting += _references(urn, document)
    altered = [urn for urn, document in found.items() if held.get(urn, document) != document]
    if altered:
        raise _invalid(f"schema {urn}: a published version never changes; publish a new one" for urn in altered)
    return found


def _references(urn: str, document: bytes) -> list[str]:
    try:
        schema = strictjson.parse_object(document)
    except strictjson.NotStrict:
        return []  # refused at the rehearsal, beside whatever else is wrong
    return [reference.partition("#")[0] or urn for reference in contracts.references(schema)]


def _stated(rows: Iterable[Mapping[str, Any]]) -> dict[Name, Record]:
    found: dict[Name, Record] = {}
    problems: list[str] = []
    for row in rows:
        try:
            record = records.from_members(dict(row))
        except Refusal as refusal:
            problems.append(refusal.detail)
            continue
        if (record.kind, record.id) in found:
            problems.append(f"{record.kind} {record.id}: stands twice in the file")
        found[record.kind, record.id] = record
    if problems:
        raise _invalid(problems)
    return found


def _complete(
    wanted: Wanted, present: Mapping[Name, Record], version: int, documents: Mapping[str, bytes]
) -> list[dict[str, Any]]:
    """Return the members of all wanted records, with short names written out and what can be known filled in.

    Schemas that a wanted schema refers to come along: a gateway validates by published documents alone.
    """
    rows = list(wanted.stated)
    listed = {row.get("id") for row in rows if row.get("kind") == "schema"}
    rows += [{"kind": "schema", "id": urn} for urn in sorted(documents.keys() - listed)]
    completed: list[dict[str, Any]] = []
    problems: list[Refusal] = []
    for row in rows:
        try:
            completed.append(_completed(row, present, version, documents))
        except Refusal as problem:
            problems.append(problem)
    if problems:
        raise together(problems)
    return completed


def _completed(
    row: Mapping[str, Any], present: Mapping[Name, Record], version: int, documents: Mapping[str, bytes]
) -> dict[str, Any]:
    kind = str(row.get("kind"))
    members = {name: _long(kind, name, value) for name, value in row.items()}
    if kind == "key":
        members |= _key_members(members)
    if kind == "schema":
        members |= _schema_members(str(members.get("id")), documents)
    if kind in VERSIONED:
        members |= _versions(members, present.get((kind, str(members.get("id")))), version)
    return members


def _key_members(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the key's JWK in the one form that the bus writes, and its thumbprint; refuse (`key_refused`) what is no key of ours."""
    jwk = members.get("jwk")
    try:
        public = keys.public_key(jwk if isinstance(jwk, dict) else {})
    except Refusal as refusal:
        raise Refusal("key_refused", f"key of {members.get('owner', '?')}: {refusal.detail}") from None
    if members.get("id", public.kid) != public.kid:
        raise Refusal("key_refused", f"key of {members.get('owner', '?')}: id is not the thumbprint of the JWK")
    return {"id": public.kid, "jwk": public.jwk}


def _schema_members(urn: str, documents: Mapping[str, bytes]) -> dict[str, Any]:
    if urn not in documents:
        raise _invalid([f"schema {urn}: its document is missing; give it with file ="])
    return {"hash": jws.hash_of(documents[urn])}


def _versions(members: Mapping[str, Any], before: Record | None, version: int) -> dict[str, Any]:
    """A record keeps the version it began with; `until = "next"` ends it once, however often the file is applied."""
    began = getattr(before, "since", version)
    found = {"since": began if members.get("since", NEXT) == NEXT else members["since"]}
    if members.get("until") == NEXT:
        found["until"] = getattr(before, "until", None) or version
    return found


def _long(kind: str, member: str, value: object) -> object:
    if isinstance(value, list):
        return [_long(kind, member, each) for each in value] if member in AGENCY_MEMBERS else value
    if not isinstance(value, str) or value.startswith("urn:"):
        return value
    if (member in SYSTEM_MEMBERS or (kind, member) == ("system", "id")) and names.SHORT_SYSTEM_FORM.fullmatch(value):
        return names.system_urn(value)
    if (member in AGENCY_MEMBERS or (kind, member) == ("agency", "id")) and _is_agency_code(value):
        return names.agency_urn(value)
    return value


def _is_agency_code(value: str) -> bool:
    return any(form.fullmatch(value) for form in (names.AGENCY_CODE_FORM, names.LEGACY_CODE_FORM))


def long_name(kind: str, written: str) -> Name:
    """Return the name of a record whose id may be written in the short form."""
    return kind, str(_long(kind, "id", written))


def _refuse_contradictions(wanted: Wanted, stated: Mapping[Name, Record], present: Mapping[Name, Record]) -> None:
    problems = [f"{kind} {id_}: is wanted and removed at once" for kind, id_ in wanted.removed if (kind, id_) in stated]
    problems += [words for name, record in stated.items() if (words := _moved_key(present.get(name), record))]
    if problems:
        raise _invalid(problems)


def _refuse_ended(stated: Mapping[Name, Record], present: Mapping[Name, Record], version: int) -> None:
    """Refuse to let a key hold again that was ended: whoever ended it may have had to."""
    problems = [
        f"key {after.id}: ended with version {before.until} and never holds again; make a new one, or state its until"
        for name, after in stated.items()
        if isinstance(before := present.get(name), records.KeyRecord) and isinstance(after, records.KeyRecord)
        if before.until is not None and before.until <= version and after.until != before.until
    ]
    if problems:
        raise Refusal("key_refused", "\n".join(problems))


def _refuse_unproven(added: Iterable[Record], proofs: Mapping[str, str], bus: str, policy: KeyPolicy) -> None:
    unproven = [
        record
        for record in added
        if isinstance(record, records.KeyRecord)
        and record.id in proofs
        and policy.role[record.role].proof
        and not is_proven(keys.public_key(record.jwk), proofs[record.id], owner=record.owner, bus=bus)
    ]
    if unproven:
        problems = (f"key {record.id}: no proof that {record.owner} holds it (lgsp keys prove)" for record in unproven)
        raise Refusal("key_refused", "\n".join(problems))


def _moved_key(before: Record | None, after: Record) -> str:
    if not (isinstance(before, records.KeyRecord) and isinstance(after, records.KeyRecord)):
        return ""
    if (before.owner, before.role) == (after.owner, after.role):
        return ""
    return f"key {after.id}: belongs to {before.owner} as {before.role} and never to another"


def _changes(present: Mapping[Name, Record], future: Mapping[Name, Record]) -> Iterable[Change]:
    for name in sorted(present.keys() | future.keys()):
        before, after = present.get(name), future.get(name)
        if before != after:
            yield Change(name=name, before=before, after=after)


def _rehearse(plan: Plan, documents: Mapping[str, bytes], policy: KeyPolicy) -> None:
    """Check the new version as a gateway will, and for what only the registrar looks after."""
    sealed = sign_plan(plan, REHEARSAL, datetime.fromisoformat("2026-01-01T00:00:00Z"))
    found = open_directory(sealed.statement, sealed.records, REHEARSAL.public, bus=plan.bus)
    problems = broken_links(found, documents) + objections(policy, found)
    for urn in found.schemas:
        problems += _document_problems(urn, documents)
    if problems:
        raise _invalid(problems)


def _document_problems(urn: str, documents: Mapping[str, bytes]) -> list[str]:
    if urn not in documents:
        return []
    try:
        contracts.check_document(urn, documents[urn], documents)
    except Refusal as refusal:
        return [refusal.detail]
    return []


def members_changed(change: Change) -> list[tuple[str, str, str]]:
    """Return (member, before, after) of everything in which the two records differ, as compact JSON text or ""."""
    before, after = _texts(change.before), _texts(change.after)
    ordered = list(dict.fromkeys([*before, *after]))
    return [
        (name, before.get(name, ""), after.get(name, "")) for name in ordered if before.get(name) != after.get(name)
    ]


def _texts(record: Record | None) -> dict[str, str]:
    if record is None:
        return {}
    members = strictjson.parse_object(record.encoded())
    return {name: strictjson.compact(value).decode() for name, value in members.items() if name not in {"kind", "id"}}


def _invalid(problems: Iterable[str]) -> Refusal:
    return Refusal("directory_invalid", "\n".join(problems))
