"""What a bundle of evidence proves: the ordered checks, bytes in, a verdict out (protocol section 7, *Bundles of evidence*).

1. `form`: strict JSON of the form, within its bounds; `bus`: that of the pins.
2. `directory`: every statement is the registrar's, every record stands under its root.
3. `checkpoint`: signed by the log's key and each pinned witness; `log`: each entry stands under it at its number and is of this exchange.
4. For the message, then for its reply: `envelope` (key valid in that version, signature, manifest), `sender` (whose key it is), `body`, `receipt`,
   `entry` (what the log says of it), `leave` (grant, or the request that it answers), `ack`.

Nothing is fetched or looked up, so a check says the same on every day and machine. What takes more than one exchange or the whole directory to
know (quotas, which system an agency's message went to) is not judged: who took the message over says so by its ack.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from lgsp.domain import checkpoint, directory, envelope, evidence, jws, merkle, names, policy, statements, strictjson
from lgsp.domain.checkpoint import Checkpoint
from lgsp.domain.directory import Directory, Key
from lgsp.domain.envelope import Manifest
from lgsp.domain.evidence import Acked, Bundle, Part
from lgsp.domain.keys import PublicKey
from lgsp.domain.notes import NoteKey
from lgsp.domain.records import GrantRecord, ServiceRecord
from lgsp.domain.statements import Signed
from lgsp.errors import Refusal

CheckName = Literal[
    "form", "bus", "directory", "checkpoint", "log", "envelope", "sender", "body", "receipt", "entry", "leave", "ack"
]
PartName = Literal["", "message", "reply"]

JUDGED_BEFORE: Final = timedelta(minutes=1)
"""An envelope is judged a moment before its entry is written; a grant that ended between the two counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What the verifier trusts beforehand; every witness named here must have co-signed."""

    bus: str
    registrar: PublicKey
    log: NoteKey
    witnesses: tuple[NoteKey, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check that held, of the whole bundle or of one part, and what it found, by name, for whoever tells of it."""

    name: CheckName
    part: PartName
    found: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The first check that does not hold, and why."""

    name: CheckName
    part: PartName
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenAck:
    """A receiver's word: who, when it signed, what it said."""

    to: str
    at: datetime
    outcome: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenPart:
    """An envelope of which every check held."""

    env: str
    manifest: Manifest
    signer: str
    """The owner of the key that signed: the source, or its bridge."""
    directory: Directory
    """The excerpt of the version that it was judged by."""
    receipt: Signed
    index: int
    accepted_at: datetime
    service: ServiceRecord
    grant: GrantRecord | None
    """None for a reply."""
    acks: tuple[ProvenAck, ...]
    body: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """A bundle of which every check held; entries as their members, in the order of the log."""

    checkpoint: Checkpoint
    entries: tuple[Mapping[str, Any], ...]
    message: ProvenPart
    reply: ProvenPart | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The checks that held, in order; then either the first that does not, or all that is proven."""

    checks: tuple[Check, ...]
    failure: Failure | None = None
    proven: Proven | None = None


class _Failed(Exception):
    """Carries the first failure out of the checks."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.words)


def verify(data: bytes, pins: Pins) -> Verdict:
    """Return the verdict on a bundle's bytes; never raises for what they hold."""
    run = _Run(pins=pins)
    try:
        proven = run.all(data)
    except _Failed as failed:
        return Verdict(checks=tuple(run.checks), failure=failed.failure)
    return Verdict(checks=tuple(run.checks), proven=proven)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """An entry that stands in the log."""

    index: int
    leaf: str
    members: Mapping[str, Any]

    def text(self, name: str) -> str:
        return str(self.members.get(name, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signed:
    """An envelope by a key that was valid in the version it was judged by."""

    env: str
    manifest: Manifest
    key: Key
    held: Directory


@dataclass(slots=True, kw_only=True)
class _Run:
    pins: Pins
    checks: list[Check] = field(default_factory=list)
    versions: dict[int, Directory] = field(default_factory=dict)
    entries: list[_Entry] = field(default_factory=list)

    @contextmanager
    def step(self, name: CheckName, part: PartName = "") -> Iterator[dict[str, str]]:
        """Note a check as held when its block ends, with what the block says it found; whatever refuses inside is the failure."""
        found: dict[str, str] = {}
        try:
            yield found
        except Refusal as refusal:
            words = f"{refusal.code}: {refusal.detail}" if refusal.detail else refusal.code
            raise _Failed(Failure(name=name, part=part, words=words)) from None
        except ValueError as error:
            raise _Failed(Failure(name=name, part=part, words=str(error))) from None
        self.checks.append(Check(name=name, part=part, found=found))

    def all(self, data: bytes) -> Proven:
        with self.step("form"):
            bundle = evidence.parse(data)
        with self.step("bus") as found:
            _demand(bundle.bus == self.pins.bus, "the bundle is of another bus than the trust file")
            found["bus"] = bundle.bus
        with self.step("directory") as found:
            self._open_directories(bundle)
            found["versions"] = ", ".join(map(str, sorted(self.versions)))
            found["records"] = str(sum(len(each.records) for each in bundle.directories))
        with self.step("checkpoint") as found:
            head = checkpoint.open_checkpoint(bundle.checkpoint, self.pins.log, self.pins.witnesses)
            self._check_log_key()
            found |= {"origin": head.origin, "size": str(head.size), "witnesses": str(len(self.pins.witnesses))}
        with self.step("log") as found:
            self._open_entries(bundle, head)
            found["indexes"] = ", ".join(str(each.index) for each in self.entries)
        message = self._check_part("message", bundle.message, None)
        reply = None if bundle.reply is None else self._check_part("reply", bundle.reply, message)
        return Proven(
            checkpoint=head, entries=tuple(each.members for each in self.entries), message=message, reply=reply
        )

    def _open_directories(self, bundle: Bundle) -> None:
        for each in bundle.directories:
            found = directory.open_excerpt(each.statement, each.records, self.pins.registrar, bus=self.pins.bus)
            _demand(found.version not in self.versions, f"version {found.version} of the directory stands twice")
            self.versions[found.version] = found

    def _check_log_key(self) -> None:
        """Where a version names the log's key, it is the pinned one."""
        for held in self.versions.values():
            named = [key.public.x for key in held.keys_of(self.pins.bus) if key.role == "log"]
            _demand(not named or self.pins.log.public in named, "the directory names another key of the log")

    def _open_entries(self, bundle: Bundle, head: Checkpoint) -> None:
        envs = {jws.hash_of(part.compact) for part in (bundle.message, bundle.reply) if part is not None}
        last = -1
        for each in bundle.entries:
            leaf = merkle.leaf_hash(each.entry)
            stands = merkle.verify_inclusion(leaf, each.index, head.size, each.path, head.root)
            _demand(stands, f"entry {each.index} does not stand in the log")
            members = strictjson.parse_object(each.entry)
            _demand(each.index > last, f"entry {each.index} is out of order")
            _demand(members.get("seq") == each.index, f"entry {each.index} has another number")
            _demand(members.get("env") in envs, f"entry {each.index} is another exchange's")
            self.entries.append(_Entry(index=each.index, leaf=statements.written_hash(leaf), members=members))
            last = each.index

    def _version(self, version: int) -> Directory:
        found = self.versions.get(version)
        if found is None:
            raise ValueError(f"version {version} of the directory is not in the bundle")
        return found

    def _check_part(self, name: PartName, part: Part, asked: ProvenPart | None) -> ProvenPart:
        signed = self._check_signed(name, part)
        manifest, held = signed.manifest, signed.held
        receipt, entry = self._check_recorded(name, part, signed, asked)
        accepted_at = envelope.parse_time(entry.text("ts"))
        service, grant = self._check_leave(name, signed, entry.text("rule"), accepted_at, asked)
        with self.step("ack", name) as found:
            acks = self._check_acks(part, signed.env, manifest, held)
            found |= {
                outcome: ", ".join(each.to for each in acks if each.outcome == outcome)
                for outcome in ("accepted", "rejected")
            }
        return ProvenPart(
            env=signed.env,
            manifest=manifest,
            signer=signed.key.owner,
            directory=held,
            receipt=receipt,
            index=entry.index,
            accepted_at=accepted_at,
            service=service,
            grant=grant,
            acks=acks,
            body=part.body,
        )

    def _check_signed(self, name: PartName, part: Part) -> _Signed:
        """Check what the sender signed: the envelope, for whom, and the body where it is there."""
        env = jws.hash_of(part.compact)
        with self.step("envelope", name) as found:
            # The receipt names the version; that it is a gateway's word is checked later, under the same version.
            held = self._version(statements.policy_of(part.receipt.jws))
            parsed = jws.parse(part.compact, typ=envelope.TYP)
            key = held.key(parsed.kid, envelope.TYP)
            jws.verify(parsed, key.public)
            manifest = envelope.parse_manifest(parsed.payload)
            found |= {"env": env, "kid": parsed.kid, "version": str(held.version)}
        with self.step("sender", name) as found:
            _demand(held.may_sign_for(key.owner, manifest.source, manifest.type), "the key may not sign for the source")
            found |= {"source": manifest.source, "signer": key.owner}
        with self.step("body", name) as found:
            if part.body is not None:
                envelope.check_body(manifest, part.body)
            found |= {"held": "" if part.body is None else "yes", "hash": manifest.body_hash}
        return _Signed(env=env, manifest=manifest, key=key, held=held)

    def _check_recorded(
        self, name: PartName, part: Part, signed: _Signed, asked: ProvenPart | None
    ) -> tuple[Signed, _Entry]:
        """Check what the bus made of it: the receipt, and the entry that it states."""
        with self.step("receipt", name) as found:
            receipt, item = self._check_receipt(part, signed.env, signed.manifest, signed.held)
            found |= {"gateway": receipt.iss, "at": envelope.format_time(receipt.at), "index": str(item["index"])}
        with self.step("entry", name) as found:
            entry = self._accepting(signed.env, item)
            _check_entry(entry, signed, receipt, asked)
            envelope.parse_time(entry.text("ts"))
            found |= {"index": str(entry.index), "at": entry.text("ts")}
        return receipt, entry

    def _check_leave(
        self, name: PartName, signed: _Signed, rule: str, at: datetime, asked: ProvenPart | None
    ) -> tuple[ServiceRecord, GrantRecord | None]:
        """Check why it was allowed: by a grant, or as the answer to a request."""
        held, manifest, grant = signed.held, signed.manifest, None
        with self.step("leave", name) as found:
            service = _service(held, manifest, asked)
            for system in (manifest.source, signed.key.owner):
                policy.refuse_suspended(held, system)
            if asked is None:
                grant = _grant(held, manifest, service, rule, at)
                found |= {"grant": grant.id, "basis": grant.basis}
            else:
                _check_answer(held, manifest, rule, at, asked)
                found["cause"] = asked.env
        return service, grant

    def _check_receipt(
        self, part: Part, env: str, manifest: Manifest, held: Directory
    ) -> tuple[Signed, Mapping[str, Any]]:
        kid = statements.kid_of(part.receipt.jws, typ=statements.RECEIPT)
        key = held.key(kid, statements.RECEIPT)
        signed = statements.verify_signature(part.receipt.jws, key.public, typ=statements.RECEIPT)
        _demand(
            signed.iss == key.owner and signed.iss.startswith(f"{self.pins.bus}:gw:"),
            "the receipt is not of a gateway of this bus",
        )
        # A log that lost entries goes on under another name: then the registrar had named the one of before.
        _demand(signed.payload.get("log") in {self.pins.log.name, held.log}, "the receipt is of another log")
        item = statements.open_item(part.receipt, signed)
        stated = {"env": env, "id": manifest.id, "src": manifest.source, "aud": manifest.audience}
        for name, value in {**stated, "outcome": "accepted"}.items():
            _demand(item.get(name) == value, f"the receipt states another {name} than the envelope")
        _demand(type(item.get("index")) is int and isinstance(item.get("leaf"), str), "the receipt names no entry")
        return signed, item

    def _accepting(self, env: str, item: Mapping[str, Any]) -> _Entry:
        found = [each for each in self.entries if each.text("ev") == "msg.accepted" and each.text("env") == env]
        _demand(len(found) == 1, "the bundle does not hold the one entry that accepted the envelope")
        [entry] = found
        _demand(
            (entry.index, entry.leaf) == (item["index"], item["leaf"]), "the receipt states another entry than the log"
        )
        return entry

    def _check_acks(self, part: Part, env: str, manifest: Manifest, held: Directory) -> tuple[ProvenAck, ...]:
        logged = {
            each.text("stmt"): each
            for each in self.entries
            if each.text("ev") == "msg.acked" and each.text("env") == env and each.text("stmt")
        }
        found = [self._check_ack(each, env, manifest, held, logged) for each in part.acks]
        _demand(not logged, "the log names an ack that the bundle does not hold")
        return tuple(found)

    def _check_ack(
        self, acked: Acked, env: str, manifest: Manifest, held: Directory, logged: dict[str, _Entry]
    ) -> ProvenAck:
        under = self._version(acked.version)
        key = under.key(statements.kid_of(acked.ack.jws, typ=statements.ACK), statements.ACK)
        signed = statements.verify_signature(acked.ack.jws, key.public, typ=statements.ACK)
        item = statements.open_item(acked.ack, signed)
        outcome, code = item.get("outcome"), str(item.get("code", ""))
        _demand(signed.iss == key.owner, "the ack names another system than its key's owner")
        _demand(item.get("env") == env and outcome in {"accepted", "rejected"}, "the ack is another envelope's")
        _demand(
            held.stands_for(signed.iss, manifest.audience, manifest.type), f"{signed.iss} is no receiver of the message"
        )
        entry = logged.pop(acked.ack.leaf, None)
        if entry is None or entry.text("to") != signed.iss:
            raise ValueError("the log does not name the ack")
        told = code or ("rejected" if outcome == "rejected" else "")
        _demand(entry.text("code") == told, "the log says another end than the ack")
        _demand(under.version >= held.version, "the ack is judged by a version before that of the acceptance")
        # A later version was not in force yet when an entry is older than its statement.
        _demand(
            under.version == held.version or under.at <= envelope.parse_time(entry.text("ts")),
            "the ack is judged by a version that came after it",
        )
        return ProvenAck(to=signed.iss, at=signed.at, outcome=str(outcome), code=code)


def _demand(holds: bool, words: str) -> None:  # noqa: FBT001 - a condition
    if not holds:
        raise ValueError(words)


def _check_entry(entry: _Entry, signed: _Signed, receipt: Signed, asked: ProvenPart | None) -> None:
    """Compare what the log says of an acceptance with what was signed."""
    manifest = signed.manifest
    stated = {
        "bus": receipt.iss,
        "id": manifest.id,
        "src": manifest.source,
        "aud": manifest.audience,
        "type": manifest.type,
        "schema": manifest.schema,
        "kid": signed.key.public.kid,
        "purpose": manifest.text("purpose"),
        "cause": asked.env if asked else "",
    }
    for name, value in stated.items():
        _demand(entry.text(name) == value, f"the log states another {name} than the envelope or its receipt")
    _demand(entry.members.get("policy") == signed.held.version, "the log states another version of the directory")


def _service(held: Directory, manifest: Manifest, asked: ProvenPart | None) -> ServiceRecord:
    """Return the contract of a message's type, which has its schema; refuse as `policy` does."""
    service = policy.service_of(held, manifest)
    declared = service.schemas if asked is None else service.reply_schemas
    _demand(manifest.schema in declared, "the service does not have this schema")
    return service


def _grant(held: Directory, manifest: Manifest, service: ServiceRecord, rule: str, at: datetime) -> GrantRecord:
    """Return the grant that the log names, if it allows the message at the entry's time or the moment before it."""
    _demand(not manifest.is_reply, "a reply stands where its request belongs")
    agency = held.agencies.get(names.agency_of(manifest.source))
    if agency is None or not agency.exists_on(directory.day_of(at - JUDGED_BEFORE)):
        raise ValueError("the sender's agency does not exist")
    try:
        grant = policy.find_grant(held, manifest, service, now=at, used=_unused)
    except Refusal:
        grant = policy.find_grant(held, manifest, service, now=at - JUDGED_BEFORE, used=_unused)
    _demand(grant.id == rule, "the log names another grant than the one that allows it")
    return grant


def _unused(_grant_id: str) -> int:
    """Leave quotas to the bus: a bundle shows one exchange, not the day's."""
    return 0


def _check_answer(held: Directory, manifest: Manifest, rule: str, at: datetime, asked: ProvenPart) -> None:
    """Check that a reply answers the request, for its request is its grant: the right one, from where it was asked, in time."""
    stated = (manifest.audience, manifest.text("causationid"), manifest.type)
    wanted = (asked.manifest.source, asked.manifest.id, names.reply_type(asked.manifest.type))
    _demand(stated == wanted, "the reply answers another request")
    is_asked = held.stands_for(manifest.source, asked.manifest.audience, asked.manifest.type)
    _demand(is_asked, "the reply is not from where the request was sent")
    _demand(at <= asked.accepted_at + timedelta(seconds=asked.service.reply_within), "the reply is late")
    _demand(not rule, "the log names a grant for a reply")
