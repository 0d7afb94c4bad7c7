"""Custody of sealed bodies: what is held of each day, the archive's end, and the end of a day's key, with which its bodies are erased.

A key goes by itself once nothing of its day is held, or by a person's word. What was to be delivered of an erased day ends, a sweep at a time.
How bodies are sealed and opened is left to `body_keys`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final, Self

from lgsp.bus.body_keys import BodyKeys
from lgsp.bus.moves import ERASED, Moves
from lgsp.bus.parts import Parts
from lgsp.bus.progress import Progress
from lgsp.bus.rhythm import is_due
from lgsp.bus.sequencer import Sequencer
from lgsp.domain.directory import day_of
from lgsp.domain.entries import check_reason, draft
from lgsp.errors import Refusal
from lgsp.logs import get_logger
from lgsp.ports.bodies import Bodies, DayHeld
from lgsp.ports.clock import Clock
from lgsp.ports.ledger import DestroyBodyKey, Done, DropArchived

AT_ONCE: Final = 50
"""Bodies or deliveries in one step: some milliseconds of the ledger, for which a look-up may have to wait."""
DROP_EVERY: Final = timedelta(minutes=1)
"""How often is looked for what the archive need not keep any more when there was nothing; else each sweep makes a step."""
KEYS_EVERY: Final = timedelta(hours=1)
"""How often the days that are held are compared with the days that have a key."""
SETTLING: Final = timedelta(hours=1)
"""How long after its end a day is let be: an envelope that was sealed in its last moment is in the ledger by then, whatever went wrong."""
IDLE: Final = timedelta(days=1)
"""The same before a key goes that nobody asked to destroy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A day of which a key or a body is held; without a key its bodies are erased, and on their way out."""

    held: DayHeld
    has_key: bool


@dataclass(slots=True, kw_only=True)
class Custody:
    """Looks after the sealed bodies of one ledger in the name of one gateway."""

    gateway: str
    store: Bodies
    keys: BodyKeys
    sequencer: Sequencer
    progress: Progress
    moves: Moves
    clock: Clock
    _erased: set[str] = field(default_factory=set)
    """Days without a key of which something may be held yet."""
    _dropped: datetime | None = None
    _compared: datetime | None = None

    @classmethod
    def of(cls, parts: Parts, *, keys: BodyKeys, progress: Progress, moves: Moves) -> Self:
        """Return the one of a gateway that is made of these parts."""
        return cls(
            gateway=parts.gateway,
            store=parts.store,
            keys=keys,
            sequencer=keys.sequencer,
            progress=progress,
            moves=moves,
            clock=parts.clock,
        )

    # What people ask for

    async def days(self) -> list[Day]:
        """Return the days of which a key or a body is held, the oldest first."""
        kept = await self.keys.store.body_keys()
        held = {each.day: each for each in await self.store.bodies_by_day()}
        return [Day(held=held.get(day, _nothing(day)), has_key=day in kept) for day in sorted(kept.keys() | held)]

    async def destroy(self, day: str, *, by: str, reason: str, even_undelivered: bool) -> tuple[int, DayHeld]:
        """Destroy the key of a day; return the number of the entry, and what was held of the day.

        Refuses as `not_found` a day without a key, as `day_not_over`, and as `bodies_undelivered` one of which something is in flight or
        parked, unless that may be: then those deliveries end, and their senders learn `body_erased`.
        """
        check_reason(reason)
        self._refuse_unless_over(day)
        found = next((each for each in await self.days() if each.held.day == day and each.has_key), None)
        if found is None:
            raise Refusal("not_found", "no key of this day is kept: it was destroyed, or nothing was sealed on it")
        held = found.held
        if not even_undelivered and (held.in_flight or held.parked):
            raise Refusal("bodies_undelivered", f"{held.in_flight} in flight, {held.parked} parked")
        index = await self._destroy(day, by=by, reason=reason)
        if index is None:
            raise Refusal("not_found", "somebody else was quicker")
        self._erased.add(day)
        await self._clear(day)
        return index, held

    def _refuse_unless_over(self, day: str) -> None:
        try:
            is_over = date.fromisoformat(day) < day_of(self.clock.now() - SETTLING)
        except ValueError:
            raise Refusal("bad_request", "a day is written YYYY-MM-DD", pointer="/day") from None
        if not is_over:
            raise Refusal("day_not_over", "its key is in use until an hour after the day's end")

    async def _destroy(self, day: str, **said: Any) -> int | None:  # noqa: ANN401 - texts
        """Destroy a key and forget it, here and elsewhere; return the number of the entry, None when somebody else did."""
        entry = draft("admin.body.key.destroyed", at=self.clock.now(), bus=self.gateway, obj=day, **said)
        [result] = await self.sequencer.submit(DestroyBodyKey(day=day, entry=entry))
        self.keys.forget(day)
        self.progress.announcer.erased(day)
        if not isinstance(result, Done):
            return None
        get_logger().info("body_key.destroyed", day=day)
        return result.index

    # What time brings about

    async def step(self, now: datetime) -> None:
        """Do a step of what is due: end what was erased, drop what the archive need not keep, destroy keys that nothing needs."""
        if is_due(self._compared, now, KEYS_EVERY):
            await self._compare(now)
            self._compared = now
        for day in tuple(self._erased):
            await self._clear(day)
        if is_due(self._dropped, now, DROP_EVERY):
            envs = await self.store.archive_over(now, AT_ONCE)
            await self._drop(envs)
            self._dropped = now if len(envs) < AT_ONCE else None

    async def _compare(self, now: datetime) -> None:
        """Destroy the keys of past days of which nothing is held, and find the days of which something is held without a key."""
        last = day_of(now - IDLE).isoformat()
        for day in await self.days():
            held = day.held
            if not day.has_key:
                self._erased.add(held.day)
            elif held == _nothing(held.day) and held.day < last:
                await self._destroy(held.day)

    async def _clear(self, day: str) -> None:
        """End up to `AT_ONCE` deliveries of an erased day, then drop as many of its archived bodies; what is leased ends when it comes back."""
        now = self.clock.now()
        undelivered = await self.store.undelivered(day, AT_ONCE)
        await self.progress.commit([self.moves.expire(held, code=ERASED, now=now) for held in undelivered])
        archived = await self.store.archived(day, AT_ONCE)
        await self._drop(archived)
        if len(undelivered) < AT_ONCE and len(archived) < AT_ONCE:
            self._erased.discard(day)

    async def _drop(self, envs: Sequence[str]) -> None:
        if envs:
            await self.sequencer.submit(DropArchived(envs=tuple(envs)), order="bulk")
            get_logger().info("sweep.unarchived", count=len(envs))


def _nothing(day: str) -> DayHeld:
    return DayHeld(day=day, in_flight=0, parked=0, archived=0)
