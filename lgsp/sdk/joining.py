"""Whether the bus lets this system in: it has a stream and the newest directory; or why it has not.

The directory is fetched each time a stream opens. Opening streams, and believing directories, is left to `stream` and `directories`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from lgsp.errors import Refusal, catalogue
from lgsp.logs import get_logger
from lgsp.sdk.directories import Directories
from lgsp.sdk.errors import ClientError, Refused, Unreachable

DIRECTORY_PAUSE: Final = 2.0
"""Seconds after which a directory that could not be had is asked for again."""
AWAY: Final = frozenset({"draining", "unavailable"})
"""Codes of a gateway that is going or coming, rather than saying no."""


class Joining:
    """What a client knows of being let in, and those who wait for it."""

    def __init__(self, *, directories: Directories) -> None:
        self._directories = directories
        self._problem = ""
        self._broken: BaseException | None = None
        self._is_in = False
        self._decided = asyncio.Event()
        self._opened = asyncio.Event()

    def opened(self) -> None:
        """A stream is open: the directory is next."""
        self._opened.set()

    def ended(self, problem: str) -> None:
        """A stream could not be had, or is gone; `problem` is a code of the catalogue, or a word that is none."""
        self._problem = problem

    async def run(self) -> None:
        """Get the newest directory each time a stream opens, until cancelled."""
        while True:
            await self._opened.wait()
            self._opened.clear()
            try:
                await self._directories.refresh()
            except (Refusal, ClientError) as error:
                self._problem = getattr(error, "code", "unavailable")
                get_logger().warning("client.refused", code=self._problem, env="")
                await asyncio.sleep(DIRECTORY_PAUSE)
                self._opened.set()
            else:
                self._is_in = True
                self._decided.set()

    def over(self, error: BaseException | None) -> None:
        """Let nobody wait any longer: the client has ended, because of `error` where there is one."""
        self._broken = error
        self._decided.set()

    async def wait(self, seconds: float) -> None:
        """Return once the bus has let this system in; raise `Refused` or `Unreachable` after so many seconds, and what ended the client."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._decided.wait()
        if self._broken is not None:
            raise self._broken
        if self._is_in:
            return
        if self._problem in catalogue() and self._problem not in AWAY:
            raise Refused(self._problem)
        raise Unreachable
