"""Whether the bus lets this system in: it has a stream and the newest directory; or why it has not.

The directory is fetched each time a stream opens. Opening streams, and believing directories, is left to `stream` and `directories`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from lgsp.errors import Refusal, catalogue
from lgsp.logs import get_logger
from lgsp.sdk.directories import Directories
from lgsp.sdk.errors import ClientError, Refused, Unreachable
from lgsp.sdk.stream import Ended

DIRECTORY_PAUSE: Final = 2.0
"""Seconds after which a directory that could not be had is asked for again."""
AWAY: Final = frozenset({"draining", "unavailable"})
"""Codes of a gateway that is going or coming, rather than saying no."""


class Joining:
    """What a client knows of being let in, and those who wait for it."""

    def __init__(self, *, directories: Directories, urls: Sequence[str]) -> None:
        self._directories = directories
        self._urls = urls
        self._noes: set[str] = set()
        """Addresses that have said no for good since somebody began to wait."""
        self._problem = ""
        self._broken: BaseException | None = None
        self._is_in = False
        self._is_over = False
        self._decided = asyncio.Event()
        self._opened = asyncio.Event()

    def opened(self) -> None:
        """A stream is open: the directory is next."""
        self._opened.set()

    def ended(self, url: str, ended: Ended) -> None:
        """A stream to an address could not be had, or is gone. Once each of them has said no for good, nobody waits any longer."""
        self._problem = ended.reason
        if ended.for_good:
            self._noes.add(url)
        if self._noes.issuperset(self._urls):
            self._decided.set()

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
        self._is_over = True
        self._decided.set()

    async def wait(self, seconds: float) -> None:
        """Return once the bus has let this system in; raise `Refused`, or `Unreachable` after so many seconds, and what ended the client."""
        if not (self._is_in or self._is_over):
            self._noes.clear()  # what was said before may be mended by now
            self._decided.clear()
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
