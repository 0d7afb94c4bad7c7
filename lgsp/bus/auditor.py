"""What an outsider can check: signed checkpoints and inclusion proofs over the log; entry bytes for auditors only."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from lgsp.bus.authentication import Caller
from lgsp.bus.sequencer import Sequencer
from lgsp.domain import jws, merkle, notes, strictjson
from lgsp.domain.checkpoint import Checkpoint, checkpoint_body, format_proof, open_checkpoint
from lgsp.domain.entries import draft
from lgsp.domain.keys import PrivateKey
from lgsp.domain.merkle import Frontier
from lgsp.domain.notes import LOG_KEY, NoteInvalid, NoteKey
from lgsp.errors import Refusal, Unusable
from lgsp.ports.clock import Clock
from lgsp.ports.ledger import KeepCheckpoint, Ledger, Note

READ_AT_ONCE: Final = 8_192
ENTRIES_AT_ONCE: Final = 1_000
CHUNK: Final = 1_024
"""Leaves under one remembered subtree, a power of two: a proof reads one chunk of leaves, however long the log is."""
LOG_BAD: Final = 3
"""What a command that met a bad log ends with."""


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
    _chunks: list[bytes] = field(default_factory=list)
    """Roots of the complete chunks: 32 bytes of memory for 1,024 entries."""
    _open: list[bytes] = field(default_factory=list)
    """Leaves of the chunk that is not complete."""
    _last: tuple[int, str] = (-1, "")
    _kept: int = 0
    """The size under the last stored checkpoint."""
    _covered: float = field(default_factory=time.monotonic)

    async def check(self) -> None:
        """Compare the log with its last stored checkpoint, and re-hash the entries after it.

        Refuses (`log_broken`) a log that is shorter or another: two roots for one size would follow.
        """
        note, size = await self.ledger.checkpoint(), await self.ledger.size()
        if note:
            kept = self._opened(note)
            if size < kept.size:
                raise _broken(f"the log has {size} entries, its checkpoint was signed over {kept.size}")
            await self._advance(kept.size)
            if self._frontier.root() != kept.root:
                raise _broken(f"the first {kept.size} entries are not those of the signed checkpoint")
            self._kept = kept.size
        await self._rehash(self._kept, size)

    def _opened(self, note: str) -> Checkpoint:
        try:
            return open_checkpoint(note, NoteKey(name=self.origin, kind=LOG_KEY, public=self.key.public.x))
        except NoteInvalid as error:
            raise _broken(f"the kept checkpoint: {error}") from None

    async def _rehash(self, start: int, size: int) -> None:
        for low in range(start, size, READ_AT_ONCE):
            high = min(size, low + READ_AT_ONCE)
            entries, leaves = await self.ledger.entries(low, high), await self.ledger.leaves(low, high)
            for index, (entry, leaf) in enumerate(zip(entries, leaves, strict=True), start=low):
                if merkle.leaf_hash(entry) != leaf:
                    raise _broken(f"entry {index} is not the one that was written")

    async def checkpoint(self) -> str:
        """Return the signed checkpoint over all committed entries (C2SP signed note)."""
        size = await self.ledger.size()
        if size != self._last[0]:
            await self._advance(size)
            # What was appended for another call meanwhile is committed too; the size stated is always that of the root.
            size = self._frontier.size
            self._last = (size, self._sign(size, self._frontier.root()))
        return self._last[1]

    async def _advance(self, size: int) -> None:
        while self._frontier.size < size:
            start = self._frontier.size
            leaves = await self.ledger.leaves(start, min(size, start + READ_AT_ONCE))
            if self._frontier.size == start:  # else another call has appended them in the meantime
                self._append(leaves)

    def _append(self, leaves: list[bytes]) -> None:
        for leaf in leaves:
            self._frontier.append(leaf)
            self._open.append(leaf)
            if len(self._open) == CHUNK:
                self._chunks.append(merkle.root(self._open))
                self._open.clear()

    def _sign(self, size: int, root: bytes) -> str:
        body = checkpoint_body(Checkpoint(origin=self.origin, size=size, root=root))
        return notes.sign_note(body, self.origin, self.key.sign, self.key.public.x)

    async def keep(self) -> None:
        """Store the present checkpoint when the log has grown since the last stored one."""
        note = await self.checkpoint()
        size = self._last[0]
        if size > self._kept:
            await self.sequencer.submit(KeepCheckpoint(size=size, note=note))
            self._kept = size
        self._covered = time.monotonic()

    def seconds_ago(self) -> float:
        """Return how long it is ago that the stored checkpoint covered the whole log."""
        return time.monotonic() - self._covered

    async def proof(self, index: int) -> str:
        """Return the inclusion proof of an entry under the present checkpoint (c2sp.org/tlog-proof@v1); refuse as `not_found`."""
        note = await self.checkpoint()
        while (
            self._frontier.size != self._last[0]
        ):  # another call is appending leaves: path and checkpoint must be of one size
            note = await self.checkpoint()
        if not 0 <= index < self._frontier.size:
            raise Refusal("not_found", "the log has no such index")
        chunk, place = divmod(index, CHUNK)
        rest = list(self._open)
        roots = [*self._chunks, merkle.root(rest)] if rest else list(self._chunks)
        leaves = rest if chunk == len(self._chunks) else await self.ledger.leaves(chunk * CHUNK, (chunk + 1) * CHUNK)
        path = merkle.inclusion_path(leaves, place) + merkle.inclusion_path(roots, chunk)
        return format_proof(index, path, note)

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


def _broken(detail: str) -> Unusable:
    return Unusable("log_broken", detail, exit_code=LOG_BAD)
