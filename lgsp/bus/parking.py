"""Parked deliveries, as people decide on them: which there are, how each came about, and whether it goes out again or ends.

Every decision is an entry that names who took it. Nothing here parks: deliveries park when they have failed often enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lgsp.bus.body_keys import BodyKeys, DayErased
from lgsp.bus.moves import Moves, Step
from lgsp.bus.progress import Progress
from lgsp.bus.publisher import Publisher
from lgsp.bus.sequencer import Sequencer
from lgsp.domain import statements, strictjson
from lgsp.domain.entries import check_reason, draft
from lgsp.domain.envelope import Wire
from lgsp.domain.exchange import Delivery, Exchange
from lgsp.domain.sealing import SealBroken
from lgsp.errors import Refusal
from lgsp.ports.clock import Clock
from lgsp.ports.inboxes import Inboxes
from lgsp.ports.ledger import Ledger, Note

LISTED_MAX: Final = 10_000
"""Parked deliveries that are looked through for a list."""
PAUSE_EVERY: Final = 64
"""Rows read between two pauses in which others get their turn."""
READ_AT_ONCE: Final = 4_096
LOOKED_THROUGH: Final = 2_000_000
"""Entries searched for the story of one envelope: several days of a province."""
TOLD: Final = ("seq", "ts", "ev", "env", "to", "code", "attempt", "by", "reason")
"""Members of an entry that an operator sees; the rest is for auditors."""

Place = tuple[str, str]
"""(env hash, receiving inbox): one delivery; without an inbox the only one of the envelope that is parked."""
StepOf = Callable[[Delivery], Awaitable[Step]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which parked deliveries are meant; an empty member leaves all in."""

    system: str = ""
    """The inbox that they are for."""
    type: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """A parked delivery and the type of its envelope."""

    delivery: Delivery
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The first of the chosen ones, and how many there are; `whole` is False when more are parked than were looked through."""

    items: tuple[Parked, ...]
    total: int
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """How an envelope came about and what became of it: the request, then its reply, each with its deliveries, and what the log says of both."""

    chain: tuple[tuple[Exchange, tuple[Delivery, ...]], ...]
    entries: tuple[dict[str, Any], ...]
    searched: int
    """The entry up to which, and not including which, the log was searched."""
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Parking:
    """Looks after what is parked; whoever acts is named in `by`, and says why in `reason` (one line, at most 200 characters)."""

    gateway: str
    ledger: Ledger
    inboxes: Inboxes
    publisher: Publisher
    progress: Progress
    sequencer: Sequencer
    body_keys: BodyKeys
    moves: Moves
    clock: Clock

    async def listing(self, choice: Choice, *, limit: int) -> Listing:
        """Return the first `limit` parked deliveries of a choice, in the order of acceptance, and the number of all."""
        rows = await self.inboxes.in_state("parked", LISTED_MAX + 1)
        found: list[Parked] = []
        for number, held in enumerate(rows[:LISTED_MAX], start=1):
            if number % PAUSE_EVERY == 0:
                await asyncio.sleep(0)
            if choice.system not in {"", held.to} or choice.code not in {"", held.code}:
                continue
            type_ = await self._type_of(held.env) if choice.type or len(found) < limit else ""
            if choice.type in {"", type_}:
                found.append(Parked(delivery=held, type=type_))
        return Listing(items=tuple(found[:limit]), total=len(found), whole=len(rows) <= LISTED_MAX)

    async def _type_of(self, env: str) -> str:
        exchange = await self.ledger.exchange_of(env)
        return "" if exchange is None else exchange.type

    async def lineage(self, env: str) -> Lineage:
        """Return the story of an accepted envelope, parked or not; refuse as `not_found`."""
        asked = await self._exchange(env)
        request = await self._exchange(asked.cause) if asked.cause else asked
        answered = await self.ledger.exchange_of(request.reply) if request.reply else None
        chain = [request, *([answered] if answered is not None else [])]
        told, searched = await self._entries({exchange.env for exchange in chain}, since=_index_of(request))
        return Lineage(
            chain=tuple([(exchange, tuple(await self.inboxes.deliveries(exchange.env))) for exchange in chain]),
            entries=tuple(told),
            searched=searched,
            whole=searched >= await self.ledger.size(),
        )

    async def _exchange(self, env: str) -> Exchange:
        found = await self.ledger.exchange_of(env)
        if found is None:
            raise Refusal("not_found", "no accepted envelope has this hash")
        return found

    async def _entries(self, envs: set[str], *, since: int) -> tuple[list[dict[str, Any]], int]:
        """Return what the log says of these envelopes from an index on, and where the search ended."""
        needles = [env.encode() for env in envs]
        stop = min(await self.ledger.size(), since + LOOKED_THROUGH)
        found = []
        for low in range(since, stop, READ_AT_ONCE):
            entries = await self.ledger.entries(low, min(stop, low + READ_AT_ONCE))
            candidates = [entry for entry in entries if any(needle in entry for needle in needles)]
            found += [members for members in map(strictjson.parse_object, candidates) if members.get("env") in envs]
        return [{name: members[name] for name in TOLD if name in members} for members in found], stop

    async def read(self, place: Place, *, by: str, reason: str) -> Wire:
        """Return the original bytes of a parked delivery, after an entry says who read them.

        Refuses as `not_found`, `not_parked`, `body_lost` or `body_erased`.
        """
        check_reason(reason)
        held = await self._parked(place)
        wire = await self._wire(held)
        entry = draft(
            "admin.parked.read",
            at=self.clock.now(),
            bus=self.gateway,
            env=held.env,
            id=held.id,
            to=held.to,
            by=by,
            reason=reason,
        )
        await self.sequencer.submit(Note(entry=entry))
        return wire

    async def replay(self, places: Sequence[Place], *, by: str, reason: str) -> list[Refusal | None]:
        """Let parked deliveries go out again with their original bytes, no attempt counted, in one transaction.

        Gives for each None, or why it stays as it is: `not_found`, `not_parked`, `expired`, `body_lost`, `body_erased`.
        """
        check_reason(reason)
        return await self._change(places, lambda held: self._replaying(held, by, reason))

    async def drop(self, places: Sequence[Place], *, by: str, reason: str) -> list[Refusal | None]:
        """End parked deliveries in one transaction; their senders learn `expired` with the code `dropped`.

        Gives for each None, or why it stays as it is: `not_found`, `not_parked`.
        """
        check_reason(reason)
        return await self._change(places, lambda held: self._dropping(held, by, reason))

    async def _replaying(self, held: Delivery, by: str, reason: str) -> Step:
        now = self.clock.now()
        if held.expires <= now:
            raise Refusal("expired", "nobody may receive it any more")
        await self._wire(held)
        return self.moves.replay(held, by=by, reason=reason, now=now)

    async def _dropping(self, held: Delivery, by: str, reason: str) -> Step:
        return self.moves.drop(held, by=by, reason=reason, now=self.clock.now())

    async def _change(self, places: Sequence[Place], step_of: StepOf) -> list[Refusal | None]:
        found: list[Step | Refusal] = [await self._step(place, step_of) for place in places]
        steps = [each for each in found if isinstance(each, Step)]
        done = iter(await self.progress.commit(steps))
        results = [each if isinstance(each, Refusal) else _told(next(done)) for each in found]
        moved = [
            each.after for each, told in zip(found, results, strict=True) if isinstance(each, Step) and told is None
        ]
        await self.publisher.place([delivery for delivery in moved if delivery.state != "expired"])
        return results

    async def _step(self, place: Place, step_of: StepOf) -> Step | Refusal:
        try:
            return await step_of(await self._parked(place))
        except Refusal as refusal:
            return refusal

    async def _parked(self, place: Place) -> Delivery:
        env, to = place
        held = [delivery for delivery in await self.inboxes.deliveries(env) if to in {"", delivery.to}]
        parked = [delivery for delivery in held if delivery.state == "parked"]
        if not held:
            raise Refusal("not_found", "there is no such delivery")
        if not parked:
            raise Refusal("not_parked", f"it is {held[0].state}")
        if len(parked) > 1:
            raise Refusal("bad_request", "it is parked for several systems: name one of them")
        return parked[0]

    async def _wire(self, held: Delivery) -> Wire:
        parcel = await self.inboxes.parcel(held.env, held.to)
        if parcel is None:
            raise Refusal("body_lost")
        try:
            body = await self.body_keys.open(parcel.day, held.env, parcel.sealed)
        except DayErased:
            raise Refusal("body_erased") from None
        except SealBroken:
            raise Refusal("body_lost") from None
        return Wire(compact=parcel.compact, body=body)


def _told(moved: bool) -> Refusal | None:  # noqa: FBT001 - the ledger's own word
    return None if moved else Refusal("not_parked", "somebody else was quicker")


def _index_of(exchange: Exchange) -> int:
    item = strictjson.parse_object(statements.from_text(exchange.receipt).item.encode())
    return int(item["index"])
