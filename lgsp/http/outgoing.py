"""The sending half of a stream: frames wait in one queue, and one task writes all that waits with one call.

A frame is put without waiting. When more waits than a reader that keeps up would let grow, the stream is told to end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from aiohttp.abc import AbstractStreamWriter

from lgsp.domain import framing
from lgsp.domain.limits import LIMITS

WRITE_MAX: Final = 256 * 1024
"""Bytes handed to the transport at once; what it cannot send is its own buffer, so this stays well below `unsent_bytes`."""
SHORT: Final = 126
MEDIUM: Final = 65_536
TEXT: Final = 0x81
"""First byte of a whole text message (RFC 6455 section 5.2): final fragment, opcode 1; a server does not mask."""


class Outgoing:
    """Frames of one stream that are not yet sent."""

    def __init__(
        self,
        transport: asyncio.Transport,
        writer: AbstractStreamWriter,
        *,
        grouped: bool,
        most: int,
        overflow: Callable[[], None],
    ) -> None:
        """Write to `transport`, paced by `writer`; call `overflow` when more than `most` bytes wait beside one larger frame.

        With `grouped` several frames go in one message.
        """
        self._grouped = grouped
        self._transport = transport
        self._writer = writer
        self._most = most
        self._overflow = overflow
        self._waiting: deque[bytes] = deque()
        self._unsent = 0
        self._largest = 0
        """Bytes of the largest frame above `most` since all had been sent: a large body alone is no sign of a slow reader."""
        self._bell = asyncio.Event()
        self._sent = asyncio.Event()
        self._finished = False

    def put(self, text: str) -> None:
        """Send a frame after those that wait; never blocks, and does nothing after the last frame."""
        if self._finished:
            return
        frame = text.encode()
        size = len(frame)
        if not self._waiting:
            self._bell.set()
            self._sent.clear()
        self._waiting.append(frame)
        if size > self._most:
            self._largest = max(self._largest, size)
        self._unsent += size
        if self._unsent - self._largest > self._most:
            self._overflow()

    def finish(self, text: str) -> None:
        """Send the last frame."""
        self.put(text)
        self._finished = True

    def drop(self) -> None:
        """Forget what waits: a reader this slow gets its last frame only."""
        self._unsent -= sum(map(len, self._waiting))
        self._waiting.clear()

    async def run(self) -> None:
        """Write until cancelled; raise `ConnectionError` when the other end is gone."""
        while True:
            if not self._waiting:
                self._largest = 0
                self._sent.set()
                self._bell.clear()
                await self._bell.wait()
            await self._write_batch()

    async def flush(self) -> None:
        """Wait until all has been written and the transport takes more."""
        await self._sent.wait()

    async def _write_batch(self) -> None:
        """Write the next messages, as many as go at once."""
        batch: list[bytes] = []
        size, least = 0, LIMITS.group_bytes if self._grouped else 0
        while self._waiting and (not batch or size + max(len(self._waiting[0]), least) <= WRITE_MAX):
            group = framing.next_group(self._waiting, grouped=self._grouped)
            batch.append(_framed(framing.message_of(group)))
            size += sum(map(len, group))
        if not batch:
            return
        if self._transport.is_closing():
            raise ConnectionResetError("the stream is closing")
        self._transport.write(b"".join(batch))
        await self._writer.drain()
        self._unsent -= size


def _framed(payload: bytes) -> bytes:
    size = len(payload)
    if size < SHORT:
        return bytes((TEXT, size)) + payload
    if size < MEDIUM:
        return bytes((TEXT, SHORT)) + size.to_bytes(2) + payload
    return bytes((TEXT, SHORT + 1)) + size.to_bytes(8) + payload
