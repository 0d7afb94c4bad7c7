"""A gateway over a made-up world in this process, listening for real, and the settings of systems that use it.

For tests of the SDK and of adapters.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgsp.bus.supervisor import Bus
from lgsp.domain.limits import LIMITS, Limits
from lgsp.domain.retry import RETRY, RetryPolicy
from lgsp.http.server import Running, serve
from lgsp.keyfiles import write_private
from lgsp.machine import SystemClock, SystemEntropy
from lgsp.ports.clock import Clock
from lgsp.ports.store import Store
from lgsp.sdk import SystemSettings
from lgsp.testing.bus import running_bus
from lgsp.testing.world import BUS, LOG, OWNERS, World


@dataclass(slots=True, kw_only=True)
class Town:
    """A world, its running bus, and where its systems keep their files."""

    world: World
    bus: Bus
    server: Running
    folder: Path

    def settings(self, name: str, **changes: Any) -> SystemSettings:  # noqa: ANN401 - any setting may be put to the test
        """Return the settings of the system of a name in `OWNERS`; its key is written at the first time."""
        key = self.folder / f"{name}.pem"
        if not key.exists():
            write_private(key, self.world.signers[name])
        stated: dict[str, Any] = {
            "url": self.server.url,
            "bus": BUS,
            "system": OWNERS[name][0],
            "key": key,
            "box": self.folder / f"{name}.sqlite",
            "registrar": self.world.signers["registrar"].public.jwk,
            "log": LOG,
        }
        return SystemSettings.model_validate(stated | changes)

    def settings_file(self, name: str, **settings: str | float) -> Path:
        """Write the settings of a system as a TOML file, with the adapter's own table, and return its path."""
        return write_settings(self.settings(name), self.folder / f"{name}.toml", settings)


def write_settings(found: SystemSettings, path: Path, own: Mapping[str, str | float]) -> Path:
    """Write the settings of a system as a TOML file, with a program's own table, and return the file's path."""
    lines = [f'{member} = "{getattr(found, member)}"' for member in ("url", "bus", "system", "key", "box", "log")]
    lines += ["[registrar]", *(f'{member} = "{value}"' for member, value in found.registrar.items())]
    lines += ["[settings]", *(f"{member} = {value!r}" for member, value in own.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@asynccontextmanager
async def running_town(
    folder: Path,
    store: Store,
    *,
    world: World | None = None,
    clock: Clock | None = None,
    limits: Limits = LIMITS,
    retry: RetryPolicy = RETRY,
) -> AsyncIterator[Town]:
    """Run a bus over the store and let it listen on loopback; without a world the usual one, as of now."""
    clock = clock or SystemClock()
    world = world or World.make(now=clock.now())
    async with running_bus(world, store, clock=clock, entropy=SystemEntropy(), limits=limits, retry=retry) as bus:
        server = await serve(bus, host="127.0.0.1", port=0)
        try:
            yield Town(world=world, bus=bus, server=server, folder=folder)
        finally:
            await server.close()
