"""Persons: who used whose data, what a law keeps from them for a time, and their erasure from the index.

A number comes in, is made a pseudonym under each key of the ring, and goes no further: not into the log, an error or a figure. What the log says
of a question is a hash over its parameters, in which a fresh commitment stands in the person's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Self

from lgsp.bus.breach import Breach
from lgsp.bus.parts import Parts
from lgsp.bus.registry import Registry
from lgsp.bus.sequencer import Sequencer
from lgsp.bus.subjectring import whole_ring
from lgsp.domain import base64url, jws, strictjson, subjects, withholding
from lgsp.domain.entries import Draft, check_reason, draft
from lgsp.domain.envelope import parse_time
from lgsp.domain.mentions import cause_in
from lgsp.domain.selection import time_in
from lgsp.domain.subjects import KEY_BYTES, SALT_BYTES, Person
from lgsp.domain.usages import Usage, usage_of
from lgsp.domain.withholding import Withholding
from lgsp.errors import Refusal, Unusable
from lgsp.ports.clock import Clock, Entropy
from lgsp.ports.ledger import (
    EndWithholding,
    ErasePerson,
    KeepSubjectKey,
    Note,
    RetireSubjectKey,
    Spend,
    Withhold,
)
from lgsp.ports.persons import BEFORE_ALL, UNKNOWN, Place, SubjectKeys, Use
from lgsp.ports.store import Store

READ_AT_ONCE: Final = 200
READS_MAX: Final = 50
"""Reads of the index for one page: so many withheld uses in a row end a page early, and the next one goes on behind them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked about one person; `whole` shows what is withheld from the person too."""

    person: Person
    whole: bool
    after: Place = BEFORE_ALL
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A page of uses, and the place behind which the next page begins, None when there is none."""

    usages: tuple[Usage, ...]
    behind: Place | None
    since: datetime
    """From when on the log tells."""
    commitment: str
    """What stands for the person in the parameters that the log's entry hashes; with `salt` and a key of the ring it can be made again."""
    salt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Persons:
    """Answers officers, and changes the index at their word; who asks is named in `by`."""

    gateway: str
    keys: SubjectKeys
    store: Store
    sequencer: Sequencer
    clock: Clock
    entropy: Entropy
    breach: Breach

    @classmethod
    def of(cls, parts: Parts, *, sequencer: Sequencer, registry: Registry) -> Self:
        """Return the one of a gateway that is made of these parts."""
        breach = Breach(
            gateway=parts.gateway,
            keys=parts.subject_keys,
            store=parts.store,
            sequencer=sequencer,
            registry=registry,
            clock=parts.clock,
        )
        return cls(
            gateway=parts.gateway,
            keys=parts.subject_keys,
            store=parts.store,
            sequencer=sequencer,
            clock=parts.clock,
            entropy=parts.entropy,
            breach=breach,
        )

    async def usages(self, question: Question, *, by: str) -> Answer:
        """Return a page of one person's uses, oldest first, after an entry says who asks."""
        members = {
            "after": list(question.after),
            "limit": question.limit,
            "view": "auditor" if question.whole else "person",
        }
        salt, commitment = self._cover(question.person)
        entry = self._entry("audit.read", by, obj="usages", hash=_hash(members | {"subject": commitment}))
        await self.sequencer.submit(Note(entry=entry))
        rules = () if question.whole else await self._in_force()
        found, behind = await self._page(question, rules)
        return Answer(
            usages=tuple(found),
            behind=behind,
            since=await self._begun(),
            commitment=commitment,
            salt=base64url.encode(salt),
        )

    async def _page(self, question: Question, rules: Sequence[Withholding]) -> tuple[list[Usage], Place | None]:
        """Read until the page is full, however much of it is withheld: its length tells nothing of that."""
        pseudonyms = await self._pseudonyms(question.person)
        found: list[Usage] = []
        last = after = question.after
        for _ in range(READS_MAX):
            uses = await self._uses(pseudonyms, after)
            for use, usage in zip(uses, await self._told(uses), strict=True):
                if usage.is_withheld(rules):
                    continue
                if len(found) == question.limit:
                    return found, last
                found.append(usage)
                last = use.place
            if len(uses) < READ_AT_ONCE:
                return found, None
            after = uses[-1].place
        return found, after

    async def _uses(self, pseudonyms: Sequence[bytes], after: Place) -> list[Use]:
        """Return the next uses under any of a person's pseudonyms, in the order of the log."""
        found = [use for each in pseudonyms for use in await self.store.uses(each, after, READ_AT_ONCE)]
        return sorted(found, key=lambda use: use.place)[:READ_AT_ONCE]

    async def _told(self, uses: Sequence[Use]) -> list[Usage]:
        """Return what uses say, those of replies with what their requests say."""
        found = [use if use.index != UNKNOWN else await self._placed(use) for use in uses]
        causes = [cause_in(use.entry) for use in found]
        asked = await self.store.kept([cause for cause in dict.fromkeys(causes) if cause])
        return [
            usage_of(
                env=use.env,
                index=use.index,
                commitment=use.commitment,
                told=strictjson.parse_object(use.entry) if use.entry else {},
                compact=use.compact,
                asked=asked[cause].compact if cause in asked else b"",
            )
            for use, cause in zip(found, causes, strict=True)
        ]

    async def _placed(self, use: Use) -> Use:
        """Return a use with its entry, which the catalogue finds where an earlier program has not kept its index."""
        numbers = (await self.store.entries_of(use.env))[:1]
        return replace(use, index=numbers[0], entry=(await self.store.entries_at(numbers))[0]) if numbers else use

    async def erase(self, person: Person, *, by: str, reason: str) -> int:
        """Drop a person from the index and return the entry's number; refuse (`not_found`) when the index does not know them."""
        check_reason(reason)
        pseudonyms = await self._pseudonyms(person)
        if not await self._uses(pseudonyms, BEFORE_ALL):
            raise Refusal("not_found", "the index names nobody of this number")
        entry = self._entry("subject.erased", by, reason=reason)
        return await self._done(ErasePerson(pseudonyms=pseudonyms, entry=entry))

    # Withholding

    async def withhold(self, rule: Withholding, *, by: str, reason: str) -> int:
        """Keep a new rule and return the entry's number; refuse (`bad_request`) one that is not sound."""
        check_reason(reason)
        withholding.check(rule)
        entry = self._entry("admin.withholding.made", by, obj=rule.id, hash=_hash(rule.stated()), reason=reason)
        return await self._done(Withhold(rule=rule, entry=entry))

    async def end_withholding(self, rule: str, *, by: str, reason: str) -> int:
        """End a rule before its time and return the entry's number; refuse (`not_found`) when there is none that could be ended."""
        check_reason(reason)
        entry = self._entry("admin.withholding.ended", by, obj=rule, reason=reason)
        return await self._done(EndWithholding(id=rule, at=self.clock.now(), entry=entry))

    async def withholdings(self, *, by: str) -> list[Withholding]:
        """Return all rules, ended or not, after an entry says who reads them."""
        await self.sequencer.submit(Note(entry=self._entry("audit.read", by, obj="withholdings")))
        return await self.store.withholdings()

    async def _in_force(self) -> list[Withholding]:
        now = self.clock.now()
        return [rule for rule in await self.store.withholdings() if rule.holds(now)]

    # Keys

    async def start(self) -> None:
        """Keep the names of the ring's keys; refuse (`subject_keys_differ`) when the newest was retired elsewhere: nobody would be found by it."""
        known, now = await self.store.subject_keys(), self.clock.now()
        names = self.key_names()
        if known.get(names[0]):
            raise Unusable("subject_keys_differ", f"{names[0]} was retired")
        new = [KeepSubjectKey(name=name, at=now) for name in names if name not in known]
        if new:
            await self.sequencer.submit(*new)

    async def rotate_key(self, *, by: str, reason: str) -> str:
        """Have a new key make pseudonyms from now on and return its name; those of the others are found as before."""
        check_reason(reason)
        key = self.entropy.token(KEY_BYTES)
        self.keys.add(key)
        name = subjects.key_name(key)
        entry = self._entry("key.rotated", by, obj=name, reason=reason)
        await self.sequencer.submit(KeepSubjectKey(name=name, at=self.clock.now(), entry=entry))
        return name

    async def retire_key(self, *, by: str, reason: str) -> str:
        """Destroy the oldest key and return its name: nobody is found any more under pseudonyms that it made."""
        check_reason(reason)
        *_, name = self.key_names()
        if name == self.key_names()[0]:
            raise Refusal("last_key")
        entry = self._entry("admin.subject.key.retired", by, obj=name, reason=reason)
        # First in the ledger: a key that is gone from the file and not from there would be missed at every question.
        await self.sequencer.submit(RetireSubjectKey(name=name, at=self.clock.now(), entry=entry))
        self.keys.retire()
        return name

    def key_names(self) -> list[str]:
        """Return the names of the ring's keys, the newest first."""
        return [subjects.key_name(key) for key in self.keys.all()]

    async def note_attempt(self, by: str, what: str, once: Spend) -> None:
        """Write that somebody without the role called, once for each authorization."""
        entry = self._entry("audit.read", by, code="forbidden", obj=what)
        await self.sequencer.submit(Note(entry=entry, once=once))

    # Within

    async def _pseudonyms(self, person: Person) -> tuple[bytes, ...]:
        """Return a person's pseudonyms under all keys; refuse as `whole_ring`."""
        return tuple(person.pseudonym(key) for key in await whole_ring(self.keys, self.store))

    def _cover(self, person: Person) -> tuple[bytes, str]:
        """Return a fresh salt and the commitment that it makes: what stands for a person in what the log hashes."""
        salt = self.entropy.token(SALT_BYTES)
        return salt, subjects.commitment(salt, person.pseudonym(self.keys.newest))

    async def _begun(self) -> datetime:
        """Return the time of the log's first entry."""
        [first] = await self.store.entries(0, 1)
        return parse_time(time_in(first))

    def _entry(self, event: str, by: str, **members: str) -> Draft:
        return draft(event, at=self.clock.now(), bus=self.gateway, by=by, **members)

    async def _done(self, operation: ErasePerson | Withhold | EndWithholding) -> int:
        [result] = await self.sequencer.submit(operation)
        if isinstance(result, str):
            raise Refusal("not_found", "there is no such rule, or it has been ended")
        return result.index


def _hash(members: dict[str, Any]) -> str:
    return jws.hash_of(strictjson.compact(members))
