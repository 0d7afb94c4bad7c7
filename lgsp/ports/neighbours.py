"""The other gateways of the same bus: what they tell each other, and which of them live.

News wakes, it never decides: whoever hears of something looks at the rows. So news may be lost, may come twice, and may come late; whoever may
have lost some is told so (`missed`) and looks at everything anew. Nothing in it is of a person: names of systems, ids and hashes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lgsp.domain.exchange import ExchangeKey

Moved = tuple[str, str, str]
"""(`source`, `to`, env hash) of a delivery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What happened at one gateway and may matter to the others."""

    queued: frozenset[str] = frozenset()
    """Inboxes in which something waits."""
    awaited: frozenset[ExchangeKey] = frozenset()
    """Requests for whose reply a call waits."""
    answered: frozenset[ExchangeKey] = frozenset()
    """Requests whose reply is accepted."""
    moved: frozenset[Moved] = frozenset()
    """Deliveries that have come to an end, or were put back by their receivers."""
    directory: int = 0
    """The version of the directory that is in force."""
    erased: frozenset[str] = frozenset()
    """Days whose body key was destroyed."""
    missed: bool = False
    """Whether anything else may have happened too."""


def gathered(news: Sequence[News]) -> News:
    """Return much news as one."""
    return News(
        queued=frozenset().union(*(each.queued for each in news)),
        awaited=frozenset().union(*(each.awaited for each in news)),
        answered=frozenset().union(*(each.answered for each in news)),
        moved=frozenset().union(*(each.moved for each in news)),
        directory=max((each.directory for each in news), default=0),
        erased=frozenset().union(*(each.erased for each in news)),
        missed=any(each.missed for each in news),
    )


Hear = Callable[[News], None]


class Neighbours(Protocol):
    """One gateway's place among those that run on the same ledger."""

    @property
    def holder(self) -> str:
        """The number of this running gateway, 8 hexadecimal digits: no other that lives has it, nor had this one before its start."""

    @property
    def alone(self) -> bool:
        """Whether no other gateway was there a moment ago: then nothing needs to be told."""

    def tell(self, news: News) -> None:
        """Have the others hear something, soon; neither blocks nor raises, and is lost when nothing carries it."""

    def listen(self, hear: Hear) -> None:
        """Have `hear`, which neither blocks nor raises, called with what the others tell, and with `missed` after a gap."""

    def living(self) -> frozenset[str] | None:
        """Return the numbers of all gateways that live, this one among them; None while that is not known for sure.

        Who is not among them is dead: it has been gone for longer than it takes to come back after its connection broke.
        """
