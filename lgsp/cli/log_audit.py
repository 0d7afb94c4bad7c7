"""Check a whole log against everything that was ever signed about it: re-hash every entry, then compare with checkpoint, receipts and acks.

In order: every version of the directory under the registrar's pin; the signatures of the kept checkpoint and of the co-signed one; for each entry
its number, its hash, the receipt that states its index and hash, the ack whose hash it states; the stored nodes of the tree; at the sizes of both
checkpoints the root. The first thing that does not fit is the finding. An entry changed together with its stored hash is named by its receipt, or
at least shown by the root.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from lgsp.domain import base64url, checkpoint, merkle, statements, strictjson, tiles
from lgsp.domain.directory import Key, open_directory, previous_of
from lgsp.domain.exchange import Delivery, Exchange
from lgsp.domain.keys import ROLE_SIGNS, PublicKey
from lgsp.domain.notes import NoteInvalid, NoteKey
from lgsp.domain.statements import Signed, Statement
from lgsp.domain.tiles import LEVELS, Edge, Subtree
from lgsp.errors import Refusal
from lgsp.ports.directory import SignedRecords

AT_ONCE: Final = 1_000
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
    finding: Finding | None = None


class Audited(Protocol):
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

    async def exchange_of(self, env: str) -> Exchange | None:
        """Return the exchange of an env hash."""

    async def held(self, to: str, envs: Sequence[str]) -> dict[str, Delivery]:
        """Return the deliveries of these envelopes to one inbox, by env hash."""

    async def head(self) -> SignedRecords | None:
        """Return the latest version of the directory, or None before the first."""

    async def at(self, version: int) -> SignedRecords | None:
        """Return one version of the directory."""


class _Found(Exception):
    """Carries the first finding out of the checks."""

    def __init__(self, index: int | None, words: str) -> None:
        self.finding = Finding(index=index, words=words)
        super().__init__(words)


async def audit(store: Audited, *, bus: str, registrar: PublicKey, log: NoteKey) -> Verdict:
    """Return the verdict on the whole log; a few microseconds an entry, and one signature a batch of receipts or acks."""
    run = _Audit(store=store, bus=bus, registrar=registrar, log=log)
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
    receipts: int = 0
    acks: int = 0
    edge: Edge = field(default_factory=Edge)
    keys: dict[str, Key] = field(default_factory=dict)
    statements: dict[str, str] = field(default_factory=dict)
    """Version of the directory -> hash of its statement."""
    signed: dict[str, Signed] = field(default_factory=dict)

    def verdict(self, finding: Finding | None) -> Verdict:
        return Verdict(
            size=self.size,
            root=self.edge.root(),
            checkpoint=self.covered,
            receipts=self.receipts,
            acks=self.acks,
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
        stored = [await self.store.subtree_count(level) for level in range(1, LEVELS)]
        async for index, entry, leaf in self._entries():
            self._check_hash(index, entry, leaf)
            await self._check_entry(index, _members(index, entry), leaf)
            for whole in self.edge.append([leaf]):
                await self._check_subtree(whole, stored)
            if self.signed_roots.get(index + 1, self.edge.root()) != self.edge.root():
                raise _Found(None, f"the root over the first {index + 1} entries is not that of the signed checkpoint")

    async def _check_directories(self) -> None:
        head = await self.store.head()
        before = ""
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

    async def _entries(self) -> AsyncIterator[tuple[int, bytes, bytes]]:
        for start in range(0, self.size, AT_ONCE):
            stop = min(start + AT_ONCE, self.size)
            entries, leaves = await self.store.entries(start, stop), await self.store.leaves(start, stop)
            short = start + min(len(entries), len(leaves))
            for offset, (entry, leaf) in enumerate(zip(entries, leaves, strict=False)):
                yield start + offset, entry, leaf
            if short < stop:
                raise _Found(short, "the entry or its hash is missing")

    def _check_hash(self, index: int, entry: bytes, leaf: bytes) -> None:
        try:
            computed = merkle.leaf_hash(entry)
        except TypeError:  # in a file that somebody changed a cell may hold anything
            computed = b""
        if computed != leaf:
            raise _Found(index, "the entry is not the one that was hashed")

    async def _check_subtree(self, whole: Subtree, stored: Sequence[int]) -> None:
        """Compare a node of the tree with the stored one; those that are not stored yet are made from the leaves."""
        if whole.number < stored[whole.level - 1]:
            found = await self.store.subtrees(whole.level, whole.number, whole.number + 1)
            if found != [whole.root]:
                width = tiles.WIDTH**whole.level
                first = whole.number * width
                raise _Found(first, f"the stored node over entries {first} to {first + width - 1} is not their root")

    async def _check_entry(self, index: int, members: dict[str, Any], leaf: bytes) -> None:
        if members.get("seq") != index:
            raise _Found(index, "the entry has another number")
        event = members.get("ev")
        if event == "msg.accepted":
            await self._check_receipt(index, str(members.get("env")), leaf)
        elif "stmt" in members:
            await self._check_ack(index, members)
        elif event == "directory.changed" and self.statements.get(str(members.get("obj"))) != members.get("hash"):
            raise _Found(index, "the entry states another directory than the one that is kept")

    async def _check_receipt(self, index: int, env: str, leaf: bytes) -> None:
        """Compare with the signed receipt; an exchange that is no longer kept has none here, but its sender has."""
        exchange = await self.store.exchange_of(env)
        if exchange is None:
            return
        item = self._item(index, exchange.receipt, statements.RECEIPT)
        stated = "sha-256:" + base64url.encode(leaf)
        if (item.get("env"), item.get("index"), item.get("leaf")) != (env, index, stated):
            raise _Found(index, "the receipt that was given states another entry")
        self.receipts += 1

    async def _check_ack(self, index: int, members: dict[str, Any]) -> None:
        env = str(members.get("env"))
        delivery = (await self.store.held(str(members.get("to")), [env])).get(env)
        if delivery is None or not delivery.ack:
            return
        item = self._item(index, delivery.ack, statements.ACK)
        if item.get("env") != members.get("env") or statements.from_text(delivery.ack).leaf != members["stmt"]:
            raise _Found(index, "the ack that was given is another")
        self.acks += 1

    def _item(self, index: int, text: str, typ: str) -> dict[str, Any]:
        try:
            statement = statements.from_text(text)
            return statements.open_item(statement, self._signed(statement, typ))
        except (Refusal, ValueError, KeyError):
            raise _Found(
                index, f"the kept {'receipt' if typ == statements.RECEIPT else 'ack'} does not verify"
            ) from None

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


def _members(index: int, entry: bytes) -> dict[str, Any]:
    try:
        return strictjson.parse_object(entry)
    except strictjson.NotStrict:
        raise _Found(index, "the entry is not strict JSON") from None
