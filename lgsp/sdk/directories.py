"""The versions of the directory that a client has seen: fetched, believed only under the pinned registrar, kept in the box.

The newest version seen never goes back, not even across restarts, and one version never has two contents. Fetching itself is the client's.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Final

from lgsp.domain import directory
from lgsp.domain.directory import Directory
from lgsp.domain.keys import PublicKey
from lgsp.errors import Refusal
from lgsp.ports.directory import SignedRecords
from lgsp.sdk.box import Box, Writing

KEPT_IN_MEMORY: Final = 16
"""Versions of the directory that are held in memory."""
KEPT_IN_BOX: Final = 64
"""Versions that the box keeps, the newest: one of a whole province is some megabytes. An older one is fetched again when a receipt names it."""

Fetch = Callable[[int | None], Awaitable[SignedRecords]]
"""Get one version from the gateway, the newest for None; raises `Unreachable` or `Refused`."""


class Directories:
    """Directory versions by number."""

    def __init__(self, *, fetch: Fetch, box: Box, registrar: PublicKey, bus: str) -> None:
        self._fetch = fetch
        self._box = box
        self._registrar = registrar
        self._bus = bus
        self._held: dict[int, Directory] = {}
        self._lock = asyncio.Lock()
        stored = newest(box.reader)
        self.head = self._open(stored) if stored else directory.empty_directory(bus)
        self._held[self.head.version] = self.head

    async def at(self, version: int) -> Directory:
        """Return a version, fetched when it is not at hand; refuse (`directory_invalid`) one that is not the registrar's."""
        found = self._held.get(version)
        if found is not None:
            return found
        async with self._lock:
            found = self._held.get(version)
            if found is None:
                stored = stored_at(self._box.reader, version)
                found = await self._adopt(stored or await self._fetch(version), asked=version)
            return found

    async def refresh(self) -> Directory:
        """Fetch the newest version and return it; refuse (`directory_invalid`) one that is older than what was seen."""
        async with self._lock:
            signed = await self._fetch(None)
            if signed.version < self.head.version:
                raise Refusal("directory_invalid", "the gateway's directory is older than one that was seen")
            return await self._adopt(signed, asked=signed.version)

    async def _adopt(self, signed: SignedRecords, *, asked: int) -> Directory:
        opened = self._open(signed)
        if opened.version != asked:
            raise Refusal("directory_invalid", "the gateway gave another version than was asked for")
        known = self._held.get(opened.version)
        if known is not None:
            if known.hash != opened.hash:
                raise Refusal("directory_invalid", "one version has two contents")
            return known
        self._check_chain(opened)
        await self._box.write(lambda writing: keep(writing, opened))
        self._hold(opened)
        return opened

    def _check_chain(self, opened: Directory) -> None:
        """A version that follows the newest seen must say so: the registrar signs one line of versions."""
        follows = opened.version == self.head.version + 1 and self.head.version > 0
        if follows and directory.previous_of(opened.statement) != self.head.hash:
            raise Refusal("directory_invalid", "the version does not follow the one that was seen")

    def _hold(self, opened: Directory) -> None:
        if opened.version > self.head.version:
            self.head = opened
        self._held[opened.version] = opened
        while len(self._held) > KEPT_IN_MEMORY:
            self._held.pop(min(self._held))

    def _open(self, signed: SignedRecords) -> Directory:
        return directory.open_directory(signed.statement, signed.records, self._registrar, bus=self._bus)


def keep(writing: Writing, opened: Directory) -> None:
    """Keep a version that was verified, and drop what is older than the newest few."""
    records = json.dumps([record.decode() for record in opened.encoded], ensure_ascii=False)
    writing.connection.execute(
        "INSERT INTO lgsp_directories (version, statement, records) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (opened.version, opened.statement, records),
    )
    writing.connection.execute(
        "DELETE FROM lgsp_directories WHERE version NOT IN"
        " (SELECT version FROM lgsp_directories ORDER BY version DESC LIMIT ?)",
        (KEPT_IN_BOX,),
    )


def newest(reader: sqlite3.Connection) -> SignedRecords | None:
    """Return the newest version that was kept."""
    return _stored(reader, "ORDER BY version DESC LIMIT 1")


def stored_at(reader: sqlite3.Connection, version: int) -> SignedRecords | None:
    """Return one version that was kept."""
    return _stored(reader, "WHERE version = ?", version)


def _stored(reader: sqlite3.Connection, which: str, *values: int) -> SignedRecords | None:
    row = reader.execute(f"SELECT version, statement, records FROM lgsp_directories {which}", values).fetchone()  # noqa: S608 - the texts above
    if row is None:
        return None
    return SignedRecords(version=row[0], statement=row[1], records=tuple(text.encode() for text in json.loads(row[2])))
