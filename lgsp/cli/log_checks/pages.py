"""Check some entries of a log by themselves: number and hash of each, the rows of the exchanges it speaks of, the versions it names.

What needs the whole log is left to `log`: nodes of the tree, roots, whether each delivery's end is told. Pages may be checked beside each
other, by several processes (`processes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Protocol

from lgsp.cli.log_checks.findings import Finding
from lgsp.cli.log_checks.states import HEAD_BYTES, Claim, StateAudit, text_in
from lgsp.cli.log_checks.versions import Versions
from lgsp.domain import merkle, statements, strictjson, tiles
from lgsp.domain.entries import NUMBERED
from lgsp.domain.keys import ROLE_SIGNS
from lgsp.domain.statements import Signed, Statement
from lgsp.errors import Refusal
from lgsp.ports.holdings import Holdings

CHANGED: Final = b'"ev":"directory.changed"'
BATCHES_REMEMBERED: Final = 512


class Paged(Holdings, Protocol):
    """What is asked of a ledger, or of a copy of one."""

    async def hashed(self, start: int, stop: int) -> list[tuple[bytes, bytes]]:
        """Return the bytes of entries start..stop-1, each with the leaf hash that is kept of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Entries to check, and from when on exchanges are held, as entries write times."""

    start: int
    stop: int
    held_since: str
    """Entries before this time are of exchanges that have been forgotten."""
    fresh_since: str
    """Of entries since this time nothing has been forgotten for long."""
    moved_off: AbstractSet[int] | None = frozenset()
    """The years of which what stays of forgotten exchanges is kept elsewhere; None when nobody says of which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was seen of a page."""

    page: Page
    tiles: Sequence[bytes]
    """Of the entries that have their number and their hash: the root over each whole tile, where the page begins with one."""
    leaves: Sequence[bytes]
    """The hashes of those that come after whole tiles."""
    finding: Finding | None
    receipts: int
    acks: int
    bare: int
    """Forgotten exchanges of which an older program kept no receipt."""
    claims: Mapping[Claim, int]
    """What rows say and no entry of the page tells, with the entry that accepted it."""
    told: Sequence[Claim]
    """What entries of the page tell of that was accepted in none of them."""


@dataclass(slots=True, kw_only=True)
class PageAudit:
    """Checks one page after another."""

    store: Paged
    versions: Versions
    _signed: dict[str, Signed] = field(default_factory=dict)

    async def check(self, page: Page) -> Checked:
        """Return what is seen of a page; a few microseconds an entry, and one signature a batch of receipts or acks."""
        found = await self.store.hashed(page.start, page.stop)
        entries, leaves = [entry for entry, _ in found], [leaf for _, leaf in found]
        whole, bad_hash = _hashed(page, entries, leaves)
        sound = entries[:whole]
        states = StateAudit(
            store=self.store,
            item=self._item,
            moved_off=page.moved_off,
            systems=self.versions.systems,
            fresh_since=page.fresh_since,
        )
        may_be_held = bool(sound) and text_in(sound[-1], "ts") >= page.held_since
        misfit = await states.check(page.start, sound, held=may_be_held)
        roots, rest = _in_tiles(page.start, leaves[:whole])
        return Checked(
            page=page,
            tiles=roots,
            leaves=rest,
            finding=first_of(
                bad_hash, misfit and Finding(index=misfit.at, words=misfit.words), self._bad_change(page.start, sound)
            ),
            receipts=states.receipts,
            acks=states.acks,
            bare=states.bare,
            claims=states.claims,
            told=states.told,
        )

    def _bad_change(self, start: int, entries: Sequence[bytes]) -> Finding | None:
        if CHANGED not in b"".join(entries):
            return None
        for index, entry in enumerate(entries, start=start):
            if entry.find(CHANGED, 0, HEAD_BYTES) >= 0:
                members = _members(entry)
                if self.versions.statements.get(str(members.get("obj"))) != members.get("hash"):
                    return Finding(index=index, words="the entry states another directory than the one that is kept")
        return None

    def _item(self, text: str, typ: str) -> dict[str, Any] | None:
        """Return the item of a statement, None of one that does not verify."""
        try:
            statement = statements.from_text(text)
            return statements.open_item(statement, self._verified(statement, typ))
        except (Refusal, ValueError, KeyError):
            return None

    def _verified(self, statement: Statement, typ: str) -> Signed:
        """Return the verified signature of a batch, whose items mostly follow each other in the log."""
        known = self._signed.get(statement.jws)
        if known is not None:
            return known
        key = self.versions.keys[statements.kid_of(statement.jws, typ=typ)]
        if typ not in ROLE_SIGNS[key.role]:
            raise Refusal("key_role")
        if len(self._signed) >= BATCHES_REMEMBERED:
            self._signed.clear()
        self._signed[statement.jws] = statements.verify_signature(statement.jws, key.public, typ=typ)
        return self._signed[statement.jws]


def first_of(*findings: Finding | None) -> Finding | None:
    """Return the finding of the lowest entry; of several at one entry, the one that is named first."""
    there = [each for each in findings if each is not None]
    return min(there, key=lambda each: each.index or 0) if there else None


def _hashed(page: Page, entries: Sequence[bytes], leaves: Sequence[bytes]) -> tuple[int, Finding | None]:
    """Return how many entries, from the first on, have their number and their hash, and what is wrong with the next one."""
    computed = _hashes(entries)
    count = page.stop - page.start
    numbers = map(NUMBERED.__mod__, range(page.start, page.stop))
    if computed == leaves and len(computed) == count and all(map(bytes.startswith, entries, numbers)):
        return count, None
    for place, (entry, leaf, own) in enumerate(zip(entries, leaves, computed, strict=False)):
        if own != leaf:
            return place, Finding(index=page.start + place, words="the entry is not the one that was hashed")
        if not entry.startswith(NUMBERED % (page.start + place)):
            return place, Finding(index=page.start + place, words="the entry has another number")
    there = min(len(entries), len(leaves))
    missing = Finding(index=page.start + there, words="the entry or its hash is missing")
    return there, missing if there < count else None


def _hashes(entries: Sequence[object]) -> list[bytes]:
    try:
        return [sha256(b"\x00" + entry).digest() for entry in entries]  # type: ignore[operator]
    except TypeError:  # in a file that somebody changed a cell may hold anything
        return [merkle.leaf_hash(entry) if isinstance(entry, bytes) else b"" for entry in entries]


def _in_tiles(start: int, leaves: Sequence[bytes]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Return the roots over whole tiles, and the hashes after them; a page that begins within a tile has none of the former."""
    whole = 0 if start % tiles.WIDTH else len(leaves) // tiles.WIDTH * tiles.WIDTH
    return [merkle.root(leaves[at : at + tiles.WIDTH]) for at in range(0, whole, tiles.WIDTH)], leaves[whole:]


def _members(entry: bytes) -> dict[str, Any]:
    """Return the members of an entry, none of what is not strict JSON, which fits no statement."""
    try:
        return strictjson.parse_object(entry)
    except strictjson.NotStrict:
        return {}
