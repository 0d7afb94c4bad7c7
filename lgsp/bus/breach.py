"""A breach: which exchanges were one suspect's doing or reached it, how many persons they name, and, once two officers agree, whom of a list.

The log is read in pages from a moment on, so an answer takes as much memory as a page. Persons leave as marks that are of use for counting alone:
who is behind a mark is told only for numbers that two auditors have brought.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from lgsp.bus.registry import Registry
from lgsp.bus.sequencer import Sequencer
from lgsp.bus.subjectring import whole_ring
from lgsp.bus.timespan import first_from
from lgsp.domain import base64url, impact, jws, strictjson
from lgsp.domain.entries import Draft, check_reason, draft
from lgsp.domain.envelope import format_time, parse_time
from lgsp.domain.mentions import cause_in
from lgsp.domain.selection import time_in
from lgsp.domain.subjects import Person
from lgsp.domain.usages import usage_of
from lgsp.errors import Refusal
from lgsp.ports.clock import Clock
from lgsp.ports.ledger import Note, SubjectLink
from lgsp.ports.persons import SubjectKeys
from lgsp.ports.store import Store

READ_AT_ONCE: Final = 1_024
SCANNED_MAX: Final = 65_536
"""Entries looked through for one page."""
LOOKED_UP_AT_ONCE: Final = 256
ITEMS_ENOUGH: Final = 1_000
MARKS_ENOUGH: Final = 20_000
"""A page ends after the group of exchanges that reaches one of the two."""
SLACK: Final = timedelta(hours=1)
"""How far the time of an entry may lie behind that of an earlier one: a clock was set back."""
AGREED_WITHIN: Final = timedelta(hours=72)
"""How long after the first officer the second one may sign."""
MARK_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One exchange that counts, or the reading of its body by a person; "" for what is not stated."""

    index: int
    moment: datetime
    event: str
    env: str
    to: str
    action: str
    sender: str
    receiver: str
    purpose: str
    procedure: str
    casefile: str
    officer: str
    pseudonyms: tuple[bytes, ...]

    def marks(self, nonce: bytes) -> list[str]:
        """Return what stands for each person in an answer: the same for the same nonce, and without it nothing."""
        return [base64url.encode(hmac.digest(nonce, each, "sha256")[:MARK_BYTES]) for each in self.pseudonyms]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The items of a stretch of the log, and the index from which the next page goes on, None when there is none."""

    items: tuple[Item, ...]
    behind: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """Whom of these persons a breach has reached, as two officers ask for it; the nonce keeps the log's hash from telling a number."""

    breach: impact.Breach
    persons: tuple[Person, ...]
    nonce: str

    def hash(self) -> str:
        """Return the hash by which both officers' entries name the request."""
        persons = [[person.scheme, person.number] for person in self.persons]
        return jws.hash_of(strictjson.compact(self.breach.stated() | {"nonce": self.nonce, "persons": persons}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """Looks through the log for auditors, each named in `by`."""

    gateway: str
    keys: SubjectKeys
    store: Store
    sequencer: Sequencer
    registry: Registry
    clock: Clock

    async def page(self, breach: impact.Breach, *, after: int | None, by: str) -> Page:
        """Return a page of what a breach reached, oldest first, after an entry says who asks; `after` is the page before's `behind`."""
        query = strictjson.compact({"after": after} | breach.stated())
        await self.sequencer.submit(Note(entry=self._entry("audit.read", by, obj="impact", hash=jws.hash_of(query))))
        return await self._page(breach, after)

    async def ask_names(self, naming: Naming, *, by: str, reason: str) -> int:
        """Note that one auditor wants persons named, and return the entry's index, for the second; refuse as `not_agreed` anyone else."""
        check_reason(reason)
        self._check_auditor(by)
        entry = self._entry("admin.persons.asked", by, hash=naming.hash(), reason=reason)
        [done] = await self.sequencer.submit(Note(entry=entry))
        assert not isinstance(done, str), "a note is never lost"
        return done.index

    async def name(self, naming: Naming, *, asked: int, after: int | None, by: str) -> tuple[list[int], int | None]:
        """Return which of the persons (by their places) a page names, and where the next page goes on, when another auditor asked for it at `asked`.

        Refuses (`not_agreed`) when nobody has asked for this very thing within 72 hours, or only oneself.
        """
        self._check_auditor(by)
        await self._check_agreed(naming, asked, by)
        entry = self._entry("admin.persons.named", by, obj=str(asked), hash=naming.hash())
        await self.sequencer.submit(Note(entry=entry))
        page = await self._page(naming.breach, after)
        reached = {pseudonym for item in page.items for pseudonym in item.pseudonyms}
        keys = await whole_ring(self.keys, self.store)
        # Aside, for thousands of persons under several keys take longer than others should wait.
        return await asyncio.to_thread(_places, naming.persons, keys, reached), page.behind

    def _check_auditor(self, by: str) -> None:
        officer = self.registry.current.officers.get(by)
        if officer is None or "auditor" not in officer.roles:
            raise Refusal("not_agreed", "both are officers with the role auditor, each with a signature")

    async def _check_agreed(self, naming: Naming, asked: int, by: str) -> None:
        found = await self.store.entries(asked, asked + 1)
        told = strictjson.parse_object(found[0]) if found else {}
        if told.get("ev") != "admin.persons.asked" or told["hash"] != naming.hash():
            raise Refusal("not_agreed", "the first officer asked for something else, or nothing")
        if told["by"] == by:
            raise Refusal("not_agreed", "it takes another officer than the one who asked")
        self._check_auditor(told["by"])
        if self.clock.now() - parse_time(told["ts"]) > AGREED_WITHIN:
            raise Refusal("not_agreed", "the first officer asked more than 72 hours ago")

    # Reading the log

    async def _page(self, breach: impact.Breach, after: int | None) -> Page:
        size = await self.store.size()
        start = await self._start(breach, size) if after is None else after
        stop = min(size, start + SCANNED_MAX)
        items: list[Item] = []
        for low in range(start, stop, READ_AT_ONCE):
            await asyncio.sleep(0)  # others get their turn
            entries = await self.store.entries(low, min(stop, low + READ_AT_ONCE))
            candidates = _candidates(breach, entries)
            for place in range(0, len(candidates), LOOKED_UP_AT_ONCE):
                group = candidates[place : place + LOOKED_UP_AT_ONCE]
                items += await self._looked_up(breach, group)
                if len(items) >= ITEMS_ENOUGH or sum(len(item.pseudonyms) for item in items) >= MARKS_ENOUGH:
                    return Page(items=tuple(items), behind=int(group[-1]["seq"]) + 1)
            if entries and _moment(entries[-1]) >= breach.until + SLACK:
                return Page(items=tuple(items), behind=None)
        return Page(items=tuple(items), behind=stop if stop < size else None)

    async def _looked_up(self, breach: impact.Breach, told: Sequence[dict[str, Any]]) -> list[Item]:
        entries = [each for entry in told for each in await self._of_each_body(entry)]
        envs = {entry[name]: None for entry in entries for name in ("env", "cause") if name in entry}
        kept = {env: each.compact for env, each in (await self.store.kept(list(envs))).items()}
        persons = await self.store.persons_of([entry["env"] for entry in entries])
        found = []
        for entry in entries:
            compact, asked = kept.get(entry["env"], b""), kept.get(entry.get("cause", ""), b"")
            if breach.concerns(entry, compact, asked):
                found.append(_item(entry, compact, asked, persons.get(entry["env"], ())))
        return found

    async def _of_each_body(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        """Return an entry as often as it tells of bodies: who reads for evidence may see the request's and the reply's, whichever is named.

        A reply that came later counts too, for the reading begins at its entry and goes on after it.
        """
        if entry["ev"] != impact.READ_FOR_EVIDENCE:
            return [entry]
        named = entry["env"]
        asked = await self._cause_of(named) or named
        exchange = await self.store.exchange_of(asked)
        stays = exchange or await self.store.evidence(asked)
        envs = dict.fromkeys(env for env in (asked, named, stays.reply if stays else "") if env)
        return [entry | {"env": env} | ({} if env == asked else {"cause": asked}) for env in envs]

    async def _cause_of(self, env: str) -> str:
        """Return the env hash of the request that an envelope answers, or ""; of a forgotten exchange the log alone tells it."""
        if (exchange := await self.store.exchange_of(env)) is not None:
            return exchange.cause
        entries = await self.store.entries_at(await self.store.entries_of(env))
        return next(filter(None, map(cause_in, entries)), "")

    async def _start(self, breach: impact.Breach, size: int) -> int:
        """Return the index of about the first entry that may count."""
        return await first_from(self.store, format_time(breach.since - SLACK), 0, size)

    def _entry(self, event: str, by: str, **members: str) -> Draft:
        return draft(event, at=self.clock.now(), bus=self.gateway, by=by, **members)


def _places(persons: Sequence[Person], keys: Sequence[bytes], reached: AbstractSet[bytes]) -> list[int]:
    """Return the places of the persons one of whose pseudonyms was reached."""
    return [place for place, person in enumerate(persons) if any(person.pseudonym(key) in reached for key in keys)]


def _candidates(breach: impact.Breach, entries: Sequence[bytes]) -> list[dict[str, Any]]:
    """Return the entries that are to be looked at further; only what may be one of them is taken apart."""
    needle = breach.name.encode()
    marks = (needle,) if breach.suspect == "system" else (needle, b'"ev":"msg.accepted"')
    likely = (entry for entry in entries if any(mark in entry for mark in marks))
    return [each for each in map(strictjson.parse_object, likely) if "env" in each and breach.may_concern(each)]


def _moment(entry: bytes) -> datetime:
    return parse_time(time_in(entry))


def _item(entry: dict[str, Any], compact: bytes, asked: bytes, links: Sequence[SubjectLink]) -> Item:
    use = usage_of(env=entry["env"], index=entry["seq"], commitment="", told=entry, compact=compact, asked=asked)
    return Item(
        index=use.index,
        moment=use.moment,
        event=entry["ev"],
        env=use.env,
        to=entry.get("to", ""),
        action=use.action,
        sender=use.sender,
        receiver=use.receiver,
        purpose=use.purpose,
        procedure=use.procedure,
        casefile=use.casefile,
        officer=use.officer,
        pseudonyms=tuple(sorted({link.pseudonym for link in links})),
    )
