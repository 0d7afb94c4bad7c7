"""Gateways of one process that hear each other at once; most often there is one alone, on a ledger that no other can reach."""

from __future__ import annotations

import secrets

from lgsp.domain.leases import HOLDER_DIGITS
from lgsp.ports.neighbours import Hear, News


class Neighbourhood:
    """All who have joined."""

    def __init__(self) -> None:
        self._members: dict[str, MemoryNeighbours] = {}

    def join(self) -> MemoryNeighbours:
        """Return the place of one gateway more."""
        member = MemoryNeighbours(self, secrets.token_hex(HOLDER_DIGITS // 2))
        self._members[member.holder] = member
        return member

    def leave(self, member: MemoryNeighbours) -> None:
        """Let a gateway be dead."""
        self._members.pop(member.holder, None)

    def living(self) -> frozenset[str]:
        """Return the numbers of those who have joined and not left."""
        return frozenset(self._members)

    def spread(self, news: News, *, teller: str) -> None:
        """Have all but the teller hear."""
        for holder, member in list(self._members.items()):
            if holder != teller:
                member.hear(news)


class MemoryNeighbours:
    """One gateway's place among them."""

    def __init__(self, neighbourhood: Neighbourhood, holder: str) -> None:
        self._neighbourhood = neighbourhood
        self._holder = holder
        self._hear: Hear | None = None

    @property
    def holder(self) -> str:
        """The number of this gateway."""
        return self._holder

    @property
    def alone(self) -> bool:
        """Whether no other has joined."""
        return self._neighbourhood.living() <= {self._holder}

    def tell(self, news: News) -> None:
        """Have the others hear it now."""
        self._neighbourhood.spread(news, teller=self._holder)

    def hear(self, news: News) -> None:
        """Hear what another tells."""
        if self._hear is not None:
            self._hear(news)

    def listen(self, hear: Hear) -> None:
        """Have `hear` called with what the others tell."""
        self._hear = hear

    def living(self) -> frozenset[str]:
        """Return the numbers of all who have joined and not left."""
        return self._neighbourhood.living() | {self._holder}
