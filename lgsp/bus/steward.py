"""What an operator does to the bus: open its log, put a new directory in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lgsp.bus.announcer import Announcer
from lgsp.bus.registry import Registry
from lgsp.bus.sequencer import Sequencer
from lgsp.domain import contracts
from lgsp.domain.directory import Directory, broken_links, open_directory, previous_of
from lgsp.domain.entries import Draft, check_reason, draft
from lgsp.errors import Refusal
from lgsp.logs import get_logger
from lgsp.ports.clock import Clock
from lgsp.ports.ledger import Done, Ledger, Note, Publish


@dataclass(slots=True, kw_only=True)
class Steward:
    """Carries out what the registrar signed; it holds no key of its own."""

    gateway: str
    bus: str
    origin: str
    registry: Registry
    ledger: Ledger
    sequencer: Sequencer
    announcer: Announcer
    clock: Clock

    async def open_log(self) -> None:
        """Write the first entry of a new log."""
        if await self.ledger.size() == 0:
            entry = draft("log.opened", at=self.clock.now(), bus=self.gateway, by=self.bus, obj=self.origin)
            await self.sequencer.submit(Note(entry=entry))

    async def publish_directory(
        self,
        *,
        statement: bytes,
        records: Sequence[bytes],
        documents: Mapping[str, bytes],
        reason: str,
        by: str = "local",
    ) -> int:
        """Put a signed directory in place and return its version; who brought it and why (one line, at most 200 characters) go into the log.

        Refuses as `directory_invalid` what is not signed by the pinned registrar or does not hold together, as `directory_moved` what does
        not follow the present version.
        """
        check_reason(reason)
        before = await self.registry.reload()  # another gateway may have moved it a moment ago
        after = open_directory(statement, records, self.registry.registrar, bus=self.bus)
        if after.version != before.version + 1 or previous_of(statement) != (before.hash if before.version else ""):
            raise Refusal("directory_moved", f"version {before.version} is in force")
        held = self._documents(after, documents)
        problems = broken_links(after, held)
        if problems:
            raise Refusal("directory_invalid", "; ".join(problems[:20]))
        operation = Publish(
            version=after.version,
            statement=statement,
            records=after.encoded,
            documents={urn: held[urn] for urn in after.schemas if urn not in self.registry.documents},
            entries=tuple(self._entries(before, after, by, reason)),
        )
        [result] = await self.sequencer.submit(operation)
        if not isinstance(result, Done):
            raise Refusal("directory_moved")
        await self.registry.reload()
        self.announcer.published(after.version)
        get_logger().info("directory.changed", version=after.version)
        return after.version

    def _documents(self, after: Directory, offered: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return the schema documents of the new version, each checked against its record's hash."""
        held = {**offered, **self.registry.documents}
        for urn, record in after.schemas.items():
            if urn in held and contracts.check_document(urn, held[urn], held) != record.hash:
                raise Refusal("directory_invalid", f"schema {urn}: the document is not the one that was published")
        return held

    def _entries(self, before: Directory, after: Directory, by: str, reason: str) -> list[Draft]:
        now, gateway = self.clock.now(), self.gateway
        found = [
            draft("key.added", at=now, bus=gateway, by=by, obj=kid)
            for kid in sorted(after.keys.keys() - before.keys.keys())
        ]
        found += [
            draft("key.revoked", at=now, bus=gateway, by=by, obj=kid)
            for kid, key in sorted(before.keys.items())
            if key.record.holds_at(before.version) and not _still_holds(after, kid)
        ]
        found += [
            draft("schema.published", at=now, bus=gateway, by=by, obj=urn, hash=after.schemas[urn].hash)
            for urn in sorted(after.schemas.keys() - before.schemas.keys())
        ]
        changed = draft(
            "directory.changed",
            at=now,
            bus=gateway,
            by=by,
            obj=str(after.version),
            hash=after.hash,
            reason=reason,
        )
        return [*found, changed]


def _still_holds(directory: Directory, kid: str) -> bool:
    key = directory.keys.get(kid)
    return key is not None and key.record.holds_at(directory.version)
