"""Strays: leases of this gateway that nobody uses. They stand in the rows, or may: then nobody heard what became of the commit that wrote them.

PostgreSQL may have applied a commit whose answer was lost; SQLite, written by one process, says what became of each. And whoever was cancelled
while it waited for a commit does not learn of it either. Without a look at the rows such a delivery would lie still until its lease ends. Who
looks, and lets them out again, is the courier; its sweep asks it to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from lgsp.domain.exchange import Delivery
from lgsp.ports.clock import Clock

KEPT: Final = 1_000
"""Strays that are remembered; one more forgets the oldest, which goes out again when its lease ends."""
UNSURE: Final = timedelta(seconds=60)
"""For how long a lease may yet appear in the rows: no commit takes nearly as long, though its connection was cut or its caller gave up."""

Name = tuple[str, str, str]
"""(Receiving inbox, env hash, lease)."""


@dataclass(slots=True, kw_only=True)
class Strays:
    """The leases to be looked for, in the order in which they were given up."""

    clock: Clock
    _since: dict[Name, datetime] = field(default_factory=dict)

    def add(self, leased: Iterable[Delivery]) -> None:
        """Remember leases that nobody uses."""
        now = self.clock.now()
        for delivery in leased:
            self._since.setdefault(_name(delivery), now)
        while len(self._since) > KEPT:
            del self._since[next(iter(self._since))]

    def wanted(self) -> dict[str, list[str]]:
        """Return the env hashes to look for, by inbox."""
        found: dict[str, list[str]] = {}
        for inbox, env, _ in self._since:
            found.setdefault(inbox, []).append(env)
        return found

    def among(self, rows: Iterable[Delivery]) -> list[Delivery]:
        """Return the rows that say that they are strays."""
        return [row for row in rows if row.state == "leased" and _name(row) in self._since]

    def settle(self, inbox: str, taken_in: Iterable[Delivery]) -> None:
        """Forget, of an inbox that was looked at, those that were let out again and those that would have been found by now."""
        gone = {_name(delivery) for delivery in taken_in}
        now = self.clock.now()
        gone |= {name for name, since in self._since.items() if name[0] == inbox and now - since >= UNSURE}
        for name in gone:
            self._since.pop(name, None)


def _name(leased: Delivery) -> Name:
    return leased.to, leased.env, leased.lease
