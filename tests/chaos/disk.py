"""A disk that can be full from one moment to the next, and have room again: a tmpfs of one's own where mounting is permitted.

Full means that it has no more room than a few pages beyond what it holds: whatever is written then fails. Where the machine does not let us mount,
a program's files may grow no further instead (`WriteLimit`); that is for the gateway's alone.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

SIZE: Final = 2 * 1024**3
"""Bytes that it may hold; nothing of it is taken before something is written."""
LEFT: Final = 64 * 1024
"""Bytes that a full disk still takes."""
SECONDS: Final = 20.0
TRIES: Final = 20
"""A program that writes as fast as it can puts less than `LEFT` between a look and a change in one of a few."""


class Room(Protocol):
    """What can run out."""

    def fill(self) -> None:
        """Leave no room but for a few pages."""

    def make_room(self) -> None:
        """Let there be room again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteLimit:
    """The operating system's own limit on how far a process's files may grow; the process that `pid` names then."""

    folder: Path
    pid: Callable[[], int | None]

    def fill(self) -> None:
        """Let no file grow beyond the largest that is there, and a few pages."""
        self._limit(max(path.stat().st_size for path in self.folder.glob("bus.sqlite*")) + LEFT)

    def make_room(self) -> None:
        """Take the limit away."""
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        if (pid := self.pid()) is not None:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A mounted disk."""

    path: Path

    def fill(self) -> None:
        """Leave no room but for a few pages; what is written between the look and the change may be more, then it is looked again."""
        for attempt in range(TRIES):
            found = os.statvfs(self.path)
            used = (found.f_blocks - found.f_bfree) * found.f_frsize
            try:
                self._resize(used + LEFT)
            except subprocess.CalledProcessError:
                if attempt == TRIES - 1:
                    raise
            else:
                return

    def make_room(self) -> None:
        """Let there be room again."""
        self._resize(SIZE)

    def _resize(self, size: int) -> None:
        _run("mount", "-o", f"remount,size={size}", str(self.path))


@contextmanager
def own_disk(name: str) -> Iterator[Disk]:
    """Mount a disk until the block ends; the folder is open to the server's own user too."""
    path = Path(tempfile.mkdtemp(prefix=f"lgsp-{name}-"))
    path.chmod(0o755)
    _run("mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "tmpfs", str(path))
    try:
        yield Disk(path=path)
    finally:
        _run("umount", "--lazy", str(path))
        path.rmdir()


def may_mount() -> bool:
    """Tell whether this machine lets us mount."""
    if os.geteuid() != 0:
        return False
    try:
        with own_disk("try"):
            return True
    except subprocess.CalledProcessError:
        return False


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
