"""Word to the service manager that started the program (systemd's `Type=notify`): ready, stopping, still turning. Nothing where there is none."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import Final

SOCKET: Final = "NOTIFY_SOCKET"
WATCHDOG: Final = "WATCHDOG_USEC"


def is_there() -> bool:
    """Tell whether a manager started the program and listens."""
    return bool(os.environ.get(SOCKET, ""))


def tell(state: str) -> None:
    """Tell the manager a state, like `READY=1` (sd_notify(3)); one that does not listen is none."""
    place = os.environ.get(SOCKET, "")
    if not place:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door, suppress(OSError):
        door.connect("\0" + place[1:] if place.startswith("@") else place)
        door.send(state.encode())


def pause() -> float:
    """Return after how many seconds the manager wants a sign of life, 0 when it wants none."""
    asked = os.environ.get(WATCHDOG, "")
    return int(asked) / 2_000_000 if asked.isdecimal() else 0.0


async def keep_alive() -> None:
    """Give signs of life until cancelled: when the program hangs they end, and the manager starts it anew."""
    seconds = pause()
    while seconds:
        tell("WATCHDOG=1")
        await asyncio.sleep(seconds)
