"""The announcer: what this gateway tells the others. Nothing is gathered, nor is anything told, while it is alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lgsp.domain.exchange import OUTCOMES, Delivery, ExchangeKey
from lgsp.ports.neighbours import Neighbours, News


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcer:
    """Tells the neighbours."""

    neighbours: Neighbours

    def queued(self, deliveries: Iterable[Delivery]) -> None:
        """Tell in which inboxes something waits."""
        if not self.neighbours.alone and (inboxes := frozenset(each.to for each in deliveries)):
            self.neighbours.tell(News(queued=inboxes))

    def awaited(self, request: ExchangeKey) -> None:
        """Tell that a call waits for the reply to a request, before the request can be answered."""
        if not self.neighbours.alone:
            self.neighbours.tell(News(awaited=frozenset({request})))

    def answered(self, request: ExchangeKey) -> None:
        """Tell that the reply to a request is accepted."""
        if not self.neighbours.alone:
            self.neighbours.tell(News(answered=frozenset({request})))

    def moved(self, deliveries: Iterable[Delivery]) -> None:
        """Tell which deliveries came to an end or were put back: their senders, or who handed them over, may be elsewhere."""
        if self.neighbours.alone:
            return
        told = (each for each in deliveries if each.state in OUTCOMES or each.state == "waiting")
        if moved := frozenset((each.source, each.to, each.env) for each in told):
            self.neighbours.tell(News(moved=moved))

    def published(self, version: int) -> None:
        """Tell which version of the directory is in force."""
        if not self.neighbours.alone:
            self.neighbours.tell(News(directory=version))

    def erased(self, day: str) -> None:
        """Tell that a day's body key was destroyed, so that nobody keeps it in memory."""
        if not self.neighbours.alone:
            self.neighbours.tell(News(erased=frozenset({day})))
