"""Check every version of the directory that a ledger holds under the registrar's pin, and gather what they state for the checks of the log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from lgsp.cli.log_checks.findings import UNREADABLE, Found
from lgsp.domain import jws
from lgsp.domain.directory import Directory, Key, open_directory, previous_of
from lgsp.domain.keys import PublicKey
from lgsp.errors import Refusal
from lgsp.ports.directory import SignedRecords


class Versioned(Protocol):
    """What is asked of a ledger, or of a copy of one."""

    async def documents(self) -> dict[str, bytes]:
        """Return every schema document by URN."""

    async def head(self) -> SignedRecords | None:
        """Return the latest version of the directory, or None before the first."""

    async def at(self, version: int) -> SignedRecords | None:
        """Return one version of the directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What all versions together state."""

    keys: dict[str, Key] = field(default_factory=dict)
    statements: dict[str, str] = field(default_factory=dict)
    """Version of the directory -> hash of its statement."""
    systems: set[str] = field(default_factory=set)


async def read_versions(store: Versioned, *, bus: str, registrar: PublicKey) -> Versions:
    """Return what the versions state; raise `Found` when one is missing, is not signed, or does not follow the one before it."""
    head = await store.head()
    versions, before, schemas = Versions(), "", dict[str, str]()
    for version in range(1, (head.version if head else 0) + 1):
        found = await _opened(store, version, bus=bus, registrar=registrar)
        if found.version != version or previous_of(found.statement) != before:
            raise Found(None, f"version {version} of the directory does not follow the one before")
        before = found.hash
        versions.statements[str(version)] = found.hash
        versions.keys.update(found.keys)
        versions.systems.update(found.systems)
        schemas |= {urn: schema.hash for urn, schema in found.schemas.items()}
    documents = await store.documents()
    for urn, stated in schemas.items():
        document = documents.get(urn)
        if not isinstance(document, bytes) or jws.hash_of(document) != stated:
            raise Found(None, f"the document of {urn} is not the one that the directory states")
    return versions


async def _opened(store: Versioned, version: int, *, bus: str, registrar: PublicKey) -> Directory:
    try:
        kept = await store.at(version)
        if kept is None:
            raise Found(None, f"version {version} of the directory is missing")
        return open_directory(kept.statement, kept.records, registrar, bus=bus)
    except Refusal as refusal:
        raise Found(None, f"version {version} of the directory: {refusal.detail}") from None
    except UNREADABLE:
        raise Found(None, f"version {version} of the directory does not read") from None
