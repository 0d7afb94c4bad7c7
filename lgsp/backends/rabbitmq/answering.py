"""Answering for what a channel has brought, in as few frames as will do.

The broker numbers what it brings over a channel, from 1 on. One frame answers for all up to a number, once nothing below it is held any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Acks(Protocol):
    """The channel, as far as it answers for messages."""

    def basic_ack(self, delivery_tag: int, *, multiple: bool = False, wait: bool = True) -> Awaitable[None]:
        """Acknowledge one message, or all up to it; without `wait` the frame may be written later."""


@dataclass(slots=True, kw_only=True)
class Unanswered:
    """The numbers of what one channel has brought and nobody has answered for; as many as its consumers may bring ahead, at most."""

    channel: Acks
    _held: set[int] = field(default_factory=set)
    _count: int = 0
    _highest: int = 0
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Frames of two groups in turns would answer for a number that a frame before has answered for: the broker closes the channel for that."""

    def bring(self, number: int) -> None:
        """Take note of a message that has come."""
        self._held.add(number)
        self._count += 1
        self._highest = max(self._highest, number)

    async def answer(self, numbers: Sequence[int]) -> None:
        """Acknowledge messages that have come; what the channel raises is raised."""
        async with self._writing:
            self._held.difference_update(numbers)
            through = self._through()
            below = [number for number in numbers if number <= through]
            if below:
                # Also for a single one: an earlier answer may have been cut off, and its numbers are below.
                await self.channel.basic_ack(max(below), multiple=True, wait=False)
            for number in numbers:
                if number > through:
                    await self.channel.basic_ack(number, wait=False)

    def _through(self) -> int:
        """Return up to which number nothing is held, and everything has come: one that was overtaken on its way is not to be answered for."""
        if self._count != self._highest:
            return 0
        return min(self._held) - 1 if self._held else self._highest
