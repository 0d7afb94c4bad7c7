"""The registrar of a simulated bus: writes down what a test declares and signs each version of it.

A bus of one's own begins with the services and schemas that ship with the project, and with nobody on it: nothing is allowed until a test
grants it. Keys are made of public names; nobody may ever trust them outside tests. Putting a version in place is the simulator's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from lgsp.domain import directory, jws, keys, names, statements, strictjson
from lgsp.domain.contracts import Contracts
from lgsp.testing.world import BUS, OWNERS, World, key_record, province, schema_documents, signer_named

BEGINS_WITH: Final = frozenset({"bus", "service", "schema"})
OF_THE_BUS: Final = ("gateway", "log")
BASIS: Final = "a test"


class Registrar:
    """The records of one simulated bus."""

    def __init__(self) -> None:
        self._signers: dict[str, keys.PrivateKey] = {name: signer_named(name) for name in (*OF_THE_BUS, "registrar")}
        self._documents = dict(schema_documents())
        self._records: dict[tuple[str, str], dict[str, Any]] = {}
        self._is_changed = True
        self.version = 0
        self.answerers: dict[str, set[str]] = {}
        """Whom grants name as audience, by message type."""
        for record in province({name: signer_named(name) for name in OWNERS}):
            if record["kind"] in BEGINS_WITH:
                self.record(**record)
        for name in (*OF_THE_BUS, "registrar"):
            self.record(**key_record(self._signers[name], *OWNERS[name]))

    @property
    def is_changed(self) -> bool:
        """Whether something was declared since the last version."""
        return self._is_changed

    def record(self, **members: Any) -> None:  # noqa: ANN401 - any JSON value may stand in a record
        """Write down a record as protocol section 3 has it, in place of the one of its kind and id."""
        self._records[members["kind"], members["id"]] = members
        self._is_changed = True

    def system(self, name: str, *, consumes: Sequence[str] = ()) -> str:
        """Write down a system with its agency and a key, and what it takes beside what it took before; return its URN."""
        urn = names.system_urn(name)
        agency = names.agency_of(urn)
        if ("agency", agency) not in self._records:
            self.record(kind="agency", id=agency)
        if ("system", urn) not in self._records:
            self._signers[urn] = signer_named(urn)
            self.record(**key_record(self._signers[urn], urn, since=self.version + 1))
        taken = [*self._records.get(("system", urn), {}).get("consumes", ()), *consumes]
        self.record(kind="system", id=urn, consumes=list(dict.fromkeys(taken)))
        return urn

    def schema(self, document: Mapping[str, Any]) -> str:
        """Write down a JSON Schema 2020-12 document and return its URN, which is its `$id`."""
        urn, data = str(document["$id"]), strictjson.compact(document)
        self._documents[urn] = data
        self.record(kind="schema", id=urn, hash=jws.hash_of(data))
        return urn

    def grant(self, grantee: str, type_: str, to: str, members: Mapping[str, Any]) -> str:
        """Write down a grant to a system, for an audience that is a system or any URN, and return its id."""
        audience = to if to.startswith("urn:") else names.system_urn(to)
        if names.is_system(audience):
            self.system(audience, consumes=[type_])
        self.answerers.setdefault(type_, set()).add(audience)
        identifier = f"grant-{sum(kind == 'grant' for kind, _ in self._records) + 1}"
        lists = {name: list(value) if isinstance(value, tuple) else value for name, value in members.items() if value}
        stated = {"basis": BASIS, "since": self.version + 1} | lists
        fixed = {
            "kind": "grant",
            "id": identifier,
            "grantee": self.system(grantee),
            "type": type_,
            "audience": audience,
        }
        self.record(**fixed | stated)
        return identifier

    def revoke(self, grant: str) -> None:
        """End a grant with the next version."""
        self.record(**self._records["grant", grant] | {"until": self.version + 1})

    def subscribe(self, subscriber: str, type_: str) -> str:
        """Write down a subscription to a topic and return its id."""
        identifier = f"subscription-{sum(kind == 'subscription' for kind, _ in self._records) + 1}"
        urn = self.system(subscriber, consumes=[type_])
        self.record(kind="subscription", id=identifier, subscriber=urn, type=type_, since=self.version + 1)
        return identifier

    def key_of(self, system: str) -> keys.PrivateKey:
        """Return the private key of a system that was written down; raise `KeyError` for another."""
        return self._signers[names.system_urn(system)]

    @property
    def public(self) -> keys.PublicKey:
        """The key under which the directory is believed."""
        return self._signers["registrar"].public

    def sign(self, now: datetime, prev: str) -> World:
        """Sign the next version, which follows the one whose statement has the hash `prev`; refuse (`directory_invalid`) what is no directory."""
        encoded = [strictjson.compact(record) for record in self._records.values()]
        signer = self._signers["registrar"]
        statement = statements.sign_directory(
            encoded, signer=signer, bus=BUS, version=self.version + 1, prev=prev, at=now
        )
        opened = directory.open_directory(statement, encoded, signer.public, bus=BUS)
        self.version, self._is_changed = opened.version, False
        return World(
            directory=opened,
            contracts=Contracts(self._documents),
            documents=self._documents,
            signers=self._signers,
            now=now,
        )
