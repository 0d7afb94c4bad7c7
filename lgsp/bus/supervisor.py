"""The bus as a whole: its parts, its tasks, its orderly start and end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from lgsp.bus.auditor import Auditor
from lgsp.bus.authentication import Authenticator
from lgsp.bus.bundles import Bundles
from lgsp.bus.courier import Courier
from lgsp.bus.custody import Custody
from lgsp.bus.edge_refusals import EdgeRefusals
from lgsp.bus.figures import Figures
from lgsp.bus.health import Health
from lgsp.bus.hearing import Hearing
from lgsp.bus.ingress import Ingress
from lgsp.bus.parking import Parking
from lgsp.bus.persons import Persons
from lgsp.bus.progress import Progress
from lgsp.bus.quotas import Quotas
from lgsp.bus.registry import Registry
from lgsp.bus.replies import Replies
from lgsp.bus.room import Room
from lgsp.bus.sandbox import Sandbox
from lgsp.bus.searching import Searcher
from lgsp.bus.sequencer import Sequencer
from lgsp.bus.settlement import Settlement
from lgsp.bus.steward import Steward
from lgsp.bus.sweep import Sweep
from lgsp.bus.vitals import Vitals
from lgsp.bus.witnessing import Witnessing
from lgsp.domain.limits import Limits
from lgsp.errors import Refusal
from lgsp.logs import get_logger
from lgsp.ports.clock import Clock, Entropy
from lgsp.ports.ledger import Ledger

DRAIN_SECONDS: Final = 15.0
"""How long the last writes may take; what is not written then was promised to nobody."""


@dataclass(slots=True)
class Tasks:
    """The tasks of one gateway, in one TaskGroup: when one of them fails, the gateway ends."""

    group: asyncio.TaskGroup
    running: set[asyncio.Task[None]] = field(default_factory=set)

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` until it ends or the gateway does."""
        task = self.group.create_task(work, name=name)
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    def cancel(self) -> None:
        """End all of them."""
        for task in list(self.running):
            task.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bus:
    """Everything the edge needs, wired by `lgsp.app`."""

    gateway: str
    bus: str
    clock: Clock
    entropy: Entropy
    limits: Limits
    ledger: Ledger
    registry: Registry
    authenticator: Authenticator
    ingress: Ingress
    sandbox: Sandbox
    courier: Courier
    settlement: Settlement
    replies: Replies
    progress: Progress
    auditor: Auditor
    searcher: Searcher
    bundles: Bundles
    parking: Parking
    persons: Persons
    health: Health
    steward: Steward
    refusals: EdgeRefusals
    sequencer: Sequencer
    sweep: Sweep
    hearing: Hearing
    quotas: Quotas
    room: Room
    figures: Figures
    vitals: Vitals
    tasks: Tasks

    async def start(self) -> None:
        """Check the log, ask its witness, take up the directory, open the log, take back what was leased, and begin to sweep."""
        await self.auditor.check()
        self.tasks.spawn("sequencer", self.sequencer.run())
        self.tasks.spawn("engines", self.health.engines.run())
        await self.witnessing.start()
        await self.registry.reload()
        await self.courier.body_keys.load()
        await self.steward.open_log()
        await self.persons.start()
        await self.quotas.refresh()
        await self._take_over()
        self.tasks.spawn("hearing", self.hearing.run())
        self.tasks.spawn("sweep", self.sweep.run())
        self.tasks.spawn("publisher", self.courier.publisher.run())
        self.tasks.spawn("vitals", self.vitals.run())
        self.tasks.spawn("witnessing", self.witnessing.run())

    @property
    def witnessing(self) -> Witnessing:
        """What has the log's checkpoints co-signed."""
        return self.health.witnessing

    @property
    def custody(self) -> Custody:
        """What looks after the sealed bodies."""
        return self.sweep.custody

    @property
    def is_draining(self) -> bool:
        """Whether nothing is taken in any more."""
        return self.health.ingress.draining

    def wind_down(self) -> None:
        """Take nothing more in and let go of calls that only wait; what is in hand goes on, and is finished before `drain`."""
        self.ingress.draining = True
        self.courier.let_go()
        self.replies.let_go()

    async def _take_over(self) -> None:
        """Let out again what dead gateways held, the one before this among them, as far as that is sure; a broker may be away yet."""
        found = await self.sweep.takeover.once()
        if self.sweep.transport.embedded:
            await self.sweep.publisher.place(found)

    async def drain(self) -> None:
        """Take nothing more in, finish what waits, keep the last checkpoint and have it co-signed, end the tasks. Streams are closed before."""
        self.wind_down()
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self.courier.publisher.note_confirmed()
                await self.sequencer.settle()
                await self.sweep.flush_refusals()
                await self.auditor.keep()
        except (Refusal, TimeoutError):
            # The ledger is away: what was not written is not in the log, and the end is no later for it.
            get_logger().warning("task.failed", task="drain")
        else:
            await self.witnessing.end()
        finally:
            self.tasks.cancel()
