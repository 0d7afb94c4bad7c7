"""Check a whole log against everything that was ever signed about it: re-hash every entry, then compare with checkpoint, receipts and acks.

In order: every version of the directory under the registrar's pin; the signatures of the kept checkpoint and of the co-signed one; for each entry
its number, its hash, the row of the exchange it speaks of, with receipt and ack; the stored nodes of the tree; at the sizes of both checkpoints the
root. The first thing that does not fit is the finding. An entry changed together with its stored hash is named by its receipt, or at least shown by
the root.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final, Protocol

from lgsp.bus.retention import KEPT
from lgsp.cli.state_audit import HEAD_BYTES, StateAudit, text_in
from lgsp.domain import checkpoint, jws, merkle, statements, strictjson, tiles
from lgsp.domain.directory import Key, open_directory, previous_of
from lgsp.domain.envelope import format_time, parse_time
from lgsp.domain.keys import ROLE_SIGNS, PublicKey
from lgsp.domain.notes import NoteInvalid, NoteKey
from lgsp.domain.statements import Signed, Statement
from lgsp.domain.tiles import LEVELS, Edge
from lgsp.errors import Refusal
from lgsp.ports.directory import SignedRecords
from lgsp.ports.holdings import Holdings

AT_ONCE: Final = 16 * tiles.WIDTH
"""Entries read and hashed together."""
NUMBERED: Final = b'{"v":1,"seq":%d,'
"""How an entry begins."""
CLOCK_BACK: Final = timedelta(days=1)
"""How far a gateway's clock may have gone back."""
BATCHES_REMEMBERED: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The first thing that does not fit; `index` is None where no single entry can be named."""

    index: int | None
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was checked and found; a log without a finding verifies."""

    size: int
    root: bytes
    checkpoint: int
    """How many entries the kept checkpoint covers."""
    receipts: int
    acks: int
    versions: int
    bare: int = 0
    """Forgotten exchanges of which an older program kept no receipt."""
    finding: Finding | None = None


class Audited(Holdings, Protocol):
    """What is asked of a ledger, or of a copy of one."""

    async def checkpoint(self) -> str:
        """Return the last kept checkpoint, or ""."""

    async def cosigned(self) -> str:
        """Return the last kept checkpoint that a witness has co-signed, or ""."""

    async def size(self) -> int:
        """Return the number of entries."""

    async def entries(self, start: int, stop: int) -> list[bytes]:
        """Return the bytes of entries start..stop-1."""

    async def leaves(self, start: int, stop: int) -> list[bytes]:
        """Return the leaf hashes of entries start..stop-1."""

    async def subtree_count(self, level: int) -> int:
        """Return how many hashes of a level of the tree are stored."""

    async def subtrees(self, level: int, start: int, stop: int) -> list[bytes]:
        """Return the stored hashes start..stop-1 of a level."""

    async def documents(self) -> dict[str, bytes]:
        """Return every schema document by URN."""

    async def head(self) -> SignedRecords | None:
        """Return the latest version of the directory, or None before the first."""

    async def at(self, version: int) -> SignedRecords | None:
        """Return one version of the directory."""


class _Found(Exception):
    """Carries the first finding out of the checks."""

    def __init__(self, index: int | None, words: str) -> None:
        self.finding = Finding(index=index, words=words)
        super().__init__(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """Some entries with their leaf hashes, as the ledger holds them."""

    start: int
    stop: int
    entries: list[bytes]
    leaves: list[bytes]

    def hashed(self) -> tuple[int, _Found | None]:
        """Return how many entries, from the first on, have their number and their hash, and what is wrong with the next one."""
        computed = _hashes(self.entries)
        count = self.stop - self.start
        numbers = map(NUMBERED.__mod__, range(self.start, self.stop))
        if computed == self.leaves and len(computed) == count and all(map(bytes.startswith, self.entries, numbers)):
            return count, None
        for place, (entry, leaf, own) in enumerate(zip(self.entries, self.leaves, computed, strict=False)):
            if own != leaf:
                return place, _Found(self.start + place, "the entry is not the one that was hashed")
            if not entry.startswith(NUMBERED % (self.start + place)):
                return place, _Found(self.start + place, "the entry has another number")
        there = min(len(self.entries), len(self.leaves))
        missing = _Found(self.start + there, "the entry or its hash is missing")
        return there, missing if there < self.stop - self.start else None


async def audit(
    store: Audited,
    *,
    bus: str,
    registrar: PublicKey,
    log: NoteKey,
    moved_off: AbstractSet[int] | None = frozenset(),
) -> Verdict:
    """Return the verdict on the whole log; a few microseconds an entry, some dozens a receipt or an ack, and one signature a batch of them.

    `moved_off` are the years of which what stays of forgotten exchanges is not here; None when nobody says of which.
    """
    run = _Audit(store=store, bus=bus, registrar=registrar, log=log)
    run.states.moved_off = moved_off
    try:
        await run.check()
    except _Found as found:
        return run.verdict(found.finding)
    return run.verdict(None)


@dataclass(slots=True, kw_only=True)
class _Audit:
    store: Audited
    bus: str
    registrar: PublicKey
    log: NoteKey
    size: int = 0
    covered: int = 0
    signed_roots: dict[int, bytes] = field(default_factory=dict)
    """Size -> the root that was signed over it."""
    edge: Edge = field(default_factory=Edge)
    keys: dict[str, Key] = field(default_factory=dict)
    statements: dict[str, str] = field(default_factory=dict)
    """Version of the directory -> hash of its statement."""
    signed: dict[str, Signed] = field(default_factory=dict)
    held_since: str = ""
    """Entries before this time, as they write it, are of exchanges that have been forgotten."""
    stored: list[int] = field(default_factory=list)
    """How many nodes of each level of the tree are stored, from level 1 on."""

    states: StateAudit = field(init=False)

    def __post_init__(self) -> None:
        self.states = StateAudit(store=self.store, item=self._item)

    def verdict(self, finding: Finding | None) -> Verdict:
        return Verdict(
            size=self.size,
            root=self.edge.root(),
            checkpoint=self.covered,
            receipts=self.states.receipts,
            acks=self.states.acks,
            bare=self.states.bare,
            versions=len(self.statements),
            finding=finding,
        )

    async def check(self) -> None:
        # In this order: a gateway that runs goes on writing and signing, and what was signed is never beyond what is read after it.
        cosigned, note = await self.store.cosigned(), await self.store.checkpoint()
        self.size = await self.store.size()
        await self._check_directories()
        # A witness may have signed under a name that the log had before, and under the same key.
        self._open_checkpoint(
            cosigned, replace(self.log, name=cosigned.partition("\n")[0] or self.log.name), "co-signed"
        )
        self.covered = self._open_checkpoint(note, self.log, "kept")
        self.held_since = await self._held_since()
        self.stored = [await self.store.subtree_count(level) for level in range(1, LEVELS)]
        pages = self._pages()
        page = await self._read(next(pages, None))
        while page is not None:
            async with asyncio.TaskGroup() as tasks:
                ahead = tasks.create_task(self._read(next(pages, None)))  # another core reads what comes next
                await asyncio.sleep(0)
                finding = await self._finding(page)
            if finding is not None:
                raise finding
            page = ahead.result()
        await self._check_ends()

    async def _check_ends(self) -> None:
        """Find what is held as settled without an entry, once those are read too that a running gateway wrote meanwhile."""
        if self.states.untold() is None:
            return
        self.states.ended_by(await self.store.entries(self.size, await self.store.size()))
        misfit = self.states.untold()
        if misfit is not None:
            raise _Found(*misfit)

    async def _finding(self, page: _Page) -> _Found | None:
        try:
            await self._check_page(page)
        except _Found as found:
            return found
        if page.stop in self.signed_roots and self.signed_roots[page.stop] != self.edge.root():
            return _Found(None, f"the root over the first {page.stop} entries is not that of the signed checkpoint")
        return None

    async def _read(self, entries: merkle.Range | None) -> _Page | None:
        if entries is None:
            return None
        start, stop = entries
        return _Page(
            start=start,
            stop=stop,
            entries=await self.store.entries(start, stop),
            leaves=await self.store.leaves(start, stop),
        )

    async def _check_page(self, page: _Page) -> None:
        """Check entries in groups, which is quicker than one by one, and raise what is found of the first that does not fit."""
        whole, bad = page.hashed()
        start, entries = page.start, page.entries[:whole]
        found = [
            bad,
            await self._bad_node(page.leaves[:whole]),
            await self._bad_state(start, entries),
            self._bad_change(start, entries),
        ]
        findings = [each for each in found if each is not None]
        if findings:
            raise min(findings, key=lambda each: each.finding.index or 0)

    def _pages(self) -> Iterator[merkle.Range]:
        """Yield ranges of entries; one of them ends where each stored checkpoint does."""
        ends = sorted({*range(AT_ONCE, self.size, AT_ONCE), *self.signed_roots, self.size} - {0})
        return zip([0, *ends], ends, strict=False)

    async def _check_directories(self) -> None:
        head = await self.store.head()
        before, schemas = "", dict[str, str]()
        for version in range(1, (head.version if head else 0) + 1):
            kept = await self.store.at(version)
            if kept is None:
                raise _Found(None, f"version {version} of the directory is missing")
            try:
                found = open_directory(kept.statement, kept.records, self.registrar, bus=self.bus)
            except Refusal as refusal:
                raise _Found(None, f"version {version} of the directory: {refusal.detail}") from None
            if found.version != version or previous_of(found.statement) != before:
                raise _Found(None, f"version {version} of the directory does not follow the one before")
            before = found.hash
            self.statements[str(version)] = found.hash
            self.keys |= found.keys
            self.states.systems |= found.systems.keys()
            schemas |= {urn: schema.hash for urn, schema in found.schemas.items()}
        documents = await self.store.documents()
        for urn, stated in schemas.items():
            if urn not in documents or jws.hash_of(documents[urn]) != stated:
                raise _Found(None, f"the document of {urn} is not the one that the directory states")

    def _open_checkpoint(self, note: str, key: NoteKey, word: str) -> int:
        """Remember what a stored checkpoint states, and return how many entries it covers; 0 where there is none yet."""
        if not note:
            return 0
        try:
            kept = checkpoint.open_checkpoint(note, key)
        except NoteInvalid as error:
            raise _Found(None, f"the {word} checkpoint: {error}") from None
        if kept.size > self.size:
            raise _Found(
                self.size, f"entries are missing: the signed checkpoint covers {kept.size}, the log has {self.size}"
            )
        if self.signed_roots.setdefault(kept.size, kept.root) != kept.root:
            raise _Found(None, f"two roots were signed over {kept.size} entries")
        return kept.size

    async def _bad_node(self, leaves: Sequence[bytes]) -> _Found | None:
        """Compare the nodes of the tree that these leaves make whole with the stored ones; what is not stored yet is made from the leaves."""
        for whole in self.edge.append(leaves):
            if whole.number < self.stored[whole.level - 1]:
                found = await self.store.subtrees(whole.level, whole.number, whole.number + 1)
                if found != [whole.root]:
                    width = tiles.WIDTH**whole.level
                    first = whole.number * width
                    return _Found(
                        first, f"the stored node over entries {first} to {first + width - 1} is not their root"
                    )
        return None

    async def _held_since(self) -> str:
        """Return from when on entries are of exchanges that are held: as the oldest of them, and what nothing may have been forgotten of yet."""
        last = await self.store.entries(self.size - 1, self.size) if self.size else []
        try:
            kept = parse_time(text_in(last[0], "ts")) - KEPT
        except (IndexError, ValueError):
            return ""
        self.states.fresh_since = format_time(kept)
        oldest = await self.store.oldest()
        return format_time(min(oldest or kept, kept) - CLOCK_BACK)

    def _may_be_held(self, entries: Sequence[bytes]) -> bool:
        return bool(entries) and text_in(entries[-1], "ts") >= self.held_since

    async def _bad_state(self, start: int, entries: Sequence[bytes]) -> _Found | None:
        misfit = await self.states.check(start, entries, held=self._may_be_held(entries))
        return None if misfit is None else _Found(*misfit)

    def _bad_change(self, start: int, entries: Sequence[bytes]) -> _Found | None:
        for index, entry in enumerate(entries, start=start):
            if entry.find(b'"ev":"directory.changed"', 0, HEAD_BYTES) >= 0:
                members = _members(entry)
                if self.statements.get(str(members.get("obj"))) != members.get("hash"):
                    return _Found(index, "the entry states another directory than the one that is kept")
        return None

    def _item(self, text: str, typ: str) -> dict[str, Any] | None:
        """Return the item of a statement, None of one that does not verify."""
        try:
            statement = statements.from_text(text)
            return statements.open_item(statement, self._signed(statement, typ))
        except (Refusal, ValueError, KeyError):
            return None

    def _signed(self, statement: Statement, typ: str) -> Signed:
        """Return the verified signature of a batch, whose items mostly follow each other in the log."""
        known = self.signed.get(statement.jws)
        if known is not None:
            return known
        key = self.keys[statements.kid_of(statement.jws, typ=typ)]
        if typ not in ROLE_SIGNS[key.role]:
            raise Refusal("key_role")
        if len(self.signed) >= BATCHES_REMEMBERED:
            self.signed.clear()
        self.signed[statement.jws] = statements.verify_signature(statement.jws, key.public, typ=typ)
        return self.signed[statement.jws]


def _hashes(entries: Sequence[object]) -> list[bytes]:
    try:
        return [sha256(b"\x00" + entry).digest() for entry in entries]  # type: ignore[operator]
    except TypeError:  # in a file that somebody changed a cell may hold anything
        return [merkle.leaf_hash(entry) if isinstance(entry, bytes) else b"" for entry in entries]


def _members(entry: bytes) -> dict[str, Any]:
    """Return the members of an entry, none of what is not strict JSON, which fits no statement."""
    try:
        return strictjson.parse_object(entry)
    except strictjson.NotStrict:
        return {}
