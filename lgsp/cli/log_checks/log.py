"""Check a whole log against everything that was ever signed about it: re-hash every entry, then compare with checkpoint, receipts and acks.

In order: every version of the directory under the registrar's pin; the signatures of the kept checkpoint and of the co-signed one; for each entry
its number, its hash, the row of the exchange it speaks of, with receipt and ack; the stored nodes of the tree; at the sizes of both checkpoints the
root. The first thing that does not fit is the finding. An entry changed together with its stored hash is named by its receipt, or at least shown by
the root.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import timedelta
from heapq import merge
from itertools import islice, zip_longest
from typing import Final, Protocol

from lgsp.bus.retention import KEPT
from lgsp.cli.log_checks.findings import UNREADABLE, Finding, Found
from lgsp.cli.log_checks.pages import Checked, Page, PageAudit, Paged, first_of
from lgsp.cli.log_checks.states import CLAIMS, Claim, text_in, told_by
from lgsp.cli.log_checks.versions import Versioned, Versions, read_versions
from lgsp.domain import checkpoint, tiles
from lgsp.domain.envelope import format_time, parse_time
from lgsp.domain.keys import PublicKey
from lgsp.domain.notes import NoteInvalid, NoteKey, open_note
from lgsp.domain.tiles import LEVELS, Edge, Subtree

AT_ONCE: Final = 16 * tiles.WIDTH
"""Entries read and hashed together."""
CLOCK_BACK: Final = timedelta(days=1)
"""How far a gateway's clock may have gone back."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CoSigners:
    """The witnesses that are known here, one of which is to have signed the co-signed checkpoint, and whether there must be such a checkpoint."""

    known: Sequence[NoteKey] = ()
    wanted: bool = False


NOBODY: Final = CoSigners()


class Audited(Paged, Versioned, Protocol):
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


class Hands(Protocol):
    """Who checks pages of a long log, several beside each other."""

    @property
    def count(self) -> int:
        """How many pages are checked at a time."""

    async def check(self, page: Page) -> Checked:
        """Return what is seen of a page."""


async def audit(
    store: Audited,
    *,
    bus: str,
    registrar: PublicKey,
    log: NoteKey,
    witnesses: CoSigners = NOBODY,
    moved_off: AbstractSet[int] | None = frozenset(),
    hands: Hands | None = None,
) -> Verdict:
    """Return the verdict on the whole log; a few microseconds an entry, about a hundred a receipt or an ack, one signature a batch of them.

    `moved_off` are the years of which what stays of forgotten exchanges is not here; None when nobody says of which: then nothing is missed.
    """
    run = _Audit(
        store=store, bus=bus, registrar=registrar, log=log, witnesses=witnesses, moved_off=moved_off, hands=hands
    )
    try:
        await run.check()
    except Found as found:
        return run.verdict(found.finding)
    return run.verdict(None)


@dataclass(slots=True, kw_only=True)
class _Audit:
    store: Audited
    bus: str
    registrar: PublicKey
    log: NoteKey
    witnesses: CoSigners
    moved_off: AbstractSet[int] | None
    hands: Hands | None
    size: int = 0
    covered: int = 0
    signed_roots: dict[int, bytes] = field(default_factory=dict)
    """Size -> the root that was signed over it."""
    edge: Edge = field(default_factory=Edge)
    versions: Versions = field(default_factory=Versions)
    stored: list[int] = field(default_factory=list)
    """How many nodes of each level of the tree are stored, from level 1 on."""
    receipts: int = 0
    acks: int = 0
    bare: int = 0
    claims: dict[Claim, int] = field(default_factory=dict)
    """What rows say and no entry has told of yet, with the entry that accepted it."""

    def verdict(self, finding: Finding | None) -> Verdict:
        return Verdict(
            size=self.size,
            root=self.edge.root(),
            checkpoint=self.covered,
            receipts=self.receipts,
            acks=self.acks,
            versions=len(self.versions.statements),
            bare=self.bare,
            finding=finding,
        )

    async def check(self) -> None:
        # In this order: a gateway that runs goes on writing and signing, and what was signed is never beyond what is read after it.
        cosigned, note = await self.store.cosigned(), await self.store.checkpoint()
        self.size = await self.store.size()
        self.versions = await read_versions(self.store, bus=self.bus, registrar=self.registrar)
        self._open_cosigned(cosigned)
        if self.size and not note:
            raise Found(
                None, f"no checkpoint is kept over the {self.size} entries, and a gateway keeps one each second"
            )
        self.covered = self._open_checkpoint(note, self.log, "kept")
        self.stored = [await self.store.subtree_count(level) for level in range(1, LEVELS)]
        await self._check_pages()
        await self._check_ends()

    async def _check_pages(self) -> None:
        """Take in what is seen of each page in the order of pages, though several may be under way."""
        hands = self.hands or _Alone(pages=PageAudit(store=self.store, versions=self.versions))
        pages, under_way = self._pages(*await self._held_since()), deque[asyncio.Task[Checked]]()
        finding = None
        async with asyncio.TaskGroup() as tasks:
            while finding is None:
                more = islice(pages, hands.count - len(under_way))
                under_way.extend(tasks.create_task(hands.check(page)) for page in more)
                if not under_way:
                    break
                finding = await self._finding(await under_way.popleft())
            for task in under_way:
                task.cancel()
        if finding is not None:
            raise Found(finding.index, finding.words)

    async def _finding(self, checked: Checked) -> Finding | None:
        """Return what does not fit in a page, the lowest entry first; take in what it says of the log as a whole."""
        finding = first_of(checked.finding, await self._bad_node(checked))
        self.receipts += checked.receipts
        self.acks += checked.acks
        self.bare += checked.bare
        self.claims |= checked.claims
        for claim in checked.told:
            self.claims.pop(claim, None)
        if finding is None and self.signed_roots.get(checked.page.stop, root := self.edge.root()) != root:
            words = f"the root over the first {checked.page.stop} entries is not that of the signed checkpoint"
            return Finding(index=None, words=words)
        return finding

    async def _bad_node(self, checked: Checked) -> Finding | None:
        """Compare the nodes of the tree that a page makes whole with the stored ones; what is not stored yet is made from the leaves."""
        whole = [node for root in checked.tiles for node in self.edge.append_tile(root)]
        whole += self.edge.append(checked.leaves)
        for level in sorted({node.level for node in whole}):
            bad = await self._bad_of_level(level, [node for node in whole if node.level == level])
            if bad is not None:
                return bad
        return None

    async def _bad_of_level(self, level: int, whole: Sequence[Subtree]) -> Finding | None:
        """Compare nodes of a level that follow each other."""
        nodes = [node for node in whole if node.number < self.stored[level - 1]]
        if not nodes:
            return None
        found = await self.store.subtrees(level, nodes[0].number, nodes[-1].number + 1)
        for node, stored in zip_longest(nodes, found):
            if node.root != stored:
                width = tiles.WIDTH**level
                first = node.number * width
                words = f"the stored node over entries {first} to {first + width - 1} is not their root"
                return Finding(index=first, words=words)
        return None

    def _pages(self, held_since: str, fresh_since: str) -> Iterator[Page]:
        """Yield the pages in order; one of them ends where each stored checkpoint does.

        They are not made before they are wanted: a number that somebody changed can make a log seem to be of any length.
        """
        start = 0
        for stop in merge(range(AT_ONCE, self.size, AT_ONCE), sorted({*self.signed_roots, self.size})):
            if stop > start:
                yield Page(
                    start=start, stop=stop, held_since=held_since, fresh_since=fresh_since, moved_off=self.moved_off
                )
                start = stop

    async def _held_since(self) -> tuple[str, str]:
        """Return from when on entries are of exchanges that are held, as the oldest of them, and from when on nothing may have been forgotten yet."""
        last = await self.store.entries(self.size - 1, self.size) if self.size else []
        try:
            kept = parse_time(text_in(last[0], "ts")) - KEPT
            oldest = await self.store.oldest()
        except UNREADABLE:
            return "", ""
        return format_time(min(oldest or kept, kept) - CLOCK_BACK), format_time(kept)

    async def _check_ends(self) -> None:
        """Find what rows say without an entry, once those are read too that a running gateway wrote meanwhile."""
        if self.claims:
            for entry in await self.store.entries(self.size, await self.store.size()):
                for claim in told_by(entry):
                    self.claims.pop(claim, None)
        if self.claims:
            index, (what, _, _) = min((index, claim) for claim, index in self.claims.items())
            raise Found(index, f"{CLAIMS[what]}, and no entry tells so")

    def _open_cosigned(self, note: str) -> None:
        """Remember what a witness has co-signed; find it when no known witness did, where one is known."""
        if not note:
            if self.witnesses.wanted:
                raise Found(None, "no witness has co-signed a checkpoint")
            return
        # A witness may have signed under a name that the log had before, and under the same key.
        self._open_checkpoint(note, replace(self.log, name=note.partition("\n")[0]), "co-signed")
        known = self.witnesses.known
        if not (any(_has_signed(each, note) for each in known) if known else _has_two_signatures(note)):
            raise Found(
                None,
                "the co-signed checkpoint bears no signature of a known witness; if another one signed it, name that one",
            )

    def _open_checkpoint(self, note: str, key: NoteKey, word: str) -> int:
        """Remember what a stored checkpoint states, and return how many entries it covers; 0 where there is none yet."""
        if not note:
            return 0
        try:
            kept = checkpoint.open_checkpoint(note, key)
        except NoteInvalid as error:
            raise Found(None, f"the {word} checkpoint: {error}") from None
        if kept.size > self.size:
            raise Found(
                self.size, f"entries are missing: the signed checkpoint covers {kept.size}, the log has {self.size}"
            )
        if self.signed_roots.setdefault(kept.size, kept.root) != kept.root:
            raise Found(None, f"two roots were signed over {kept.size} entries")
        return kept.size


def _has_signed(witness: NoteKey, note: str) -> bool:
    try:
        return open_note(note, [witness]).is_signed_by(witness)
    except NoteInvalid:
        return False


def _has_two_signatures(note: str) -> bool:
    """Tell whether somebody beside the log has signed; who, nobody knows here."""
    return note.rpartition("\n\n")[2].count("\n") > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alone:
    """This process checks one page after another."""

    pages: PageAudit
    count: int = 1

    async def check(self, page: Page) -> Checked:
        return await self.pages.check(page)
