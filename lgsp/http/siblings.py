"""The workers of one gateway: whoever of them is asked for figures gives those of all, each marked by its number.

They ask each other over the socket files in the data folder. One that does not answer is left out: it is being started again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import aiohttp

from lgsp import datafolder

PATIENCE: Final = aiohttp.ClientTimeout(total=2.0)
ABOUT: Final = ("# HELP ", "# TYPE ")


class Siblings:
    """The other workers, by their numbers."""

    def __init__(self, own: int, sockets: Mapping[int, Path]) -> None:
        self._own = own
        self._sockets = {number: path for number, path in sockets.items() if number != own}

    async def figures(self, own: str) -> str:
        """Return the figures of all workers in Prometheus text format, given one's own."""
        others = await asyncio.gather(*(_ask(path) for path in self._sockets.values()))
        found = {self._own: own} | dict(zip(self._sockets, others, strict=True))
        return merged({number: found[number] for number in sorted(found)})


async def _ask(path: Path) -> str:
    try:
        with datafolder.short_path(path) as name:
            connector = aiohttp.UnixConnector(path=name)
            async with (
                aiohttp.ClientSession(connector=connector, timeout=PATIENCE) as session,
                session.get("http://worker/metrics") as answer,
            ):
                return await answer.text() if answer.ok else ""
    except (aiohttp.ClientError, TimeoutError, OSError):
        return ""


def merged(texts: Mapping[int, str]) -> str:
    """Return the texts as one, the samples of each figure together and labelled by the worker."""
    about: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for number, text in texts.items():
        name = ""
        for line in text.splitlines():
            if line.startswith(ABOUT):
                name = line.split(" ", 3)[2]
                lines = about.setdefault(name, [])
                if line not in lines:
                    lines.append(line)
            elif line and not line.startswith("#"):
                samples.setdefault(name, []).append(_labelled(line, number))
    return "".join(f"{line}\n" for name in about for line in (*about[name], *samples.get(name, ())))


def _labelled(sample: str, number: int) -> str:
    label = f'worker="{number}"'
    name, brace, rest = sample.partition("{")
    if brace and " " not in name:
        return f"{name}{{{label},{rest}"
    name, _, value = sample.partition(" ")
    return f"{name}{{{label}}} {value}"
