"""What an outsider can check: signed checkpoints and inclusion proofs over the log; entry bytes for auditors only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from lgsp.bus.authentication import Caller
from lgsp.bus.sequencer import Sequencer
from lgsp.domain import jws, merkle, notes, strictjson
from lgsp.domain.checkpoint import Checkpoint, checkpoint_body, format_proof
from lgsp.domain.entries import draft
from lgsp.domain.keys import PrivateKey
from lgsp.domain.merkle import Frontier
from lgsp.errors import Refusal
from lgsp.ports.clock import Clock
from lgsp.ports.ledger import KeepCheckpoint, Ledger, Note

READ_AT_ONCE: Final = 8_192
ENTRIES_AT_ONCE: Final = 1_000


@dataclass(slots=True, kw_only=True)
class Auditor:
    """Signs checkpoints over committed sizes only, and proves entries under them."""

    gateway: str
    origin: str
    key: PrivateKey
    ledger: Ledger
    sequencer: Sequencer
    clock: Clock
    _frontier: Frontier = field(default_factory=Frontier)
    _last: tuple[int, str] = (-1, "")

    async def checkpoint(self) -> str:
        """Return the signed checkpoint over all committed entries (C2SP signed note)."""
        size = await self.ledger.size()
        if size != self._last[0]:
            await self._advance(size)
            self._last = (size, self._sign(self._frontier.size, self._frontier.root()))
        return self._last[1]

    async def _advance(self, size: int) -> None:
        while self._frontier.size < size:
            start = self._frontier.size
            leaves = await self.ledger.leaves(start, min(size, start + READ_AT_ONCE))
            if self._frontier.size == start:  # else another call has appended them in the meantime
                for leaf in leaves:
                    self._frontier.append(leaf)

    def _sign(self, size: int, root: bytes) -> str:
        body = checkpoint_body(Checkpoint(origin=self.origin, size=size, root=root))
        return notes.sign_note(body, self.origin, self.key.sign, self.key.public.x)

    async def keep(self) -> None:
        """Store the present checkpoint when the log has grown since the last stored one."""
        before = self._last[0]
        note = await self.checkpoint()
        if self._last[0] != before:
            await self.sequencer.submit(KeepCheckpoint(size=self._last[0], note=note))

    async def proof(self, index: int) -> str:
        """Return the inclusion proof of an entry under the present checkpoint (c2sp.org/tlog-proof@v1); refuse as `not_found`."""
        note = await self.checkpoint()
        size = self._last[0]
        if not 0 <= index < size:
            raise Refusal("not_found", "the log has no such index")
        leaves = await self.ledger.leaves(0, size)
        return format_proof(index, merkle.inclusion_path(leaves, index), note)

    async def entries(self, caller: Caller, start: int, limit: int) -> list[bytes]:
        """Return entry bytes to an auditor; refuse (`forbidden`) anyone else. Each reading, and each attempt, is an entry of its own."""
        allowed = "auditor" in caller.roles
        query = strictjson.compact({"limit": limit, "start": start})
        entry = draft(
            "audit.read",
            at=self.clock.now(),
            bus=self.gateway,
            code="" if allowed else "forbidden",
            by=caller.urn,
            hash=jws.hash_of(query),
        )
        await self.sequencer.submit(Note(entry=entry))
        if not allowed:
            raise Refusal("forbidden", "entries are read by auditors")
        return await self.ledger.entries(start, start + min(limit, ENTRIES_AT_ONCE))
