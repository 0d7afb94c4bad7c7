"""Giving out the evidence of an exchange: to auditors, and to the systems whose exchange it is. Each giving is an entry, and so is each attempt.

A system is not told whether there is an exchange in which it has no part. What the log says of a reading is a hash, so that a party, who may read
the entries of its own exchanges, learns of no inquiry into them; but bodies that an auditor reads are named there, with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final, Self

from lgsp.bus.auditor import Auditor
from lgsp.bus.evidence import Prover
from lgsp.bus.parties import is_party
from lgsp.bus.parts import Parts
from lgsp.bus.searching import CATCH_UP_SECONDS, Reader, Searcher
from lgsp.domain import evidence, evidence_checks
from lgsp.domain.evidence_checks import Pins
from lgsp.errors import Unusable
from lgsp.ports.store import Store

WHAT: Final = "evidence"
"""How the log names what is read."""
LOOKED_THROUGH: Final = 20_000
"""Entries that one call reads which the catalogue does not cover yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundles:
    """Makes and checks bundles under the log's present checkpoint."""

    searcher: Searcher
    wrap: bytes = field(repr=False)
    """What body keys are wrapped under."""

    @classmethod
    def of(cls, parts: Parts, searcher: Searcher) -> Self:
        """Return the one of a gateway that is made of these parts."""
        return cls(searcher=searcher, wrap=parts.body_wrap)

    @property
    def _store(self) -> Store:
        return self.searcher.store

    @property
    def _auditor(self) -> Auditor:
        return self.searcher.auditor

    async def give(self, reader: Reader, env: str) -> bytes:
        """Return the bundle of the exchange that an accepted envelope, request or reply, is part of, without bodies.

        Refuses (`forbidden`) whoever is neither auditor nor party, as `not_found` what there is none of, as `unavailable` what is stored no more.
        """
        await self._note(reader, env, {"env": env})
        return await self._made(reader, self._prover(), env)

    async def give_with_bodies(self, reader: Reader, env: str, *, reason: str) -> bytes:
        """Return the same with those bodies that are still held and that the reader may see; refuse (`bad_request`) an auditor without a reason.

        A system gets the bodies that it sent: what is sent to it, it gets by delivery alone. Refuses as `body_lost` what does not open.
        """
        if reader.own is None and reader.allowed:
            await self._auditor.note_bodies_read(env, by=reader.by, reason=reason)
        else:
            await self._note(reader, env, {"bodies": "own", "env": env})
        return await self._made(reader, replace(self._prover(), wrap=self.wrap, senders=reader.own), env)

    async def note_attempt(self, reader: Reader) -> None:
        """Append the entry of an attempt that named no envelope, by somebody who may read nothing, and refuse it as `forbidden`."""
        await self._noted(reader, {}, allowed=False)

    async def _note(self, reader: Reader, env: str, query: dict[str, str | int]) -> None:
        await self._noted(reader, query, allowed=reader.allowed and await self._may(reader.own, env))

    async def _noted(self, reader: Reader, query: dict[str, str | int], *, allowed: bool) -> None:
        await self._auditor.note_reading(reader.by, query, allowed=allowed, what=WHAT)

    async def _may(self, own: AbstractSet[str] | None, env: str) -> bool:
        return own is None or await is_party(self._store, own, env)

    def _prover(self) -> Prover:
        registry = self.searcher.registry
        return Prover(
            store=self._store,
            bus=registry.bus,
            registrar=registry.registrar,
            looked_through=LOOKED_THROUGH,
            versions={registry.current.version: registry.current},
        )

    async def _made(self, reader: Reader, prover: Prover, env: str) -> bytes:
        async with self.searcher.turn(reader):
            await self._auditor.sequencer.calm()
            await self.searcher.cataloguer.follow(CATCH_UP_SECONDS)
            prover.note = await self._auditor.checkpoint()
            try:
                found = evidence.encode(await prover.bundle(env))
            except Unusable as broken:
                raise self._auditor.damaged(broken.detail) from None
            await self._check(found)
            return found

    async def _check(self, bundle: bytes) -> None:
        """Refuse (`unavailable`) to give out a bundle that an outsider would not believe."""
        registry = self.searcher.registry
        pins = Pins(bus=registry.bus, registrar=registry.registrar, log=self._auditor.log_key)
        verdict = await asyncio.to_thread(evidence_checks.verify, bundle, pins)
        if verdict.failure is not None:
            raise self._auditor.damaged(f"evidence: {verdict.failure.part} {verdict.failure.name}")
