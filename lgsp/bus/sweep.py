"""The sweep: what time alone brings about. Expiry, ended leases, retries that are due, refusals to be summed, checkpoints to be kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from lgsp.bus.auditor import Auditor
from lgsp.bus.courier import Courier
from lgsp.bus.edge_refusals import EdgeRefusals
from lgsp.bus.moves import Moves, Step
from lgsp.bus.sequencer import Sequencer
from lgsp.domain.entries import Draft
from lgsp.domain.exchange import Delivery
from lgsp.errors import Refusal
from lgsp.logs import get_logger
from lgsp.ports.clock import Clock
from lgsp.ports.inboxes import Inboxes
from lgsp.ports.ledger import Note
from lgsp.ports.transport import Transport

EVERY: Final = 1.0
"""Seconds between sweeps."""
AT_ONCE: Final = 500


@dataclass(slots=True, kw_only=True)
class Sweep:
    """Runs once a second; any gateway may run it."""

    inboxes: Inboxes
    transport: Transport
    sequencer: Sequencer
    courier: Courier
    auditor: Auditor
    refusals: EdgeRefusals
    moves: Moves
    clock: Clock
    _unwritten: list[Draft] = field(default_factory=list)
    """Summed entries that the ledger has not taken yet."""

    async def run(self) -> None:
        """Sweep until cancelled; an engine that is away is tried again."""
        while True:
            try:
                await self.once()
            except Refusal:
                get_logger().warning("task.failed", task="sweep")
            await asyncio.sleep(EVERY)

    async def once(self) -> None:
        """Do all that is due now."""
        now = self.clock.now()
        due = await self.inboxes.due(now, AT_ONCE)
        steps: list[Step] = []
        for held in due:
            if held.state == "leased":
                # First, whatever its expiry: a reply that a waiting call was given is settled, and what was handed out in time may be acked.
                await self.courier.lease_ended(held)
            elif held.expires <= now:
                steps.append(self.moves.expire(held, now=now))
            elif held.state == "waiting":
                steps.append(self.moves.requeue(held))
            else:
                await self._publish(held)
        await self._commit(steps)
        if self.refusals.is_due():
            await self.flush_refusals()
        await self.auditor.keep()

    async def _commit(self, steps: list[Step]) -> None:
        done = await self.courier.commit(steps)
        took = [step.after for step, is_done in zip(steps, done, strict=True) if is_done]
        for delivery in took:
            if delivery.state == "expired":
                await self.courier.forget(delivery)
        queued = [delivery for delivery in took if delivery.state == "queued"]
        self.transport.wake(queued)
        if took:
            get_logger().info("sweep.moved", expired=len(took) - len(queued), requeued=len(queued), published=0)

    async def _publish(self, held: Delivery) -> None:
        """Queue what was accepted and not queued: its gateway died in between."""
        parcel = await self.inboxes.parcel(held.env, held.to)
        if parcel is not None:
            await self.transport.publish([parcel])
            await self.courier.commit([self.moves.requeue(held)])

    async def flush_refusals(self) -> None:
        """Write the summed entries of the minute; while the ledger is away they are kept."""
        drafts, self._unwritten = self._unwritten + self.refusals.drain(), []
        if not drafts:
            return
        try:
            await self.sequencer.submit(*(Note(entry=entry) for entry in drafts))
        except Refusal:
            self._unwritten = drafts + self._unwritten
            raise

    async def take_back(self) -> None:
        """Queue again what was leased when the gateway last died: for a gateway that starts alone on its ledger."""
        steps = [
            self.moves.settle_final(held, now=self.clock.now()) if held.final else self.moves.requeue(held)
            for held in await self.inboxes.leased()
        ]
        for start in range(0, len(steps), AT_ONCE):
            await self.courier.commit(steps[start : start + AT_ONCE])
