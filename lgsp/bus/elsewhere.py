"""The calls that wait at other gateways, as far as they were heard of: their replies are theirs before any stream's.

Known for as long as a call may wait. What is not known here goes the way of all replies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from lgsp.domain.exchange import ExchangeKey

WAIT_MAX: Final = 60
"""Seconds that a call waits at most."""
KEPT: Final = 10_000
"""Calls that are known; one more forgets the oldest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """The requests whose replies are waited for at other gateways."""

    _since: dict[ExchangeKey, float] = field(default_factory=dict)
    """When each was heard of, on the loop's clock, the oldest first."""

    def add(self, requests: Iterable[ExchangeKey]) -> None:
        """Remember requests whose replies are waited for from now on."""
        now = asyncio.get_running_loop().time()
        for request in requests:
            self._since.pop(request, None)
            self._since[request] = now
        while self._since and (len(self._since) > KEPT or self._is_over(next(iter(self._since)), now)):
            del self._since[next(iter(self._since))]

    def has(self, request: ExchangeKey) -> bool:
        """Tell whether a call may wait for the reply to a request."""
        return request in self._since and not self._is_over(request, asyncio.get_running_loop().time())

    def answered(self, request: ExchangeKey) -> None:
        """Forget a request whose reply is accepted: there is one."""
        self._since.pop(request, None)

    def _is_over(self, request: ExchangeKey, now: float) -> bool:
        return now - self._since[request] > WAIT_MAX
