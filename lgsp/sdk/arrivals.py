"""Messages that have arrived and that no part of the program has taken yet, in order."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from lgsp.sdk.message import Message


class Arrivals:
    """A queue out of which the reply to a given request can be taken first."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, Message] = OrderedDict()
        self._replies: dict[str, str] = {}
        self._bell = asyncio.Event()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, message: Message, cause: str) -> None:
        """Add a message; `cause` is the id of the request it answers, or ""."""
        self._waiting[message.env] = message
        if cause:
            self._replies[cause] = message.env
        self._bell.set()

    def claim(self, cause: str) -> Message | None:
        """Take the reply to a request out of the queue, if it is there."""
        env = self._replies.pop(cause, "")
        return self._waiting.pop(env, None)

    async def next(self) -> Message | None:
        """Take the first message, waiting for one; None once the queue is closed."""
        while not self._waiting and not self._is_closed:
            self._bell.clear()
            await self._bell.wait()
        if self._is_closed:
            return None
        _, message = self._waiting.popitem(last=False)
        self._replies.pop(message.manifest.text("causationid"), None)
        return message

    def close(self) -> None:
        """Hand out nothing more; what is still here goes back with the stream."""
        self._is_closed = True
        self._bell.set()
