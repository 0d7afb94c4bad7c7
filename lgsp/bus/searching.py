"""Searching the log for those who may: auditors everything, a system the exchanges in which it is sender or receiver. Each reading is an entry.

What the catalogue covers is found by its indexes where it has one, all else is read in the log, piece by piece: no reading of the ledger lasts
longer than a piece, each piece waits while people ask for anything else, and a call ends after a second, with where to go on. The forms of what
is asked are left to the edge.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, Self

from lgsp.bus.auditor import Auditor
from lgsp.bus.authentication import Caller
from lgsp.bus.cataloguer import Cataloguer, about
from lgsp.bus.parties import is_party
from lgsp.bus.parts import Parts
from lgsp.bus.registry import Registry
from lgsp.bus.subjectring import whole_ring
from lgsp.bus.timespan import bounds
from lgsp.domain import subjects
from lgsp.domain.mentions import Manifest, business, env_in
from lgsp.domain.selection import Selection, manifest_by, member, tells_manifest
from lgsp.errors import Refusal
from lgsp.ports.persons import SubjectKeys
from lgsp.ports.store import Store

AT_ONCE: Final = 500
"""Entries in one piece: some milliseconds."""
WORK_SECONDS: Final = 1.0
"""How long one call looks; what is not looked through by then is for the next."""
CATCH_UP_SECONDS: Final = 0.5
"""How long a search lets the catalogue follow the log before it begins."""
AT_THE_SAME_TIME: Final = 2
"""Searches of people, and of systems, that are under way; the others wait."""
REMEMBERED: Final = 10_000
"""Envelopes that a call remembers while it goes through the log."""

Numbered = tuple[int, bytes]
"""An entry with its number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who reads, as the log names them."""

    by: str
    allowed: bool
    own: frozenset[str] | None = None
    """The systems whose exchanges may be seen; None for all of the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one call found."""

    entries: Sequence[bytes]
    next: int | None
    """Where the next call is to start, None at the end."""
    stop: int
    """Where the end is: the size of the log at the first call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Searcher:
    """Answers searches, page by page."""

    store: Store
    auditor: Auditor
    cataloguer: Cataloguer
    registry: Registry
    subject_keys: SubjectKeys
    _peoples: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_THE_SAME_TIME))
    _systems: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_THE_SAME_TIME))
    """Places of their own, so that no program keeps an auditor waiting."""

    async def person(self, scheme: str, number: str) -> tuple[bytes, ...]:
        """Return what stands for a person's number in a selection; refuse (`bad_request`), never with the number, what is none."""
        try:
            keys = await whole_ring(self.subject_keys, self.store)
            return tuple(subjects.pseudonym(key, scheme, number) for key in keys)
        except ValueError as error:
            raise Refusal("bad_request", str(error), pointer="/person") from None

    @classmethod
    def of(cls, parts: Parts, *, auditor: Auditor, cataloguer: Cataloguer, registry: Registry) -> Self:
        """Return the one of a gateway that is made of these parts."""
        return cls(
            store=parts.store,
            auditor=auditor,
            cataloguer=cataloguer,
            registry=registry,
            subject_keys=parts.subject_keys,
        )

    def reader(self, caller: Caller) -> Reader:
        """Return what a caller may read: a system its own exchanges and those of the principals for which it stands, an auditor all."""
        if caller.role == "system":
            own = frozenset({caller.urn, *self.registry.current.principals_of(caller.urn)})
            return Reader(by=caller.urn, allowed=True, own=own)
        return Reader(by=caller.urn, allowed="auditor" in caller.roles)

    def turn(self, reader: Reader) -> asyncio.Semaphore:
        """Return what a reader waits for before the log is looked through: few are at it at a time, and no system keeps people waiting."""
        return self._peoples if reader.own is None else self._systems

    async def page(self, reader: Reader, selection: Selection, *, start: int, stop: int | None, limit: int) -> Page:
        """Return the first entries from `start` on that are asked for, at most `limit`; refuse (`forbidden`) who may not read.

        An entry tells of the reading first, or of the attempt.
        """
        query = selection.members() | {"limit": limit, "start": start} | ({} if stop is None else {"stop": stop})
        await self.auditor.note_reading(reader.by, query, allowed=reader.allowed)
        size = await self.store.size()
        end = size if stop is None else min(stop, size)
        async with self.turn(reader):
            covered = await self.cataloguer.follow(CATCH_UP_SECONDS)
            first, last = await bounds(self.store, selection, min(start, end), end)
            run = _Run(
                store=self.store,
                selection=selection,
                own=reader.own,
                covered=covered,
                pause=self.auditor.sequencer.calm,
            )
            return await run.page(first, last, end, limit)


@dataclass(slots=True, kw_only=True)
class _Run:
    """One call's way through the log."""

    store: Store
    selection: Selection
    own: AbstractSet[str] | None
    covered: int
    pause: Callable[[], Awaitable[None]]
    """Lets what others wait for go first."""
    _envs: AbstractSet[str] | None = None
    """The envelopes that name the person who is asked for."""
    _manifests: dict[str, Manifest] = field(default_factory=dict)
    """What is known of envelopes, by env hash."""
    _party: dict[str, bool] = field(default_factory=dict)

    async def page(self, place: int, last: int, end: int, limit: int) -> Page:
        until = time.monotonic() + WORK_SECONDS
        found: list[Numbered] = []
        while place < last and len(found) < limit:
            piece, place = await self._piece(place, last)
            found += await self._taken(piece)
            if time.monotonic() > until:
                break
            await self.pause()
            await asyncio.sleep(0)
        if len(found) > limit:
            place = found[limit][0]
        entries = [entry for _, entry in found[:limit]]
        return Page(entries=entries, next=place if place < last else None, stop=end)

    async def _piece(self, place: int, last: int) -> tuple[list[Numbered], int]:
        """Return the next entries that may be asked for, and where what follows them begins."""
        if place < self.covered:
            numbers = await self._catalogued(place, min(last, self.covered))
            if numbers is not None:
                whole = len(numbers) < AT_ONCE
                return await self._at(numbers), min(last, self.covered) if whole else numbers[-1] + 1
        stop = min(place + AT_ONCE, last)
        return list(enumerate(await self.store.entries(place, stop), place)), stop

    async def _at(self, numbers: Sequence[int]) -> list[Numbered]:
        entries = await self.store.entries_at(numbers)
        if len(entries) < len(numbers):
            raise Refusal("unavailable", "entries that the catalogue names are missing: lgsp audit verify names where")
        return list(zip(numbers, entries, strict=True))

    async def _catalogued(self, place: int, stop: int) -> list[int] | None:
        """Return the next numbers by the catalogue, None when it has no index for what is asked."""
        if self.selection.person:
            persons = self.selection.person
            found = [await self.store.mentioning_person(each, place, stop, AT_ONCE) for each in persons]
            return sorted(set().union(*found))[:AT_ONCE]
        by = self.selection.indexed()
        return None if by is None else await self.store.mentioning(*by, place, stop, AT_ONCE)

    async def _taken(self, piece: Sequence[Numbered]) -> list[Numbered]:
        """Return those that are asked for and may be seen."""
        found = [each for each in piece if self.selection.takes_entry(each[1])]
        if self.selection.person:
            found = [each for each in found if env_in(each[1]) in await self._envs_of_person()]
        if self.selection.asks_business:
            told = await about(self.store, [entry for _, entry in found])
            said = [business(manifest, cause) for _, manifest, cause in told]
            found = [each for each, one in zip(found, said, strict=True) if self.selection.takes_business(one)]
        if self.selection.asks_parties:
            await self._look_up(piece, found)
            found = [each for each in found if self.selection.takes_parties(each[1], self._said(each[1]))]
        return found if self.own is None else [each for each in found if await self._sees(self.own, each[1])]

    async def _look_up(self, piece: Sequence[Numbered], found: Sequence[Numbered]) -> None:
        """Know the manifests of the envelopes that `found` name: most from entries that accepted them shortly before, the others as they are kept."""
        if len(self._manifests) > REMEMBERED:
            self._manifests.clear()
        self._manifests |= {env_in(entry): manifest_by(entry) for _, entry in piece if tells_manifest(entry)}
        others = [entry for _, entry in found if env_in(entry) and env_in(entry) not in self._manifests]
        self._manifests |= {env: manifest for env, manifest, _ in await about(self.store, others)}

    def _said(self, entry: bytes) -> Manifest:
        return self._manifests.get(env_in(entry), {})

    async def _envs_of_person(self) -> AbstractSet[str]:
        if self._envs is None:
            found = [await self.store.envs_of_person(each) for each in self.selection.person]
            self._envs = frozenset().union(*found)
        return self._envs

    async def _sees(self, own: AbstractSet[str], entry: bytes) -> bool:
        """Tell whether an entry is of an exchange of one's own."""
        env = env_in(entry)
        if not env:
            return False
        if member(b"src", entry) in own:
            return True
        if env not in self._party:
            self._party[env] = await is_party(self.store, own, env)
        return self._party[env]
