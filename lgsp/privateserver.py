"""What private servers of any kind share: a free port, a process of one's own, ended by its id."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from lgsp.errors import Unusable

PORTS: Final = range(20_000, 32_000)
"""Below those that a system takes for outgoing connections (Linux: from 32768 on). One of these could hold the port while no server does; and whoever
calls a port among them at which nobody listens may, by chance, call from that very port, and is connected with himself."""
PORTS_TRIED: Final = 100


def free_port() -> int:
    """Return a loopback port that is free now, and that nobody takes by chance while its server is away; refuse as `unavailable`."""
    for _ in range(PORTS_TRIED):
        port = secrets.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise Unusable("unavailable", f"no free port among {PORTS_TRIED} from {PORTS.start} to {PORTS.stop - 1}")


def find_program(program: str, places: Sequence[str], *, missing: str) -> str:
    """Return the full path of a program in one of the places or on the PATH; refuse with the code `missing`."""
    path = shutil.which(program, path=os.pathsep.join([*places, os.environ.get("PATH", os.defpath)]))
    if path is None:
        raise Unusable(missing, f"{program} is not installed here")
    return path


def spawn(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    *,
    user: int | None = None,
    group: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program that writes to `log`, as another user where one is given."""
    # A session of its own: an interrupt from the keyboard is for the caller, who ends the server in an orderly way.
    with log.open("ab") as out:
        return subprocess.Popen(  # noqa: S603 - a program of the machine, by its full path
            command,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
        )
