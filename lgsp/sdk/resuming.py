"""What happens between the opening of a stream and the first envelope over it: the bus is asked whether it still knows what it receipted last.

A log loses its end when it is restored from a copy, never its middle. So one question is enough, about the receipt with the highest index; and
because nothing is sent before it is answered, no younger receipt can hide the loss.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from lgsp.logs import get_logger
from lgsp.ports.clock import Clock
from lgsp.sdk import outbox
from lgsp.sdk.box import Box
from lgsp.sdk.errors import Refused, Unreachable
from lgsp.sdk.frames import Welcome
from lgsp.sdk.sender import Sender

PAUSE: Final = 1.0
"""Seconds after which a question that got no answer is asked again."""

Ask = Callable[[str, datetime], Awaitable[bool]]
"""Tell whether the bus knows the envelope of an env hash; signed at a moment of the gateway's clock. Raises `Unreachable` or `Refused`."""


class Resuming:
    """Lets the backlog go out over each new stream, once the bus has been asked."""

    def __init__(self, *, box: Box, clock: Clock, sender: Sender, ask: Ask) -> None:
        self._box = box
        self._clock = clock
        self._sender = sender
        self._ask = ask
        self._open: Welcome | None = None
        self._ahead = timedelta(0)
        self._bell = asyncio.Event()

    def opened(self, welcome: Welcome) -> None:
        """Begin: at once where nothing was ever receipted."""
        self._open = welcome
        self._ahead = welcome.now - self._clock.now()
        if self._newest() is None:
            self._sender.backlog.opened(welcome.max_inflight)
        else:
            self._bell.set()

    def closed(self) -> None:
        """The stream is gone; what was receipted over it is in the box before the next question."""
        self._open = None
        self._box.hurry()

    async def run(self) -> None:
        """Ask each time a stream opens, until cancelled."""
        while True:
            await self._bell.wait()
            self._bell.clear()
            welcome = self._open
            if welcome is not None and not await self._settled(welcome):
                await asyncio.sleep(PAUSE)
                self._bell.set()

    async def _settled(self, welcome: Welcome) -> bool:
        """Ask, repeat what is lost, let the backlog go; False when there was no answer."""
        newest = self._newest()
        try:
            is_known = newest is None or await self._ask(newest, self._clock.now() + self._ahead)
        except Unreachable:
            return False
        except Refused as refused:
            if refused.retryable:
                return False
            # No answer ever: the same "no" will meet what is sent.
            get_logger().warning("client.refused", code=refused.code, env=newest or "")
            is_known = True
        if self._open is welcome and not is_known:
            await self._sender.repeat()
        if self._open is welcome:
            self._sender.backlog.opened(welcome.max_inflight)
        return True

    def _newest(self) -> str | None:
        return outbox.newest(self._box.reader, self._clock.now())
