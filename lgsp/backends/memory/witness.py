"""A witness in the memory of one process: it keeps every promise but to outlive its process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lgsp.domain import merkle, notes
from lgsp.domain.checkpoint import Checkpoint, checkpoint_body, open_checkpoint
from lgsp.domain.keys import PrivateKey
from lgsp.domain.notes import WITNESS_KEY, NoteInvalid, NoteKey
from lgsp.ports.anchor import AnchorAway, Answer, Cosigned, HoldsSize, OtherRoot
from lgsp.ports.clock import Clock


@dataclass(slots=True, kw_only=True)
class MemoryWitness:
    """Co-signs the checkpoints of the logs that it knows."""

    name: str
    signer: PrivateKey
    logs: Mapping[str, NoteKey]
    """Keys of logs by their origin."""
    clock: Clock
    away: bool = False
    """Whether it gives no answer, for tests."""
    seen: dict[str, Checkpoint] = field(default_factory=dict)
    """The last checkpoint that was co-signed, by origin."""

    @property
    def key(self) -> NoteKey:
        """The key that it co-signs with."""
        return NoteKey(name=self.name, kind=WITNESS_KEY, public=self.signer.public.x)

    async def add_checkpoint(self, old: int, path: Sequence[bytes], note: str) -> Answer:
        """Offer a signed checkpoint; see the port."""
        if self.away:
            raise AnchorAway("it is away")
        offered = self._opened(note)
        seen = self.seen.get(offered.origin) or Checkpoint(origin=offered.origin, size=0, root=merkle.EMPTY_ROOT)
        if old > offered.size:
            raise AnchorAway("it does not understand the call")
        if old != seen.size:
            return HoldsSize(size=seen.size)
        if not merkle.verify_consistency(seen.size, offered.size, seen.root, offered.root, path):
            return OtherRoot()
        self.seen[offered.origin] = offered
        time = int(self.clock.now().timestamp())
        return Cosigned(
            lines=notes.cosign_note(checkpoint_body(offered), self.name, self.signer.sign, self.signer.public.x, time)
        )

    def _opened(self, note: str) -> Checkpoint:
        key = self.logs.get(note.partition("\n")[0])
        if key is None:
            raise AnchorAway("it does not know the log")
        try:
            return open_checkpoint(note, key)
        except NoteInvalid as error:
            raise AnchorAway(str(error)) from None
