"""Settlement: what receivers say of deliveries in their hands. Signed acks end them, nacks put them back, extensions prolong the lease."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from lgsp.bus.acks import AckReader
from lgsp.bus.courier import Courier
from lgsp.bus.inbox import Handover
from lgsp.bus.moves import Moves, Step
from lgsp.bus.progress import Progress
from lgsp.bus.registry import Registry
from lgsp.domain.exchange import SETTLED, Delivery
from lgsp.domain.leases import begun_at
from lgsp.domain.limits import LIMITS, Limits
from lgsp.domain.statements import Statement
from lgsp.domain.values import fixed
from lgsp.errors import Refusal
from lgsp.ports.clock import Clock
from lgsp.ports.inboxes import Inboxes

Answer = str | Exception
"""The env hash of a delivery that is settled, or why it is not: a `Refusal`, or a fault of ours."""


@fixed
class _Word:
    """A receiver's signed word on a delivery, after its signature was checked."""

    statement: Statement
    item: dict[str, Any]
    env: str


@fixed
class _Settling:
    """A delivery and the step that settles it, None when it is settled."""

    held: Delivery
    step: Step | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """Takes the word of receivers, whichever gateway handed the delivery over."""

    registry: Registry
    inboxes: Inboxes
    progress: Progress
    courier: Courier
    moves: Moves
    clock: Clock
    limits: Limits = LIMITS
    _acks: AckReader = field(default_factory=AckReader)

    async def acknowledge(self, system: str, statement: Statement) -> str:
        """Settle a delivery to `system` by its signed ack and return the env hash; the same word twice is taken once.

        Refuses as `ack_invalid` what does not verify or names no delivery of the system.
        """
        [answer] = await self._together(system, [statement])
        if isinstance(answer, Refusal):
            raise answer
        return answer

    async def acknowledge_all(self, system: str, statements: Sequence[Statement]) -> Sequence[Answer]:
        """Settle deliveries in one transaction, and return for each ack an env hash, a refusal, or whatever else went wrong with it alone."""
        try:
            return await self._together(system, statements)
        except Refusal as refusal:
            return [refusal for _ in statements]
        except Exception:  # noqa: BLE001 - it shows again with the ack that it comes from, and is its answer
            return await asyncio.gather(*(self._alone(system, statement) for statement in statements))

    async def _alone(self, system: str, statement: Statement) -> Answer:
        try:
            return await self.acknowledge(system, statement)
        except Exception as error:  # noqa: BLE001 - it is the answer
            return error

    async def _together(self, system: str, statements: Sequence[Statement]) -> list[str | Refusal]:
        with self.courier.figures.timed("settle", len(statements)):
            said = [self._read(system, statement) for statement in statements]
            held = await self._held(system, [word.env for word in said if isinstance(word, _Word)])
            now = self.clock.now()
            planned = [self._plan(word, held, now) if isinstance(word, _Word) else word for word in said]
            await self._settle([each for each in planned if isinstance(each, _Settling)])
        return [each if isinstance(each, Refusal) else each.held.env for each in planned]

    def _read(self, system: str, statement: Statement) -> _Word | Refusal:
        try:
            item = self._acks.read(self.registry.current, system, statement)
        except Refusal as refusal:
            return refusal
        return _Word(statement=statement, item=item, env=item["env"])

    async def _held(self, system: str, envs: Sequence[str]) -> dict[str, Delivery]:
        """Return deliveries by env hash: what this gateway handed out it knows, and the commit sees whether that is still so."""
        known = {env: self.courier.in_hand(system, env) for env in envs}
        others = [env for env, delivery in known.items() if delivery is None]
        found = await self.inboxes.held(system, others) if others else {}
        return {env: delivery for env, delivery in known.items() if delivery is not None} | dict(found)

    def _plan(self, word: _Word, held: Mapping[str, Delivery], now: datetime) -> _Settling | Refusal:
        delivery = held.get(word.env)
        if delivery is None:
            return Refusal("ack_invalid", "there is no such delivery")
        if delivery.state in SETTLED:  # an old ack that comes again says nothing of what is in flight now
            return _Settling(held=delivery, step=None)
        try:
            step = self.moves.settle(delivery, word.statement, word.item, now=now)
        except Refusal as refusal:
            return refusal
        return _Settling(held=delivery, step=step)

    async def _settle(self, settling: Sequence[_Settling]) -> None:
        done = iter(await self.progress.commit([each.step for each in settling if each.step is not None]))
        for each in settling:
            alive = False
            if each.step is not None:
                alive = next(done)
                self.courier.figures.settled(each.held)
            self.courier.settled(each.held, alive=alive)

    async def put_back(self, system: str, *, env: str, lease: str, code: str, retry_after: float | None) -> None:
        """Take a delivery back that the receiver cannot handle now, to be tried later; refuse as `lease_lost`."""
        held = await self._leased(system, env, lease)
        asked = None if retry_after is None else timedelta(seconds=retry_after)
        await self._commit_held(self.moves.put_back(held, code=code, now=self.clock.now(), asked=asked))
        self.courier.landed(held, alive=True)

    async def extend(self, system: str, *, env: str, lease: str) -> datetime:
        """Let a lease last from now on as long as a new one, at most 10 minutes in all, and return until when; refuse as `lease_lost`."""
        held = await self._leased(system, env, lease)
        until = min(self.clock.now() + self.limits.lease, begun_at(lease) + self.limits.lease_max)
        await self._commit_held(self.moves.extend(held, until=until))
        return until

    async def give_back(self, handovers: Sequence[Handover]) -> None:
        """Let deliveries go out again that reached nobody, for their caller hung up before the answer; no attempt counts."""
        held = [(handover, await self._delivery(handover.to, handover.env)) for handover in handovers]
        unread = [
            delivery
            for handover, delivery in held
            if delivery is not None and delivery.state == "leased" and delivery.lease == handover.lease
        ]
        await self.courier.requeue(unread)

    async def _delivery(self, system: str, env: str) -> Delivery | None:
        return (await self.inboxes.held(system, [env])).get(env)

    async def _leased(self, system: str, env: str, lease: str) -> Delivery:
        held = await self._delivery(system, env)
        if held is None or held.state != "leased" or held.lease != lease:
            raise Refusal("lease_lost")
        return held

    async def _commit_held(self, step: Step) -> None:
        [is_done] = await self.progress.commit([step])
        if not is_done:
            raise Refusal("lease_lost")
