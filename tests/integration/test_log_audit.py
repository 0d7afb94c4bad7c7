"""The audit of a whole log, beside a gateway that goes on writing."""

from __future__ import annotations

from lgsp.backends.memory import MemoryLedger
from lgsp.cli.founding import trust_of
from lgsp.cli.log_audit import audit
from lgsp.testing.bus import running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import BUS, LOG, World


class Moving:
    """A store in which the gateway writes and signs once more, right after its size was asked for."""

    def __init__(self, store, go_on):
        self._store = store
        self._go_on = go_on

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def size(self):
        found = await self._store.size()
        await self._go_on()
        return found


async def test_what_a_gateway_writes_during_an_audit_is_not_missing():
    world, store = World.make(), MemoryLedger()
    async with running_bus(world, store, clock=ManualClock(world.now), entropy=SeededEntropy(1)) as bus:

        async def go_on():
            await bus.ingress.submit(world.envelope(), peer="")
            await bus.auditor.keep()

        await bus.auditor.keep()
        trust = trust_of(BUS, LOG, world.signers["registrar"], world.signers["log"])
        verdict = await audit(Moving(store, go_on), bus=BUS, registrar=trust.registrar, log=trust.log)
        assert verdict.finding is None
        assert 0 < verdict.checkpoint <= verdict.size
