"""Refusals that get no entry of their own: unproven ones, counted by code and peer, and a sender's identical ones beyond 20 a minute.

Both are summed into one entry a minute, so that a flood grows the log by a bounded number of entries (protocol section 4).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lgsp.domain.entries import Draft, draft
from lgsp.domain.envelope import format_time
from lgsp.domain.limits import LIMITS, Limits
from lgsp.ports.clock import Clock

MINUTE = timedelta(minutes=1)
PEERS_MAX = 256
"""Distinct (code, peer) pairs kept apart in a minute; the rest are summed under the peer `*`."""


@dataclass(slots=True, kw_only=True)
class EdgeRefusals:
    """Counts of the running minute."""

    gateway: str
    clock: Clock
    limits: Limits = LIMITS
    total: Counter[str] = field(default_factory=Counter)
    """All unproven refusals since the start, by code."""
    _since: datetime | None = None
    _unproven: Counter[tuple[str, str]] = field(default_factory=Counter)
    _repeated: Counter[tuple[str, str]] = field(default_factory=Counter)

    def count(self, code: str, peer: str) -> None:
        """Count an unproven refusal of a peer (an address)."""
        self._begin()
        self.total[code] += 1
        known = (code, peer) in self._unproven or len(self._unproven) < PEERS_MAX
        self._unproven[code, peer if known else "*"] += 1

    def is_one_too_many(self, kid: str, code: str) -> bool:
        """Count a proven refusal of a key's owner and tell whether it is beyond what gets an entry of its own this minute."""
        self._begin()
        self._repeated[kid, code] += 1
        return self._repeated[kid, code] > self.limits.refusals_per_minute

    def _begin(self) -> None:
        if self._since is None:
            self._since = self.clock.now()

    def is_due(self) -> bool:
        """Tell whether a minute with refusals is over."""
        return self._since is not None and self.clock.now() - self._since >= MINUTE

    def drain(self) -> list[Draft]:
        """Return the summed entries of the minute that ends now and begin anew."""
        since, now = self._since, self.clock.now()
        if since is None:
            return []
        found = [self._summed(now, since)] if self._unproven else []
        found += [
            draft("msg.rejected", at=now, bus=self.gateway, kid=kid, code=code, n=extra, from_=format_time(since))
            for (kid, code), n in sorted(self._repeated.items())
            if (extra := n - self.limits.refusals_per_minute) > 0
        ]
        self._since = None
        self._unproven.clear()
        self._repeated.clear()
        return found

    def _summed(self, now: datetime, since: datetime) -> Draft:
        codes = {code for code, _ in self._unproven}
        peers = {peer for _, peer in self._unproven}
        return draft(
            "edge.refused",
            at=now,
            bus=self.gateway,
            code=codes.pop() if len(codes) == 1 else "",
            n=self._unproven.total(),
            peer=peers.pop() if len(peers) == 1 else "*",
            from_=format_time(since),
        )
