"""What an outsider can check: signed checkpoints and inclusion proofs over the log; entry bytes for auditors only."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from lgsp.bus.authentication import Caller
from lgsp.bus.logtree import LogTree, NodesMissing
from lgsp.bus.sequencer import Sequencer
from lgsp.domain import jws, merkle, notes, strictjson
from lgsp.domain.checkpoint import Checkpoint, checkpoint_body, format_proof, open_checkpoint
from lgsp.domain.entries import NUMBERED, check_reason, draft
from lgsp.domain.keys import PrivateKey
from lgsp.domain.notes import LOG_KEY, NoteInvalid, NoteKey, open_note
from lgsp.domain.tiles import Tile
from lgsp.errors import Defect, Ending, Refusal, Unusable
from lgsp.logs import get_logger
from lgsp.ports.clock import Clock
from lgsp.ports.ledger import Done, KeepCheckpoint, Ledger, Note

READ_AT_ONCE: Final = 8_192
ENTRIES_AT_ONCE: Final = 1_000
NOT_FOR: Final = {
    "": "entries are read by auditors",
    "evidence": "evidence is for auditors, and for the sender and the receivers of the exchange",
}
"""What is said to whoever may not read, by what it is."""


@dataclass(slots=True, kw_only=True)
class Auditor:
    """Signs checkpoints over committed sizes only, and proves entries under them."""

    gateway: str
    origin: str
    key: PrivateKey
    ledger: Ledger
    tree: LogTree
    sequencer: Sequencer
    clock: Clock
    contradicted: bool = False
    """Whether a witness has seen another log under this name: then nothing is signed any more."""
    _last: tuple[int, str] = (-1, "")
    _kept: int = 0
    """The size under the last stored checkpoint."""
    _covered: float = field(default_factory=time.monotonic)

    async def check(self) -> None:
        """Compare the log with its last stored checkpoint, and re-hash the entries after it.

        Refuses (`log_broken`) a log that is shorter or another: two roots for one size would follow.
        """
        note, size = await self.ledger.checkpoint(), await self.ledger.size()
        kept = self.opened(note) if note else Checkpoint(origin=self.origin, size=0, root=merkle.EMPTY_ROOT)
        if size < kept.size:
            raise broken(f"the log has {size} entries, its checkpoint was signed over {kept.size}")
        try:
            await self.tree.begin(kept.size)
        except (NodesMissing, ValueError) as error:
            raise broken(f"{error} is missing") from None
        if self.tree.root() != kept.root:
            raise broken(f"the first {kept.size} entries are not those of the signed checkpoint")
        self._kept = kept.size
        await self._rehash(kept.size, size)
        await self._check_open(size)

    @property
    def log_key(self) -> NoteKey:
        """The public key under which the log's checkpoints are believed."""
        return NoteKey(name=self.origin, kind=LOG_KEY, public=self.key.public.x)

    def opened(self, note: str) -> Checkpoint:
        """Return the checkpoint of a note that the log's key has signed; refuse (`log_broken`) any other."""
        try:
            return open_checkpoint(note, self.log_key)
        except NoteInvalid as error:
            raise broken(f"the kept checkpoint: {error}") from None

    async def _rehash(self, start: int, size: int) -> None:
        for low in range(start, size, READ_AT_ONCE):
            high = min(size, low + READ_AT_ONCE)
            entries, leaves = await self.ledger.entries(low, high), await self.ledger.leaves(low, high)
            for index, (entry, leaf) in enumerate(zip(entries, leaves, strict=False), start=low):
                if merkle.leaf_hash(entry) != leaf or not entry.startswith(NUMBERED % index):
                    raise broken(f"entry {index} is not the one that was written")
            there = min(len(entries), len(leaves))
            if there < high - low:
                raise broken(f"entry {low + there} is missing")

    async def _check_open(self, size: int) -> None:
        """Refuse (`config_invalid`) to go on with a log that was closed: what came after its last checkpoint would be in none of its files."""
        for last in await self.ledger.entries(size - 1, size) if size else ():
            if b'"ev":"log.closed"' in last and strictjson.parse_object(last).get("obj") == self.origin:
                raise Unusable(
                    "config_invalid",
                    f"bus.log: {self.origin} is closed; lgsp log rotate, given again, goes on to the next one",
                )

    async def checkpoint(self) -> str:
        """Return the signed checkpoint over all committed entries (C2SP signed note)."""
        if self.contradicted:
            raise broken("a witness has seen another log under this name")
        size = await self.ledger.size()
        if size > self._last[0]:
            try:
                await self.tree.advance(size)
            except NodesMissing as error:
                raise self.damaged(str(error)) from None
            # What was appended for another call meanwhile is committed too; the size stated is always that of the root.
            size = self.tree.size
            self._last = (size, self._sign(size, self.tree.root()))
        return self._last[1]

    def _sign(self, size: int, root: bytes) -> str:
        body = checkpoint_body(Checkpoint(origin=self.origin, size=size, root=root))
        return notes.sign_note(body, self.origin, self.key.sign, self.key.public.x)

    async def kept(self) -> tuple[str, Checkpoint]:
        """Return the stored checkpoint and what it states; before the first one, a signed one over nothing."""
        note = await self.ledger.checkpoint() or self._sign(0, merkle.EMPTY_ROOT)
        return note, self.opened(note)

    async def cosigned(self) -> str:
        """Return the stored checkpoint that a witness has co-signed, or "", as long as none is under the name that the log has now."""
        note = await self.tree.nodes.cosigned()
        return note if note.startswith(f"{self.origin}\n") else ""

    async def witnessed(self) -> str:
        """Return the stored checkpoint that a witness has co-signed; refuse as `not_found`."""
        note = await self.cosigned()
        if not note:
            raise Refusal("not_found", "no witness has co-signed a checkpoint yet")
        return note

    def open_cosigned(self, note: str, witness: NoteKey) -> tuple[Checkpoint, int]:
        """Return the checkpoint that log and witness have signed, and when the witness did, in POSIX seconds; raise `NoteInvalid` for any other."""
        checkpoint = open_checkpoint(note, self.log_key, [witness])
        [time] = [each.time for each in open_note(note, [witness]).signatures]
        return checkpoint, time or 0

    async def shown(self) -> str:
        """Return the newest signed checkpoint, with the witness's signature where it has given one for that very size."""
        note, cosigned = await self.checkpoint(), await self.cosigned()
        return cosigned if cosigned.startswith(note) else note

    async def consistency(self, old: int, new: Checkpoint) -> list[bytes]:
        """Return the path from the first `old` entries to a signed checkpoint over at least as many.

        A path that does not lead there is not given out: a stored node was changed (`unavailable`).
        """
        try:
            await self.tree.advance(new.size)
            path, root = await self.tree.consistency(old, new.size), await self.tree.root_at(old)
        except NodesMissing as error:
            raise self.damaged(str(error)) from None
        if not merkle.verify_consistency(old, new.size, root, new.root, path):
            raise self.damaged(f"the path from {old} to {new.size} entries")
        return path

    async def keep(self) -> None:
        """Store the present checkpoint when the log has grown since the last stored one, with the nodes of the tree that have become whole."""
        note = await self.checkpoint()
        size, subtrees = self._last[0], self.tree.unkept()
        if size > self._kept or subtrees:
            await self.sequencer.submit(KeepCheckpoint(size=size, note=note, subtrees=subtrees))
            self._kept = size
            self.tree.kept(subtrees)
        self._covered = time.monotonic()

    def seconds_ago(self) -> float:
        """Return how long it is ago that the stored checkpoint covered the whole log."""
        return time.monotonic() - self._covered

    async def proof(self, index: int, *, witnessed: bool = False) -> str:
        """Return the inclusion proof of an entry (c2sp.org/tlog-proof@v1) under the present checkpoint, or the co-signed one; refuse as `not_found`.

        A path that does not lead to the signed root is not given out: a stored node was changed (`unavailable`).
        """
        note = await self.witnessed() if witnessed else await self.checkpoint()
        stated = self.opened(note)
        size = stated.size
        if not 0 <= index < size:
            raise Refusal("not_found", "the checkpoint covers no such index")
        try:
            await self.tree.advance(size)
            path = await self.tree.inclusion(index, size)
            [leaf] = await self.ledger.leaves(index, index + 1)
        except NodesMissing as error:
            raise self.damaged(str(error)) from None
        if not merkle.verify_inclusion(leaf, index, size, path, stated.root):
            raise self.damaged(f"the path of entry {index}")
        return format_proof(index, path, note)

    def damaged(self, what: str) -> Refusal:
        """Return the refusal (`unavailable`) of what cannot be proven from what is stored; an operator is told what it was."""
        get_logger().error("log.damaged", what=what)
        return Refusal(
            "unavailable", "the stored tree of the log does not fit its checkpoint: lgsp audit verify names where"
        )

    async def tile(self, tile: Tile) -> bytes:
        """Return the hashes of a tile, one after the other (C2SP tlog-tiles); refuse (`not_found`) what the log does not have yet."""
        await self._check_has(tile)
        try:
            return b"".join(await self.tree.tile(tile))
        except NodesMissing as error:
            raise self.damaged(str(error)) from None

    async def _check_has(self, tile: Tile) -> None:
        if tile.needs > self.tree.size:
            await self.checkpoint()
        if tile.needs > self.tree.size:
            raise Refusal("not_found", "the log is not as long yet")

    async def entry_bundle(self, caller: Caller, tile: Tile) -> bytes:
        """Return the bytes of a level-0 tile's entries, each after its length in two bytes, to an auditor; an entry tells of it, as in `entries`."""
        await self._check_has(tile)
        found = await self.entries(caller, tile.start, tile.width)
        return b"".join(len(each).to_bytes(2) + each for each in found)

    async def entries(self, caller: Caller, start: int, limit: int) -> list[bytes]:
        """Return entry bytes to an auditor; refuse (`forbidden`) anyone else. Each reading, and each attempt, is an entry of its own."""
        await self.note_reading(caller.urn, {"limit": limit, "start": start}, allowed="auditor" in caller.roles)
        return await self.ledger.entries(start, start + min(limit, ENTRIES_AT_ONCE))

    async def note_reading(self, by: str, query: dict[str, str | int], *, allowed: bool, what: str = "") -> None:
        """Append the entry that tells of a reading, or of an attempt: then refuse as `forbidden`. It holds the hash of what was asked.

        `what` names what is read where it is no entries.
        """
        entry = draft(
            "audit.read",
            at=self.clock.now(),
            bus=self.gateway,
            code="" if allowed else "forbidden",
            by=by,
            obj=what,
            hash=jws.hash_of(strictjson.compact(dict(sorted(query.items())))),
        )
        await self.sequencer.submit(Note(entry=entry))
        if not allowed:
            raise Refusal("forbidden", NOT_FOR[what])

    async def note_bodies_read(self, env: str, *, by: str, reason: str) -> int:
        """Append the entry that tells who is about to read the bodies of an exchange, and why (else `bad_request`); return its number."""
        check_reason(reason)
        entry = draft("audit.read", at=self.clock.now(), bus=self.gateway, env=env, by=by, reason=reason)
        [done] = await self.sequencer.submit(Note(entry=entry))
        if not isinstance(done, Done):
            raise Defect("an entry that nothing stands against was not written")
        return done.index


def broken(detail: str) -> Unusable:
    """Return what is raised of a log that is not the one that was signed for; a command that meets it ends with 3."""
    return Unusable("log_broken", detail, exit_code=Ending.BROKEN)
