"""What becomes of deliveries: commits their moves, tells the senders who listen, and answers those who ask."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lgsp.bus.announcer import Announcer
from lgsp.bus.figures import Figures
from lgsp.bus.moves import Step, took
from lgsp.bus.registry import Registry
from lgsp.bus.sequencer import Order, Sequencer
from lgsp.domain.exchange import OUTCOMES, SETTLED, Delivery, Exchange, State
from lgsp.domain.values import fixed
from lgsp.errors import Refusal
from lgsp.logs import get_logger
from lgsp.ports.inboxes import Inboxes
from lgsp.ports.ledger import Done, Ledger, Seen

Tell = Callable[[Delivery], None]


@fixed
class Sighting:
    """An outcome that the sender has made its own, in the state that it was shown; "" where the sender does not say."""

    env: str
    to: str
    state: State | Literal[""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The states of deliveries, seen from their senders."""

    registry: Registry
    ledger: Ledger
    inboxes: Inboxes
    sequencer: Sequencer
    figures: Figures
    announcer: Announcer
    _listeners: defaultdict[str, dict[object, Tell]] = field(default_factory=lambda: defaultdict(dict))

    async def commit(self, steps: Sequence[Step]) -> list[bool]:
        """Commit steps in one transaction, tell the senders of what came to an end, and return which took effect."""
        return await self._commit(steps, _order(steps)) if steps else []

    async def note(self, steps: Sequence[Step]) -> list[bool]:
        """Commit steps for which nobody waits, as `commit` does."""
        return await self._commit(steps, "first") if steps else []

    async def _commit(self, steps: Sequence[Step], order: Order) -> list[bool]:
        results = await self.sequencer.submit(*(step.move for step in steps), order=order)
        done = [isinstance(result, Done) for result in results]
        moved = took(steps, done)
        for delivery in moved:
            self.figures.moves[delivery.state] += 1
            self._note(delivery)
        self.announcer.moved(moved)
        return done

    def _note(self, delivery: Delivery) -> None:
        if delivery.state not in OUTCOMES:
            return
        if delivery.state == "parked":
            get_logger().warning("delivery.parked", env=delivery.env, to=delivery.to, code=delivery.code)
        self.tell(delivery)

    def tell(self, delivery: Delivery) -> None:
        """Tell an outcome to those who listen here."""
        for system in (delivery.source, *self.registry.current.bridges_of(delivery.source)):
            for tell in tuple(self._listeners[system].values()):
                tell(delivery)

    def listen(self, system: str, tell: Tell) -> Callable[[], None]:
        """Tell what becomes of what `system`, or a principal it stands for, sent; `tell` may not block. Return what ends it."""
        key = object()
        self._listeners[system][key] = tell

        def end() -> None:
            self._listeners[system].pop(key, None)

        return end

    def listens(self, source: str) -> bool:
        """Tell whether anybody here listens for what becomes of what `source` sent."""
        return any(self._listeners.get(system) for system in (source, *self.registry.current.bridges_of(source)))

    def listening(self) -> list[str]:
        """Return the systems for which somebody listens here."""
        return [system for system, listeners in self._listeners.items() if listeners]

    async def outcomes(self, system: str, *, limit: int) -> list[Delivery]:
        """Return what became of what `system`, or a principal it stands for, sent and has not yet seen; oldest first."""
        found: list[Delivery] = []
        for source in (system, *self.registry.current.principals_of(system)):
            found += await self.inboxes.outcomes(source, limit)
        return sorted(found, key=lambda delivery: delivery.order)[:limit]

    async def seen(self, system: str, *, env: str, to: str, state: State | Literal[""] = "") -> None:
        """Note that the sender has seen an outcome in this state, "" for any; refuse as `not_found` what it never sent."""
        [refusal] = await self.seen_all(system, [Sighting(env=env, to=to, state=state)])
        if refusal is not None:
            raise refusal

    async def seen_all(self, system: str, sightings: Sequence[Sighting]) -> list[Refusal | None]:
        """Note in one transaction that the sender has seen outcomes, and return what is refused of them."""
        sources = [await self._sender(system, each.env, each.to) for each in sightings]
        operations = [
            Seen(env=each.env, to=each.to, source=source, state=each.state)
            for each, source in zip(sightings, sources, strict=True)
        ]
        results = await self.sequencer.submit(*operations, order="bulk")
        refusals: list[Refusal | None] = []
        for each, source, result in zip(sightings, sources, results, strict=True):
            known = isinstance(result, Done) or await self._sent(source, each.env, each.to)
            refusals.append(None if known else Refusal("not_found"))
        return refusals

    async def _sender(self, system: str, env: str, to: str) -> str:
        """Return in whose name `system` sent: its own, unless a principal of it sent this."""
        for principal in self.registry.current.principals_of(system):
            if await self._sent(principal, env, to):
                return principal
        return system

    async def _sent(self, source: str, env: str, to: str) -> bool:
        held = (await self.inboxes.held(to, [env])).get(env)
        return held is not None and held.source == source

    async def history(self, system: str, env: str) -> tuple[Exchange, list[Delivery]]:
        """Return an exchange with all its deliveries to its sender or a receiver; refuse as `not_found` for anyone else."""
        exchange = await self.ledger.exchange_of(env)
        deliveries = await self.inboxes.deliveries(env)
        party = exchange is not None and (
            exchange.source in self._speaks_for(system) or any(delivery.to == system for delivery in deliveries)
        )
        if exchange is None or not party:
            raise Refusal("not_found")
        return exchange, deliveries

    def _speaks_for(self, system: str) -> set[str]:
        return {system, *self.registry.current.principals_of(system)}


def _order(steps: Sequence[Step]) -> Order:
    if any(step.after.lane == "request" for step in steps):
        return "urgent"
    # A lease is never bulk: an inbox hands out one group after the other, and a look-up would wait for the lease of what is in front of it.
    return "bulk" if all(step.after.state in SETTLED for step in steps) else "first"
