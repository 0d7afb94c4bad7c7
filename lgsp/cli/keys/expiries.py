"""Until when certificate and keys are good: the certificate by its own word, a key by the policy's lifetime since its registration."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final

from lgsp.bus.supervisor import Bus
from lgsp.cli.keys.policy import ages, read_policy
from lgsp.config import Settings
from lgsp.domain.directory import Directory, open_directory
from lgsp.errors import Refusal
from lgsp.http.certificates import Certificates
from lgsp.http.metrics import Metrics
from lgsp.ports.directory import DirectoryStore

EVERY: Final = 600.0
"""Seconds between looks: certificates and versions of the directory change seldom."""
SOON: Final = 5.0
"""Seconds until the look after the first one that failed."""


async def signing_dates(store: DirectoryStore, directory: Directory, settings: Settings) -> dict[int, datetime]:
    """Return when each version was signed that a key of the directory was registered in; for one that was never made, the present one's."""
    dates: dict[int, datetime] = {}
    for version in {key.record.since for key in directory.keys.values()}:
        signed = await store.at(version)
        if signed is None:
            dates[version] = directory.at
        else:
            pin = settings.keys.registrar_key()
            # A whole province's directory takes a while to check, and a gateway has others to serve meanwhile.
            opened = await asyncio.to_thread(
                open_directory, signed.statement, signed.records, pin, bus=settings.bus.urn
            )
            dates[version] = opened.at
    return dates


async def keep_shown(bus: Bus, settings: Settings, metrics: Metrics, tls: Certificates | None) -> None:
    """Show the ends in the metrics until cancelled; while the ledger is away, or a file is unreadable, those of the last look.

    After a look that failed the next comes soon, and each one later than the one before, until one succeeds.
    """
    pause = SOON
    while True:
        try:
            metrics.show_expiries(await ends(bus, settings, tls))
        except (Refusal, OSError, ValueError):  # the look at the engines tells of them, and `lgsp doctor`
            await asyncio.sleep(pause)
            pause = min(2 * pause, EVERY)
        else:
            pause = SOON
            await asyncio.sleep(EVERY)


async def ends(bus: Bus, settings: Settings, tls: Certificates | None) -> dict[str, datetime]:
    """Return the first end among the valid keys of each role, and the end of the TLS certificate in use where there is one."""
    directory, found = bus.registry.current, dict[str, datetime]()
    dates = await signing_dates(bus.registry.store, directory, settings)
    for age in ages(read_policy(), directory, dates, bus.clock.now()):
        found[age.key.role] = min(age.due, found.get(age.key.role, age.due))
    if tls is not None:
        found["tls"] = tls.until
    return found
