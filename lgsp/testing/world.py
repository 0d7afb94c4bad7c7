"""A small made-up province for tests: keys from public seeds, a signed directory, schemas, grants, and envelopes that its systems really sign.

`World.make()` gives a province in which everything works; a test changes the one thing it is about:

    world = World.make(changes={"g-verify": {"quota_per_day": 3}})
    wire = world.envelope(purpose="dpv:Marketing")

Keys are made of the names below, so nobody may ever trust them outside tests. Running a bus on top is left to the tests that need one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

from lgsp.domain import admission, directory, envelope, exchange, jws, keys, names, statements, strictjson
from lgsp.domain.contracts import Contracts
from lgsp.domain.envelope import Wire

BUS: Final = "urn:lgsp:bus:91"
GATEWAY: Final = "urn:lgsp:bus:91:gw:a"
LOG: Final = "lgsp.example.vn/91/2026"
FISHERIES: Final = "urn:lgsp:agency:H01.12:sys:vnfishbase"
POLICE: Final = "urn:lgsp:agency:H01.21:sys:police"
ONE_STOP: Final = "urn:lgsp:agency:H01.31:sys:one-stop"
NDXP: Final = "urn:lgsp:agency:H01.05:sys:ndxp"
POPULATION: Final = "urn:lgsp:agency:G01.02:sys:population"
IOC: Final = "urn:lgsp:agency:H01.02:sys:ioc"
OFFICER: Final = "urn:lgsp:agency:H01.12:officer:7f3a91"
AUDITOR: Final = "urn:lgsp:agency:H01.05:officer:a0d170"

VERIFY: Final = "vn.lgsp.population.citizen.verify.v1"
VERIFY_REPLY: Final = "vn.lgsp.population.citizen.verify.reply.v1"
OWNER_LIST: Final = "vn.lgsp.fisheries.owner-list.complete.v1"
VERIFY_SCHEMA: Final = "urn:lgsp:schema:population:citizen-verify-request:1.0.0"
VERIFY_REPLY_SCHEMA: Final = "urn:lgsp:schema:population:citizen-verify-reply:1.0.0"
OWNER_LIST_SCHEMA: Final = "urn:lgsp:schema:fisheries:owner-list-request:1.0.0"
OWNER_LIST_REPLY_SCHEMA: Final = "urn:lgsp:schema:fisheries:owner-list-reply:1.0.0"

NOW: Final = datetime(2026, 11, 22, 0, 16, 31, 123_000, tzinfo=UTC)
BODY: Final[Mapping[str, Any]] = {
    "personalNumber": "099185000017",
    "fullName": "NGUYỄN THỊ ÁNH TUYẾT",
    "birthDate": "1985",
}
VERIFICATION: Final[Mapping[str, Any]] = {
    "audience": POPULATION,
    "schema": VERIFY_SCHEMA,
    "body": dict(BODY),
    "purpose": "dpv:IdentityVerification",
    "legalbasis": "dpv:LegalObligation",
    "procedure": "1.004359",
    "casefile": "H01.12-20261122-0000001",
    "authid": "7f3a91",
}
"""What a client states of a question about that person, as its grant wants it."""
OWNERS: Final[Mapping[str, tuple[str, keys.Role]]] = {
    "fisheries": (FISHERIES, "system"),
    "police": (POLICE, "system"),
    "one-stop": (ONE_STOP, "system"),
    "ndxp": (NDXP, "system"),
    "ioc": (IOC, "system"),
    "officer": (OFFICER, "officer"),
    "auditor": (AUDITOR, "officer"),
    "gateway": (GATEWAY, "gateway"),
    "registrar": (BUS, "registrar"),
    "log": (BUS, "log"),
}
"""Who holds a registered key: name of the signer, its URN and role. The population service has none; the bridge signs for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A made-up province at one moment."""

    directory: directory.Directory
    contracts: Contracts
    documents: Mapping[str, bytes]
    """Schema documents by URN."""
    signers: Mapping[str, keys.PrivateKey]
    """Private keys by the names of `OWNERS`."""
    now: datetime

    @classmethod
    def make(
        cls,
        *,
        version: int = 1,
        now: datetime = NOW,
        changes: Mapping[str, Mapping[str, Any] | None] | None = None,
        added: Iterable[Mapping[str, Any]] = (),
        signers: Mapping[str, keys.PrivateKey] | None = None,
        prev: str = "",
    ) -> World:
        """Return the province with some of it changed.

        `changes` are members to set by record id (None takes the record away; a member of None is left out), `added` further records,
        `signers` keys in place of those made of names. The registrar signs whatever comes out, broken or not.
        """
        held = {name: signer_named(name) for name in OWNERS} | dict(signers or {})
        found = _changed(province(held), changes or {}) + [dict(record) for record in added]
        encoded = [strictjson.compact(record) for record in found]
        statement = statements.sign_directory(
            encoded, signer=held["registrar"], bus=BUS, version=version, prev=prev, at=now
        )
        documents = schema_documents()
        return cls(
            directory=directory.open_directory(statement, encoded, held["registrar"].public, bus=BUS),
            contracts=Contracts(documents),
            documents=documents,
            signers=held,
            now=now,
        )

    def attributes(self, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value may be put to the test
        """Return the manifest of a verification by fisheries, before `datahash` and `datasize`; an attribute of None is left out."""
        found: dict[str, Any] = {
            "specversion": "1.0",
            "id": made_up_id(1),
            "source": FISHERIES,
            "type": VERIFY,
            "time": envelope.format_time(self.now),
            "recordedtime": envelope.format_time(self.now),
            "expirytime": envelope.format_time(self.now + timedelta(minutes=5)),
            "audience": POPULATION,
            "datacontenttype": "application/json",
            "dataschema": VERIFY_SCHEMA,
            "dataclassification": "restricted",
            "purpose": "dpv:IdentityVerification",
            "legalbasis": "dpv:LegalObligation",
            "procedure": "1.004359",
            "casefile": "H01.12-20261122-0000001",
            "authid": "7f3a91",
        }
        return {name: value for name, value in (found | changes).items() if value is not None}

    def envelope(
        self, *, body: object = BODY, signer: str = "fisheries", number: int = 1, **attributes: object
    ) -> Wire:
        """Return a signed envelope, by default a verification by fisheries; `number` makes its id, bytes as body are taken as they are."""
        stated = self.attributes(**({"id": made_up_id(number)} | attributes))
        return envelope.sign(stated, _encoded(body), self.signers[signer])

    def forged(self, payload: bytes, *, body: object = BODY, signer: str = "fisheries") -> Wire:
        """Return any payload under a good signature, without the checks that an honest sender makes."""
        return Wire(compact=jws.sign(payload, typ=envelope.TYP, signer=self.signers[signer]), body=_encoded(body))

    def manifest(self, *, body: object = BODY, **attributes: object) -> bytes:
        """Return a payload for `forged`: the manifest with body hash and size, members changed or taken away at will."""
        data = _encoded(body)
        stated = {"datahash": jws.hash_of(data), "datasize": len(data)} | attributes
        return strictjson.compact(self.attributes(**stated))

    def reply(
        self, request: Wire, *, body: object | None = None, signer: str = "ndxp", number: int = 2, **attributes: object
    ) -> Wire:
        """Return the answer of the population service, signed by its bridge, to one of this world's verifications."""
        asked = manifest_of(request)
        stated = {
            "source": POPULATION,
            "type": VERIFY_REPLY,
            "audience": asked.source,
            "dataschema": VERIFY_REPLY_SCHEMA,
            "causationid": asked.id,
        } | dict.fromkeys(("purpose", "legalbasis", "procedure", "casefile", "authid"))
        data = {"result": "match"} if body is None else body
        return self.envelope(body=data, signer=signer, number=number, **(stated | attributes))

    def read(self, wire: Wire) -> admission.Read | admission.Refused:
        """Return what the first ten checks say."""
        return admission.read(wire, self.directory)

    def judge(
        self, wire: Wire, *, request: exchange.Exchange | None = None, now: datetime | None = None, used: int = 0
    ) -> admission.Accepted | admission.Refused:
        """Return what all checks say; `used` is what every grant was used for today."""
        found = self.read(wire)
        if isinstance(found, admission.Refused):
            return found
        return admission.judge(
            found,
            directory=self.directory,
            held=self.contracts,
            now=now or self.now,
            request=request,
            used=lambda _grant: used,
        )

    def exchange(self, wire: Wire, *, reply: str = "") -> exchange.Exchange:
        """Return the accepted envelope as a ledger keeps it, with an empty receipt; raise what refuses it."""
        found = self.judge(wire)
        if isinstance(found, admission.Refused):
            raise found.refusal
        manifest, leave = found.read.manifest, found.leave
        return exchange.Exchange(
            source=manifest.source,
            id=manifest.id,
            env=wire.hash,
            type=manifest.type,
            audience=manifest.audience,
            receivers=tuple(target.receiver for target in leave.targets),
            accepted_at=self.now,
            expires=manifest.expires,
            reply_until=leave.reply_until,
            cause="",
            reply=reply,
            policy=self.directory.version,
            rule=leave.rule,
            compact=wire.compact,
            receipt="",
        )


def signer_named(name: str) -> keys.PrivateKey:
    """Return the Ed25519 key whose seed is the SHA-256 of a public name: for tests only."""
    return keys.ed25519_from_seed(hashlib.sha256(f"lgsp world {name}".encode()).digest())


def made_up_id(number: int) -> str:
    """Return a UUIDv7 whose last digits are the number, 0 <= number < 2**48."""
    return f"0199a1f2-7b1c-7000-8000-{number:012x}"


def manifest_of(wire: Wire) -> envelope.Manifest:
    """Return what an envelope states, without proving it."""
    return envelope.manifest_of(wire.compact)


def key_record(signer: keys.PrivateKey, owner: str, role: keys.Role = "system", **members: object) -> dict[str, Any]:
    """Return the record of a key; since version 1 unless `members` say otherwise."""
    return {
        "kind": "key", "id": signer.kid, "owner": owner, "role": role, "jwk": signer.public.jwk, "since": 1,
    } | members  # fmt: skip


def province(signers: Mapping[str, keys.PrivateKey]) -> list[dict[str, Any]]:
    """Return the records of the whole province with the keys of these signers."""
    return [
        {"kind": "bus", "id": BUS, "name": "An Giang", "log": LOG},
        *_agencies(),
        {"kind": "officer", "id": OFFICER},
        {"kind": "officer", "id": AUDITOR, "roles": ["auditor"]},
        *(key_record(signers[name], owner, role) for name, (owner, role) in OWNERS.items()),
        *_services(),
        *({"kind": "schema", "id": urn, "hash": jws.hash_of(data)} for urn, data in schema_documents().items()),
        *_grants(),
        {
            "kind": "delegation",
            "id": "d-population",
            "principal": POPULATION,
            "bridge": NDXP,
            "types": ["vn.lgsp.population.*"],
            "since": 1,
            "basis": "Decree 278/2025",
        },
    ]


def _agencies() -> list[dict[str, Any]]:
    consumes = {
        FISHERIES: [], POLICE: [OWNER_LIST], ONE_STOP: [OWNER_LIST], NDXP: [], IOC: [], POPULATION: ["vn.lgsp.population.*"],
    }  # fmt: skip
    agencies = [{"kind": "agency", "id": names.agency_of(urn)} for urn in consumes]
    systems = [
        {"kind": "system", "id": urn} | ({"consumes": types} if types else {}) for urn, types in consumes.items()
    ]
    return agencies + systems


def _services() -> list[dict[str, Any]]:
    return [
        {
            "kind": "service",
            "id": VERIFY,
            "schemas": [VERIFY_SCHEMA],
            "reply_schemas": [VERIFY_REPLY_SCHEMA],
            "requires": ["purpose", "legalbasis", "procedure", "authid"],
            "subjects": [
                {"pointer": "/personalNumber", "scheme": "CCCD"},
                {"pointer": "/oldNumber", "scheme": "CMND"},
            ],
        },
        {
            "kind": "service",
            "id": OWNER_LIST,
            "schemas": [OWNER_LIST_SCHEMA],
            "reply_schemas": [OWNER_LIST_REPLY_SCHEMA],
            "reply_within": 5 * 86_400,
            "requires": ["purpose"],
            "lane": "bulk",
            "reply_subjects": [{"pointer": "/rows/*/personalNumber", "scheme": "CCCD"}],
        },
    ]


def _grants() -> list[dict[str, Any]]:
    verify = {
        "type": VERIFY,
        "audience": POPULATION,
        "purposes": ["dpv:IdentityVerification"],
        "legalbases": ["dpv:LegalObligation"],
        "since": 1,
        "basis": "Decree 278/2025",
    }
    complete = verify | {"type": OWNER_LIST, "grantee": FISHERIES}
    return [
        {"kind": "grant", "id": "g-verify", "grantee": FISHERIES}
        | verify
        | {"procedures": ["1.004359"], "officers": ["7f3a91"]},
        {"kind": "grant", "id": "g-applicants", "grantee": ONE_STOP}
        | verify
        | {"procedures": ["1.001193"], "officers": ["5e12c0"]},
        {"kind": "grant", "id": "g-list-police"} | complete | {"audience": POLICE},
        {"kind": "grant", "id": "g-list-communes"} | complete | {"audience": ONE_STOP},
    ]


def _changed(found: Iterable[dict[str, Any]], changes: Mapping[str, Mapping[str, Any] | None]) -> list[dict[str, Any]]:
    merged = [(record, changes.get(record["id"], {})) for record in found]
    unknown = changes.keys() - {record["id"] for record, _ in merged}
    if unknown:
        raise KeyError(f"no such record: {sorted(unknown)}")
    return [
        {name: value for name, value in {**record, **change}.items() if value is not None}
        for record, change in merged
        if change is not None
    ]


def _encoded(body: object) -> bytes:
    return body if isinstance(body, bytes) else strictjson.compact(body)


@cache
def schema_documents() -> Mapping[str, bytes]:
    """Return every schema that is published with the project, by URN."""
    package = resources.files("lgsp")
    installed = package / "_schemas"
    folder = installed if installed.is_dir() else Path(str(package)).parent / "schemas"
    documents = [data for domain in folder.iterdir() if domain.is_dir() for data in _versions(domain)]
    return {strictjson.parse_object(data)["$id"]: data for data in sorted(documents)}


def _versions(domain: Traversable) -> Iterable[bytes]:
    for name in domain.iterdir():
        for version in name.iterdir():
            yield version.read_bytes()
