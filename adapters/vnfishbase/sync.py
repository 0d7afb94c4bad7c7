"""The synchronisation: keeps a bounded number of questions open, sends the work-lists, asks anew what stays unanswered, and reports.

What is said is `mapping`'s, what is remembered `steps`' and `standings`'; how it reaches the bus is handed in. A question becomes durable in
one transaction with the note that it was put, so that a run after a crash at any moment goes on where the last one was.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from adapters.vnfishbase import standings, steps
from adapters.vnfishbase.mapping import Quarantined
from adapters.vnfishbase.standings import Question, Standing, WorkList
from lgsp.sdk import Tables, YieldingWindow

T = TypeVar("T")
Kind = Literal["verify", "list"]
TICK_SECONDS = 0.25
REFUSED = Quarantined(reason="refused")
FINAL = frozenset({"refused", "rejected"})  # another attempt changes nothing


class Outside(Protocol):
    """What the synchronisation needs of the world."""

    def read(self, sql: str, params: Sequence[str | int] = (), /) -> list[tuple[Any, ...]]:
        """Return the rows of a short query on the tables."""
        ...

    async def send(
        self, questions: Sequence[Question], lists: Sequence[WorkList], note: Callable[[Tables], object]
    ) -> None:
        """Make the envelopes and the note about them durable together; they go out afterwards."""
        ...

    async def write(self, change: Callable[[Tables], T]) -> T:
        """Run a change of the tables in one transaction and return its result once that is durable."""
        ...

    def progressed(self, standing: Standing) -> None:
        """Show how far it is."""
        ...

    def reported(self, counts: Mapping[str, Any], seconds: float) -> None:
        """Show the result."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How many questions are open at most, how much queueing they may cause, how often each is put, how long an answer may take; in seconds.

    Work-lists go out one by one, `list_every` seconds apart at least: each keeps whoever gets it busy, and a hundred in a row would keep it from
    anything else. How many are open has no bound: an answer may take days, and one who is away would keep them from the others.
    """

    window: int
    queueing: float
    tries: int
    reply_within: float
    list_reply_within: float
    list_every: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The outbox key of a question or a work-list: `verify:AG-00012-TS:1`."""

    kind: Kind
    name: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}:{self.attempt}"

    @classmethod
    def of(cls, sent: Question | WorkList) -> "Key":
        """Return the key under which something is sent."""
        if isinstance(sent, Question):
            return cls(kind="verify", name=sent.registration, attempt=sent.attempt)
        return cls(kind="list", name=sent.list_id, attempt=sent.attempt)

    @classmethod
    def parse(cls, text: str | None) -> "Key | None":
        """Return the key in the text, None when it is not one of ours."""
        kind, _, rest = (text or "").partition(":")
        name, _, attempt = rest.rpartition(":")
        if kind not in {"verify", "list"} or not name or not attempt.isdecimal():
            return None
        return cls(kind="verify" if kind == "verify" else "list", name=name, attempt=int(attempt))


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A question or list on its way; `sent` is None for one that an earlier run sent."""

    until: float
    sent: float | None


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
        self._open: dict[Kind, dict[Key, Waiting]] = {"verify": {}, "list": {}}
        """What waits for an answer, in the order of sending."""
        self._window = YieldingWindow(largest=pace.window, target=pace.queueing)
        self._moved = asyncio.Event()
        self._next_list = float("-inf")
        """When the next work-list may go, by the time of the event loop, in which `_pause` counts too."""
        self._shown_at = float("-inf")

    async def run(self) -> None:
        """Go on until it is known of every vessel what became of it, then report."""
        self._resume()
        while not self._is_complete():
            await self._send()
            await self._give_up_late()
            await self._pause()
        self._outside.progressed(standings.standing(self._outside.read))
        ended = self._now()
        await self._outside.write(lambda tables: steps.end(tables, ended))
        self._outside.reported(*standings.report(self._outside.read))

    def settled(self, key: Key) -> None:
        """Take note that it is written down what became of a question or a work-list."""
        waiting = self._open[key.kind]
        held, now = waiting.pop(key, None), self._clock()
        if key.kind == "verify" and held is not None and held.sent is not None:
            self._window.answered(now - held.sent, now=now)
        # Room for a quarter of the window is worth a transaction; less of it waits for the next tick.
        if key.kind == "list" or len(waiting) <= self._window.size * 3 // 4:
            self._moved.set()

    def fail(self, tables: Tables, key: Key, state: str) -> None:
        """Write down that no answer will come to this attempt: a "no" is final, what could not be delivered is asked anew."""
        if state not in FINAL:
            self._anew(tables, [key])
        elif key.kind == "verify":
            steps.settle(tables, key.name, REFUSED)
        else:
            steps.give_up(tables, key.name, REFUSED)

    def _resume(self) -> None:
        """Wait for what an earlier run asked; the time for an answer begins anew, since this run has listened for none of it."""
        for waiting in self._open.values():
            waiting.clear()
        for registration, attempt in standings.asked(self._outside.read):
            self._wait_for(Key(kind="verify", name=registration, attempt=attempt), sent=None)
        for list_id, attempt in standings.asked_lists(self._outside.read):
            self._wait_for(Key(kind="list", name=list_id, attempt=attempt), sent=None)

    def _wait_for(self, key: Key, *, sent: float | None) -> None:
        within = self._pace.reply_within if key.kind == "verify" else self._pace.list_reply_within
        self._open[key.kind][key] = Waiting(until=self._clock() + within, sent=sent)

    async def _send(self) -> None:
        room = max(self._window.size - len(self._open["verify"]), 0)
        questions, hopeless = standings.questions(self._outside.read, room)
        lists = self._due_lists()
        if not (questions or hopeless or lists):
            return
        for key in (*map(Key.of, questions), *map(Key.of, lists)):
            self._wait_for(key, sent=self._clock())
        await self._outside.send(questions, lists, lambda tables: _note(tables, questions, lists, hopeless))

    def _due_lists(self) -> list[WorkList]:
        now = asyncio.get_running_loop().time()
        if now < self._next_list:
            return []
        lists = standings.due_lists(self._outside.read, 1)
        if lists:
            self._next_list = now + self._pace.list_every
        return lists

    async def _give_up_late(self) -> None:
        late = [key for waiting in self._open.values() for key in self._late(waiting)]
        if late:
            await self._outside.write(lambda tables: self._anew(tables, late))
            self._window.failed()
            for key in late:
                self._open[key.kind].pop(key, None)
            self._moved.set()

    def _late(self, waiting: Mapping[Key, Waiting]) -> list[Key]:
        now, found = self._clock(), []
        for key, held in waiting.items():
            if held.until > now:
                break
            found.append(key)
        return found

    def _anew(self, tables: Tables, keys: Iterable[Key]) -> None:
        for key in keys:
            move = steps.ask_anew if key.kind == "verify" else steps.post_anew
            move(tables, key.name, key.attempt, self._pace.tries)

    def _is_complete(self) -> bool:
        """Count what is done, each tick and when nothing is on its way any more: it reads all rows."""
        is_tick = self._clock() - self._shown_at >= TICK_SECONDS
        if not is_tick and any(self._open.values()):
            return False
        standing = standings.standing(self._outside.read)
        if is_tick and not standing.complete:
            self._shown_at = self._clock()
            self._outside.progressed(standing)
        return standing.complete

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._rest()):
                await self._moved.wait()
        self._moved.clear()

    def _rest(self) -> float:
        """Return for how many seconds nothing has to be done unless something comes: until the next list may go, if one has just gone."""
        until_next = self._next_list - asyncio.get_running_loop().time()
        return min(TICK_SECONDS, until_next) if until_next > 0 else TICK_SECONDS


def _note(
    tables: Tables,
    questions: Iterable[Question],
    lists: Iterable[WorkList],
    hopeless: Mapping[str, Quarantined],
) -> None:
    for question in questions:
        steps.ask(tables, question.registration, question.attempt)
    for work_list in lists:
        steps.post(tables, work_list.list_id, work_list.attempt)
    for registration, result in hopeless.items():
        steps.quarantine(tables, registration, result)
