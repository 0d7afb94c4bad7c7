"""The sandbox: what the bus would say about an envelope. Nothing is sent, recorded or counted, but the calls of a proven sender, against its rate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lgsp.bus.fairness import Rates
from lgsp.bus.quotas import Quotas
from lgsp.bus.registry import Registry
from lgsp.domain import admission, opinion
from lgsp.domain.admission import Accepted, Read, Refused
from lgsp.domain.contracts import Contracts
from lgsp.domain.diagnosis import Found, diagnose
from lgsp.domain.directory import Directory
from lgsp.domain.envelope import Wire
from lgsp.domain.opinion import LOOK_UP, STEPS, Opinion
from lgsp.domain.policy import UsedToday
from lgsp.errors import Refusal
from lgsp.ports.clock import Clock
from lgsp.ports.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """What an envelope is judged by at one moment."""

    directory: Directory
    contracts: Contracts
    ledger: Ledger
    now: datetime
    used: UsedToday

    async def opinion(self, read: Read | Refused) -> Opinion:
        """Return what a bus that holds this would say about what was read; whether an inbox has room is a matter of the moment and not looked at."""
        if isinstance(read, Refused):
            return opinion.refused_reading(read)
        known = await self.ledger.exchanges(read.looked_up)
        seen = known.get(read.exchange_key)
        if seen is not None:
            refusal = None if read.repeats(seen) else Refusal("id_conflict", pointer="/id")
            verdict: opinion.Verdict = "known" if refusal is None else "refused"
            return Opinion(verdict=verdict, step=LOOK_UP, env=read.env, refusal=refusal)
        judged = admission.judge(
            read,
            directory=self.directory,
            held=self.contracts,
            now=self.now,
            request=known.get(read.request_key) if read.request_key else None,
            used=self.used,
        )
        if isinstance(judged, Accepted):
            return Opinion(verdict="accepted", step=len(STEPS), env=read.env, rule=judged.leave.rule)
        return opinion.refused_judging(judged)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """The sandbox of one gateway."""

    registry: Registry
    ledger: Ledger
    quotas: Quotas
    rates: Rates
    clock: Clock

    async def opinion(self, wire: Wire) -> tuple[Opinion, Found]:
        """Return what the bus would say and what it computed; refuse (`rate_limited`) a sender who asks too often.

        Who asks is known by a good signature alone; what is asked counts like what is sent.
        """
        directory = self.registry.current
        read = admission.read(wire, directory)
        signer = _signer(read, directory)
        if signer and (limited := self.rates.refusal(signer)):
            raise limited
        judge = Judge(
            directory=directory,
            contracts=self.registry.contracts,
            ledger=self.ledger,
            now=self.clock.now(),
            used=self.quotas.used,
        )
        formed = await judge.opinion(read)
        return formed, diagnose(wire, directory, formed.refusal)


def _signer(read: Read | Refused, directory: Directory) -> str:
    """Return who signed, "" where no signature was proven; what fails after that costs the most to diagnose."""
    if isinstance(read, Read):
        return read.key.owner
    return directory.keys[read.kid].owner if read.signed else ""
