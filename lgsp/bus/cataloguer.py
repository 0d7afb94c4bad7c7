"""Cataloguing: the catalogue of what entries mention follows the log, off the way of envelopes.

Any gateway may do it, several do no harm. It begins where the catalogue ends, so one that is missing is made from the first entry on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from lgsp.bus.sequencer import Sequencer
from lgsp.domain.mentions import Business, Manifest, Mention, business, cause_in, env_in, manifest_in
from lgsp.ports.ledger import Catalogue, Ledger
from lgsp.ports.search import Search

AT_ONCE: Final = 100
"""Entries in one step: some milliseconds of the ledger, for which a look-up may have to wait."""
REMEMBERED: Final = 5_000
"""Envelopes that are remembered: their entries follow each other closely."""
NOTHING: Final = Business()
SECONDS: Final = 0.1
"""How long a round goes on: under load the catalogue falls behind rather than take more of each second from envelopes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cataloguer:
    """Fills the catalogue step by step."""

    ledger: Ledger
    search: Search
    sequencer: Sequencer
    _known: dict[str, Business] = field(default_factory=dict)

    async def follow(self, seconds: float = SECONDS) -> int:
        """Catalogue what was appended since, for about so long at most; return how many entries the catalogue covers then."""
        until = time.monotonic() + seconds
        start, size = await self.search.catalogued(), await self.ledger.size()
        while start < size and await self._step(start, min(start + AT_ONCE, size)):
            start = min(start + AT_ONCE, size)
            if time.monotonic() > until:
                break
        return start

    async def _step(self, start: int, stop: int) -> bool:
        """Catalogue entries start..stop-1; False when the catalogue was made empty meanwhile."""
        entries = await self.ledger.entries(start, stop)
        if len(self._known) > REMEMBERED:
            self._known.clear()
        mentions = await mentions_in(self.search, start, entries, self._known)
        # The last one has its row whatever it names: by the last row is known how far the catalogue goes.
        kept = tuple(each for each in mentions if each.env or each.seq == stop - 1)
        [result] = await self.sequencer.submit(Catalogue(start=start, mentions=kept), order="bulk")
        return result != "stale"


async def mentions_in(
    search: Search, start: int, entries: Sequence[bytes], known: dict[str, Business] | None = None
) -> list[Mention]:
    """Return what each of these entries mentions, of which the first has the number `start`; `known` are envelopes met before, and is added to."""
    envs = [env_in(entry) for entry in entries]
    met = {} if known is None else known
    fresh = {env: entry for env, entry in zip(reversed(envs), reversed(entries), strict=True) if env and env not in met}
    told = await about(search, list(fresh.values()))
    # One that was refused, of which nothing is kept, may still be accepted.
    met |= {env: business(manifest, cause) for env, manifest, cause in told if manifest}
    return [
        Mention(seq=seq, env=env, casefile=casefile, procedure=procedure, officer=officer)
        for seq, env in enumerate(envs, start)
        for casefile, procedure, officer in (met.get(env, NOTHING),)
    ]


async def about(search: Search, entries: Sequence[bytes]) -> list[tuple[str, Manifest, Manifest]]:
    """Return for each entry the env hash that it names, that envelope's manifest, and that of the request which it answers.

    They are empty where there is none: an envelope that was refused is known by its hash alone.
    """
    envs = [env_in(entry) for entry in entries]
    kept = await search.kept([env for env in dict.fromkeys(envs) if env])
    causes = [
        kept[env].cause or cause_in(entry) if env in kept else "" for env, entry in zip(envs, entries, strict=True)
    ]
    kept |= await search.kept([cause for cause in dict.fromkeys(causes) if cause and cause not in kept])
    manifests = {env: manifest_in(each.compact) for env, each in kept.items()}
    return [(env, manifests.get(env, {}), manifests.get(cause, {})) for env, cause in zip(envs, causes, strict=True)]
