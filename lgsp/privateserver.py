"""What private servers of any kind share: a free port, a process of one's own, ended by its id."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lgsp.errors import Unusable


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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
