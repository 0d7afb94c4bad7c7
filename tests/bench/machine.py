"""The machine: what it is, which versions run on it, and what processes use of it."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import psutil

PACKAGES: Final = (
    "aio-pika", "aiohttp", "asyncpg", "cryptography", "faststream", "jiter", "joserfc", "jsonschema", "jsonschema-rs", "lgsp", "uvloop",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Watched:
    """Processes by name; those that they started count with them."""

    pids: dict[str, list[int]]

    def cpu_seconds(self) -> dict[str, float]:
        """Return user and system time so far, by name."""
        return {name: sum(map(_cpu_of, pids)) for name, pids in self.pids.items()}

    def rss_mb(self) -> dict[str, float]:
        """Return the most resident memory that each has held so far, in MB."""
        return {name: round(sum(map(_peak_of, pids)), 1) for name, pids in self.pids.items()}


def _family(pid: int) -> list[psutil.Process]:
    first = psutil.Process(pid)
    return [first, *first.children(recursive=True)]


def _cpu_of(pid: int) -> float:
    first, *others = _family(pid)
    ended = first.cpu_times()
    # A child that has ended is counted by its parent; those that run are asked themselves.
    return float(ended.user + ended.system + sum(sum(other.cpu_times()[:2]) for other in others))


def _peak_of(pid: int) -> float:
    return sum(_high_water(process.pid) for process in _family(pid))


def _high_water(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def described() -> dict[str, Any]:
    """Return what the machine is."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "system": platform.system(),
    }


def versions(programs: dict[str, list[str]]) -> dict[str, str]:
    """Return the versions of Python, of packages, and of what programs say of themselves (name -> command)."""
    found = {"python": platform.python_version()}
    found |= {name: metadata.version(name) for name in PACKAGES}
    return found | {name: _said_by(command) for name, command in programs.items()}


def _said_by(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip().splitlines()[-1]


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
