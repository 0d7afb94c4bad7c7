"""The synchronisation: keeps a bounded number of questions open, sends the work-lists, asks anew what stays unanswered, and reports.

What is said is `mapping`'s, what is remembered `steps`'; how it reaches the bus and the tables is handed in. After a crash at any moment a new
run goes on: a question is written down before it is sent, and sent again under the same key when nobody knows whether it was.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from adapters.vnfishbase import steps
from adapters.vnfishbase.mapping import Quarantined
from adapters.vnfishbase.steps import Question, Standing, WorkList

T = TypeVar("T")
TICK_SECONDS = 0.25
QUESTION, LIST = "verify", "list"
REFUSED = Quarantined(reason="refused")
FINAL = frozenset({"refused", "rejected"})  # another attempt changes nothing


class Outside(Protocol):
    """What the synchronisation needs of the world."""

    async def transact(self, change: Callable[[Tables], T]) -> T:
        """Run the change in one transaction and return its result once that is durable."""
        ...

    async def ask(self, question: Question, key: str) -> None:
        """Put a question into the outbox, once for a key."""
        ...

    async def post(self, work_list: WorkList, key: str) -> None:
        """Put a work-list into the outbox, once for a key."""
        ...

    def progressed(self, standing: Standing) -> None:
        """Show how far it is."""
        ...

    def reported(self, counts: Mapping[str, Any], seconds: float) -> None:
        """Show the result."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How many questions are open at a time, how often each is put, and how many seconds an answer may take."""

    window: int = 192
    tries: int = 3
    reply_within: float = 120.0
    list_reply_within: float = 5 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The outbox key of a question or a work-list: `verify:AG-00012-TS:1`."""

    kind: str
    name: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}:{self.attempt}"

    @classmethod
    def parse(cls, text: str | None, kind: str) -> "Key | None":
        """Return the key in the text, None when it is not one of the kind."""
        found, _, rest = (text or "").partition(":")
        name, _, attempt = rest.rpartition(":")
        if found != kind or not name or not attempt.isdecimal():
            return None
        return cls(kind=kind, name=name, attempt=int(attempt))


class Sync:
    """One synchronisation; `now` gives seconds since 1970, `clock` seconds that never go back."""

    def __init__(
        self,
        outside: Outside,
        pace: Pace,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outside = outside
        self._pace = pace
        self._now = now
        self._clock = clock
        self._open: dict[Key, float] = {}
        """What waits for an answer, and until when, in the order of sending; work-lists apart from questions."""
        self._open_lists: dict[Key, float] = {}
        self._moved = asyncio.Event()
        self._shown_at = -TICK_SECONDS

    async def run(self) -> None:
        """Go on until it is known of every vessel what became of it, then report."""
        await self._resume()
        while not (standing := await self._outside.transact(steps.standing)).complete:
            self._show(standing)
            await self._post(await self._outside.transact(steps.claim_lists))
            await self._fill_window()
            await self._give_up_late()
            await self._pause()
        self._outside.progressed(standing)
        ended = self._now()
        counts, seconds = await self._outside.transact(lambda tables: steps.finish(tables, ended))
        self._outside.reported(counts, seconds)

    def settled(self, key: Key) -> None:
        """Take note that an answer is written down."""
        if key.kind == LIST:
            self._open_lists.pop(key, None)
            self._moved.set()
            return
        self._open.pop(key, None)
        # Room for a quarter of the window is worth a transaction; less of it waits for the next tick.
        if len(self._open) <= self._pace.window * 3 // 4:
            self._moved.set()

    def fail(self, tables: Tables, key: Key, state: str) -> None:
        """Write down that no answer will come to this attempt: a "no" is final, what could not be delivered is asked anew."""
        if state not in FINAL:
            self._anew(tables, [key])
        elif key.kind == QUESTION:
            steps.settle(tables, key.name, REFUSED)
        else:
            steps.give_up(tables, key.name, REFUSED)

    async def _resume(self) -> None:
        self._open.clear()
        self._open_lists.clear()
        await self._post(await self._outside.transact(steps.unanswered_lists))
        await self._ask(await self._outside.transact(steps.unanswered))

    async def _fill_window(self) -> None:
        room = self._pace.window - len(self._open)
        if room > 0:
            await self._ask(await self._outside.transact(lambda tables: steps.claim(tables, room)))

    async def _ask(self, questions: Iterable[Question]) -> None:
        async with asyncio.TaskGroup() as group:
            for question in questions:
                key = Key(kind=QUESTION, name=question.registration, attempt=question.attempt)
                self._open[key] = self._clock() + self._pace.reply_within
                group.create_task(self._outside.ask(question, str(key)))

    async def _post(self, lists: Iterable[WorkList]) -> None:
        async with asyncio.TaskGroup() as group:
            for found in lists:
                key = Key(kind=LIST, name=found.list_id, attempt=found.attempt)
                self._open_lists[key] = self._clock() + self._pace.list_reply_within
                group.create_task(self._outside.post(found, str(key)))

    async def _give_up_late(self) -> None:
        late = [*self._late(self._open), *self._late(self._open_lists)]
        if late:
            await self._outside.transact(lambda tables: self._anew(tables, late))
            for key in late:
                self.settled(key)

    def _late(self, waiting: Mapping[Key, float]) -> list[Key]:
        now, found = self._clock(), []
        for key, deadline in waiting.items():
            if deadline > now:
                break
            found.append(key)
        return found

    def _anew(self, tables: Tables, keys: Iterable[Key]) -> None:
        for key in keys:
            move = steps.ask_anew if key.kind == QUESTION else steps.post_anew
            move(tables, key.name, key.attempt, self._pace.tries)

    def _show(self, standing: Standing) -> None:
        now = self._clock()
        if now - self._shown_at >= TICK_SECONDS:
            self._shown_at = now
            self._outside.progressed(standing)

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TICK_SECONDS):
                await self._moved.wait()
        self._moved.clear()
