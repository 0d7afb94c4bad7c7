"""The one door to the ledger's `commit`: takes what waits, commits once, answers all.

There is no timer: a group is what gathered during the last commit. What others wait for goes first. While people ask, bulk goes in small groups
and rests for a moment after each step of a look-up: what it sets off in all programs of the machine would be in the way of the next step.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from lgsp.bus.engines import Engines
from lgsp.bus.figures import Figures
from lgsp.domain import statements
from lgsp.domain.keys import Signer
from lgsp.domain.statements import Statement
from lgsp.errors import Refusal
from lgsp.ports.clock import Clock
from lgsp.ports.ledger import Ledger, Operation, Result

GROUP_MAX: Final = 512
"""Operations in one transaction: large enough to share an fsync, small enough to keep the wait short."""
ASKED_LATELY: Final = 0.5
"""Seconds after a step of a look-up during which bulk goes in small groups."""
BULK_MAX: Final = 8
"""Operations of bulk in such a group: what comes meanwhile and is urgent waits for no more than these."""
BULK_SHARE: Final = 8
"""The part of the bulk that waits which goes in such a group when that is more: else people who ask all the time would let it grow for ever."""
REST: Final = 0.03
"""Seconds that bulk rests after a step of a look-up: about what all steps of one take on an idle machine."""
BULK_EVERY: Final = 0.1
"""Seconds after which a group of bulk goes in any case, so that it is never held up for good."""

CROWD_EVERY: Final = 0.05
"""Seconds between two steps of a crowd while people ask."""

Order = Literal["urgent", "first", "bulk"]
"""When operations go: `urgent` are those that a person waits for, `first` what holds other work up, `bulk` after both."""


@dataclass(slots=True)
class _Waiting:
    operations: Sequence[Operation]
    answer: asyncio.Future[list[Result]]
    is_urgent: bool


@dataclass(slots=True, kw_only=True)
class Sequencer:
    """Groups operations of all use cases into transactions and signs their receipts."""

    ledger: Ledger
    signer: Signer
    gateway: str
    log: str
    clock: Clock
    engines: Engines
    figures: Figures
    refused: int = 0
    """Groups that the ledger has refused. One whose answer was lost may have been applied all the same."""
    _first: deque[_Waiting] = field(default_factory=deque)
    _bulk: deque[_Waiting] = field(default_factory=deque)
    _bulk_size: int = 0
    """Operations that wait in it."""
    _bell: asyncio.Event = field(default_factory=asyncio.Event)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: bool = False
    _asked_at: float = float("-inf")
    """When the last urgent operation was taken."""
    _bulk_at: float = float("-inf")
    """When the last group with bulk was taken."""
    _calm_at: float = float("-inf")
    """When work of many was let go on last."""

    async def submit(self, *operations: Operation, order: Order = "first") -> list[Result]:
        """Commit the operations, in order and in one transaction, and return one result each; refuse as `unavailable` with nothing applied."""
        if self._ended:
            raise Refusal("unavailable", "the gateway is ending")
        self.engines.check()
        answer: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        queue = self._bulk if order == "bulk" else self._first
        self._bulk_size += len(operations) if order == "bulk" else 0
        queue.append(_Waiting(operations, answer, order == "urgent"))
        self._idle.clear()
        self._bell.set()
        # What was handed in commits whether or not the caller still waits: one that is cancelled asks again and gets the same answer.
        return await answer

    def together(self) -> int:
        """Return how many operations of bulk a call should hold: one call is one piece, and few go in a group while people ask."""
        return BULK_MAX if self._is_asked(asyncio.get_running_loop().time()) else GROUP_MAX

    async def calm(self) -> None:
        """Wait until no look-up is under way, as bulk does: for work of many at once that is not committed yet, or never will be.

        While people ask it goes on step by step: what one step sets off in all programs is to be done when the next question comes.
        """
        clock = asyncio.get_running_loop().time
        if self._is_asked(clock()):
            await asyncio.sleep(self._calm_at + CROWD_EVERY - clock())
        while (rest := self._rest_left(self._calm_at, clock())) > 0:  # noqa: ASYNC110 - nothing rings when nothing happens
            await asyncio.sleep(rest)
        self._calm_at = clock()

    async def run(self) -> None:
        """Commit groups until cancelled; whoever waits then, or comes later, is refused, for nobody will commit any more."""
        try:
            while True:
                if not (self._first or self._bulk):
                    self._idle.set()
                    self._bell.clear()
                    await self._bell.wait()
                await self._rest()
                await self._commit(self._next_group())
        finally:
            self._ended = True
            for queue in (self._first, self._bulk):
                _refuse_all(queue, Refusal("unavailable", "the gateway is ending"))
                queue.clear()
            self._idle.set()

    async def settle(self) -> None:
        """Wait until nothing waits to be committed, nor is being committed."""
        await self._idle.wait()

    async def _rest(self) -> None:
        """While bulk alone waits, leave the machine to the look-up that is under way."""
        clock = asyncio.get_running_loop().time
        while not self._first and (rest := self._rest_left(self._bulk_at, clock())) > 0:
            self._bell.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._bell.wait()

    def _is_asked(self, now: float) -> bool:
        """Tell whether a step of a look-up was taken lately."""
        return now - self._asked_at < ASKED_LATELY

    def _rest_left(self, last: float, now: float) -> float:
        """Return for how many seconds a look-up still goes first, though no longer than `BULK_EVERY` after what waits went the last time."""
        return min(self._asked_at + REST, last + BULK_EVERY) - now

    def _next_group(self) -> list[_Waiting]:
        now = asyncio.get_running_loop().time()
        group = _drawn(self._first, GROUP_MAX)
        if any(waiting.is_urgent for waiting in group):
            self._asked_at = now
        if self._bulk and self._rest_left(self._bulk_at, now) <= 0:
            self._bulk_at = now
            few = min(max(BULK_MAX, self._bulk_size // BULK_SHARE), GROUP_MAX)
            bulk = _drawn(self._bulk, few if self._is_asked(now) else GROUP_MAX)
            self._bulk_size -= sum(len(waiting.operations) for waiting in bulk)
            group += bulk
        return group

    async def _commit(self, group: list[_Waiting]) -> None:
        operations = [operation for waiting in group for operation in waiting.operations]
        self.figures.operations.observe(len(operations))
        try:
            with self.figures.timed("transaction"):
                results = iter(await self.ledger.commit(operations, self.sign_receipts))
        except Refusal as refusal:
            self.refused += 1
            _refuse_all(group, refusal)
            return
        except BaseException:
            # It may have been committed or not: whoever asks again gets the answer that is true.
            _refuse_all(group, Refusal("unavailable", "the gateway is ending"))
            raise
        for waiting in group:
            answers = [next(results) for _ in waiting.operations]
            if not waiting.answer.done():
                waiting.answer.set_result(answers)

    def sign_receipts(self, items: Sequence[bytes], policy: int) -> list[Statement]:
        """Return the receipts of up to 256 items under one signature."""
        head = statements.receipt_head(gateway=self.gateway, at=self.clock.now(), log=self.log, policy=policy)
        with self.figures.timed("sign"):
            return statements.sign_batch(items, head, typ=statements.RECEIPT, signer=self.signer)


def _drawn(queue: deque[_Waiting], most: int) -> list[_Waiting]:
    """Return what comes next, up to so many operations, though at least one call however many it has."""
    group: list[_Waiting] = []
    size = 0
    while queue and (not group or size + len(queue[0].operations) <= most):
        group.append(queue.popleft())
        size += len(group[-1].operations)
    return group


def _refuse_all(group: Iterable[_Waiting], refusal: Refusal) -> None:
    for waiting in group:
        if not waiting.answer.done():
            # Each gets its own: a shared exception would gather the tracebacks of all.
            waiting.answer.set_exception(Refusal(refusal.code, refusal.detail))
