"""The one door to the ledger's `commit`: takes all that waits, commits once, answers all.

There is no timer: a group is what gathered during the last commit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lgsp.domain import statements
from lgsp.domain.keys import Signer
from lgsp.domain.statements import Statement
from lgsp.errors import Refusal
from lgsp.ports.clock import Clock
from lgsp.ports.ledger import Ledger, Operation, Result

GROUP_MAX = 512
"""Operations in one transaction: large enough to share an fsync, small enough to keep the wait short."""


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
    _queue: deque[_Waiting] = field(default_factory=deque)
    _bell: asyncio.Event = field(default_factory=asyncio.Event)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: bool = False

    async def submit(self, *operations: Operation) -> list[Result]:
        """Commit the operations, in order and in one transaction, and return one result each; refuse as `unavailable` with nothing applied."""
        if self._ended:
            raise Refusal("unavailable", "the gateway is ending")
        answer: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(operations, answer))
        self._idle.clear()
        self._bell.set()
        # What was handed in may commit whether or not the caller still waits: a cancelled caller asks again and gets the same answer.
        return await asyncio.shield(answer)

    async def run(self) -> None:
        """Commit groups until cancelled; whoever waits then, or comes later, is refused, for nobody will commit any more."""
        try:
            while True:
                if not self._queue:
                    self._idle.set()
                    self._bell.clear()
                    await self._bell.wait()
                await self._commit(self._next_group())
        finally:
            self._ended = True
            _refuse_all(self._queue, Refusal("unavailable", "the gateway is ending"))
            self._queue.clear()
            self._idle.set()

    async def settle(self) -> None:
        """Wait until nothing waits to be committed, nor is being committed."""
        await self._idle.wait()

    def _next_group(self) -> list[_Waiting]:
        group = [self._queue.popleft()]
        size = len(group[0].operations)
        while self._queue and size + len(self._queue[0].operations) <= GROUP_MAX:
            group.append(self._queue.popleft())
            size += len(group[-1].operations)
        return group

    async def _commit(self, group: list[_Waiting]) -> None:
        operations = [operation for waiting in group for operation in waiting.operations]
        try:
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
        return statements.sign_batch(items, head, typ=statements.RECEIPT, signer=self.signer)


def _refuse_all(group: Iterable[_Waiting], refusal: Refusal) -> None:
    for waiting in group:
        if not waiting.answer.done():
            # Each gets its own: a shared exception would gather the tracebacks of all.
            waiting.answer.set_exception(Refusal(refusal.code, refusal.detail))
