"""The one door to the ledger's `commit`: takes what waits, commits once, answers all.

There is no timer: a group is what gathered during the last commit. What somebody waits for goes first, and bulk goes in small groups, so that
nobody waits for a long transaction of others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

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
BULK_MAX: Final = 32
"""Operations of bulk in one transaction while others wait for answers: what comes meanwhile and is urgent waits for no more than these."""
URGENT_LATELY: Final = 0.5
"""Seconds after an urgent operation during which bulk goes in small groups."""
BULK_BESIDE: Final = 16
"""Operations of bulk that go along with urgent ones, so that bulk is never held up for good."""


@dataclass(slots=True)
class _Waiting:
    operations: Sequence[Operation]
    answer: asyncio.Future[list[Result]]


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
    _urgent: deque[_Waiting] = field(default_factory=deque)
    _bulk: deque[_Waiting] = field(default_factory=deque)
    _bell: asyncio.Event = field(default_factory=asyncio.Event)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: bool = False
    _urgent_at: float = float("-inf")

    async def submit(self, *operations: Operation, bulk: bool = False) -> list[Result]:
        """Commit the operations, in order and in one transaction, and return one result each; refuse as `unavailable` with nothing applied.

        What is `bulk` lets the rest go first.
        """
        if self._ended:
            raise Refusal("unavailable", "the gateway is ending")
        self.engines.check()
        answer: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        (self._bulk if bulk else self._urgent).append(_Waiting(operations, answer))
        self._idle.clear()
        self._bell.set()
        # What was handed in may commit whether or not the caller still waits: a cancelled caller asks again and gets the same answer.
        return await asyncio.shield(answer)

    async def run(self) -> None:
        """Commit groups until cancelled; whoever waits then, or comes later, is refused, for nobody will commit any more."""
        try:
            while True:
                if not (self._urgent or self._bulk):
                    self._idle.set()
                    self._bell.clear()
                    await self._bell.wait()
                await self._commit(self._next_group())
        finally:
            self._ended = True
            for queue in (self._urgent, self._bulk):
                _refuse_all(queue, Refusal("unavailable", "the gateway is ending"))
                queue.clear()
            self._idle.set()

    async def settle(self) -> None:
        """Wait until nothing waits to be committed, nor is being committed."""
        await self._idle.wait()

    def _next_group(self) -> list[_Waiting]:
        group = _drawn(self._urgent, GROUP_MAX)
        now = asyncio.get_running_loop().time()
        if group:
            self._urgent_at = now
        alone = now - self._urgent_at > URGENT_LATELY
        return group + _drawn(self._bulk, BULK_BESIDE if group else GROUP_MAX if alone else BULK_MAX)

    async def _commit(self, group: list[_Waiting]) -> None:
        operations = [operation for waiting in group for operation in waiting.operations]
        self.figures.operations.observe(len(operations))
        try:
            with self.figures.timed("transaction"):
                results = iter(await self.ledger.commit(operations, self.sign_receipts))
        except Refusal as refusal:
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
