"""Who watches which inbox of a transport: the part that every carrier has alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from lgsp.domain.exchange import Delivery


class Watchers:
    """Calls by inbox; for one event loop."""

    def __init__(self) -> None:
        self._calls: defaultdict[str, dict[object, Callable[[], None]]] = defaultdict(dict)

    def watch(self, inbox: str, call: Callable[[], None]) -> Callable[[], None]:
        """Have `call`, which neither blocks nor raises, called whenever the inbox is rung; return what ends that, once or more often."""
        watch = object()
        self._calls[inbox][watch] = call

        def end() -> None:
            # Ending twice is harmless: both sides of a connection that breaks may do it.
            self._calls[inbox].pop(watch, None)

        return end

    def ring(self, inbox: str) -> None:
        """Call those who watch an inbox; a call may end its own watch, or another's."""
        for call in tuple(self._calls[inbox].values()):
            call()

    def wake(self, deliveries: Sequence[Delivery]) -> None:
        """Ring the inboxes of these deliveries, each once."""
        for inbox in {delivery.to for delivery in deliveries}:
            self.ring(inbox)

    def is_watched(self, inbox: str) -> bool:
        """Tell whether anybody watches an inbox."""
        return bool(self._calls[inbox])

    def inboxes(self) -> Iterable[str]:
        """Return the inboxes that are or were watched."""
        return tuple(self._calls)
