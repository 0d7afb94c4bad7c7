"""Systems of a simulated bus that a test does not write: they answer requests with what it says."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

from lgsp.sdk import Client, Message, Retry

Answer = Callable[[Message], Any]
"""Gives the reply's body, or None for no reply; may be a coroutine function, and may raise `Reject` or `Retry`."""


class Answers:
    """Who answers what, and what went wrong with it."""

    def __init__(self) -> None:
        self.mishaps: list[Exception] = []
        """What answers raised that is no answer."""
        self._answers: dict[str, Answer] = {}
        self._systems: dict[str, str] = {}
        self._running: set[str] = set()

    def give(self, type_: str, answer: Answer, *, by: str) -> None:
        """Answer requests of a type by a system, or by whom grants name where `by` is ""."""
        self._answers[type_], self._systems[type_] = answer, by

    def missing(self, named: Callable[[str], str]) -> set[str]:
        """Return the systems that have something to answer and do not run; `named` gives the one that a type's grants name."""
        return {by or named(type_) for type_, by in self._systems.items()} - self._running

    @asynccontextmanager
    async def running(self, system: str, client: AbstractAsyncContextManager[Client]) -> AsyncIterator[None]:
        """Answer as a system for the length of a block."""
        async with client as opened:
            self._running.add(system)
            task = asyncio.create_task(self._run(opened))
            try:
                yield
            finally:
                self._running.discard(system)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _run(self, client: Client) -> None:
        async for message in client.inbox():
            if message.type not in self._answers and message.manifest.is_reply:
                client.shelve(message)
            else:
                await self._respond(message)

    async def _respond(self, message: Message) -> None:
        try:
            async with message.effect() as effect:
                found = self._answers.get(message.type, _unanswered)(message)
                body = await found if inspect.isawaitable(found) else found
                if body is not None:
                    effect.reply(body)
        except Exception as error:  # noqa: BLE001 - the message was put back; the test is told at its end
            self.mishaps.append(error)


def _unanswered(_message: Message) -> None:
    raise Retry(code="unhandled")
