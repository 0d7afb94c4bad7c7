"""The anchor: a witness outside the bus that co-signs the log's checkpoints, each of them only when it continues what was co-signed before.

It remembers the largest size it has seen, whatever becomes of the ledger. When it is asked, and what follows from its answers, is the bus's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lgsp.domain.notes import NoteKey


class AnchorAway(Exception):
    """No answer that says anything about the log: not reached, too late, or the witness does not take this log's checkpoints. The text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigned:
    """The witness's signature lines for the checkpoint, each ended by a newline; nothing in them is verified yet."""

    lines: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldsSize:
    """The last checkpoint that the witness co-signed has this size, not the one that was stated."""

    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherRoot:
    """The witness co-signed another root for the stated size: the checkpoint does not continue what it has seen."""


Answer = Cosigned | HoldsSize | OtherRoot


class Anchor(Protocol):
    """One witness."""

    @property
    def key(self) -> NoteKey:
        """The key that the witness co-signs with, of kind `WITNESS_KEY`."""

    async def add_checkpoint(self, old: int, path: Sequence[bytes], note: str) -> Answer:
        """Offer a signed checkpoint to a witness that last co-signed size `old`, with the consistency path from there; 0 where it has seen none.

        Raises `AnchorAway`. A checkpoint may have been co-signed though the answer was lost: asked again, the witness answers with its size.
        """
