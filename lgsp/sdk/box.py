"""A system's box: one SQLite file whose changes are made by one thread, in groups.

The thread takes all that waits, makes one transaction of it, and answers everybody. A job that is bookkeeping - what a crash loses of it is
asked of the bus again - may be `lazy`: it goes along with the next that is not, or by itself a moment later. Acks that the operations ask for
are signed inside the transaction, up to 256 under one signature, so that a mark, its reply and its ack are durable together and before anything
is sent. What the rows mean is left to `outbox` and `marks`; what is sent afterwards to the client, which is told of each commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from lgsp.domain.statements import BATCH_MAX, Statement
from lgsp.domain.values import fixed
from lgsp.errors import Defect, Refusal, Unusable, not_usable
from lgsp.gathering import Gathering
from lgsp.logs import get_logger
from lgsp.sdk import box_schema
from lgsp.walkeeper import WalKeeper

T = TypeVar("T")
GROUP: Final = 512
"""Operations after which a transaction takes no further ones: bounds how long the first waits for the last."""
LAZY_SECONDS: Final = 0.1
"""How long bookkeeping waits for a transaction to go along with."""


@fixed
class Outgoing:
    """A signed envelope in the outbox, as it is sent and repeated."""

    seq: int
    id: str
    env: str
    source: str
    type: str
    audience: str
    compact: bytes
    body: bytes
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What a transaction added that is to be sent: envelopes in the order of the outbox, acks by env hash as JSON text."""

    queued: tuple[Outgoing, ...]
    acks: tuple[tuple[str, str], ...]


@dataclass(slots=True, kw_only=True)
class Writing:
    """What an operation may use inside the transaction."""

    connection: sqlite3.Connection
    queued: list[Outgoing] = field(default_factory=list)
    acks: list[tuple[str, bytes]] = field(default_factory=list)
    """(env hash, item bytes) of acks to be signed and stored before the commit."""


Operation = Callable[[Writing], T]
SignAcks = Callable[[Sequence[bytes]], Sequence[Statement]]
"""Sign at most 256 ack items under one signature; called on the box's thread."""


@fixed
class _Job:
    operation: Operation[Any]
    done: Callable[[Any], None]
    failed: Callable[[Exception], None]
    sure: bool


class Box:
    """The file, its thread and its reading connection; `reader` belongs to the event loop's thread."""

    def __init__(self, path: Path, *, sign: SignAcks, lock: int) -> None:
        self.path = path
        self.on_commit: Callable[[Committed], None] = lambda _committed: None
        self._loop = asyncio.get_running_loop()
        self._sign = sign
        self._lock = lock
        self._connection = box_schema.open_writer(path)
        self.reader = box_schema.open_reader(path)
        self._jobs: queue.SimpleQueue[list[_Job]] = queue.SimpleQueue()
        """In the order in which they were posted; an empty list is the last."""
        self._gathered: Gathering[_Job] = Gathering(self._jobs.put)
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name=f"box {path.name}", daemon=True)
        self._keeper = WalKeeper(path)
        self._keeper.start()
        self._thread.start()

    @classmethod
    def open(cls, path: Path, *, sign: SignAcks) -> Box:
        """Open or make the box; refuse as `data_locked` when another process holds it."""
        lock = _hold(path)
        try:
            return cls(path, sign=sign, lock=lock)
        except BaseException:
            os.close(lock)
            raise

    async def write(self, operation: Operation[T], *, sure: bool = False) -> T:
        """Return the operation's result once it is durable; raise what it raised, with nothing of it kept. `sure` is explained at `post`."""
        future: asyncio.Future[T] = self._loop.create_future()
        self.post(operation, done=_setter(future), failed=_raiser(future), sure=sure)
        return await future

    def post(
        self,
        operation: Operation[T],
        *,
        done: Callable[[T], None] | None = None,
        failed: Callable[[Exception], None] | None = None,
        lazy: bool = False,
        sure: bool = False,
    ) -> None:
        """Have the operation made durable without waiting; `done` or `failed` is called on the event loop afterwards.

        What comes in one turn of the loop goes together. A `lazy` one waits up to `LAZY_SECONDS` for company: only for what nobody waits for
        and what a program that starts after a crash finds out again. The order of posting is kept.

        One that fails leaves nothing behind, and the others stand. One that is `sure` is spared a savepoint, which would have every page copied
        that it writes to: it raises a `Refusal` before it has written anything, or fails only where the file itself does and may take all that
        goes with it along.
        """
        job = _Job(operation=operation, done=done or _ignore, failed=failed or report, sure=sure)
        self._gathered.add(job, seconds=LAZY_SECONDS if lazy else 0.0)

    def hurry(self) -> None:
        """Let nothing wait for company any longer."""
        self._gathered.flush()

    async def close(self) -> None:
        """Finish what was posted, lazy or not, and close the file."""
        self.hurry()
        self._jobs.put([])
        await (
            self._ended.wait()
        )  # told by the thread itself: at the interpreter's end no other thread can be had to join it
        self._thread.join()
        self._keeper.stop()
        self.reader.close()
        self._connection.close()
        os.close(self._lock)

    def _work(self) -> None:
        while batch := self._take():
            outcomes, committed = self._commit(batch)
            self._loop.call_soon_threadsafe(self._answer, batch, outcomes, committed)
            self._keeper.begin_anew(self._connection)
        self._loop.call_soon_threadsafe(self._ended.set)

    def _take(self) -> list[_Job]:
        """Return all that waits, at least one job; nothing when the box is closing and the queue is empty."""
        batch: list[_Job] = []
        with contextlib.suppress(queue.Empty):
            while len(batch) < GROUP:
                jobs = self._jobs.get(block=not batch)
                if not jobs:
                    if batch:
                        self._jobs.put(jobs)
                    break
                batch += jobs
        return batch

    def _commit(self, batch: list[_Job]) -> tuple[list[Any], Committed | None]:
        writing = Writing(connection=self._connection)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes = [_apply(writing, job) for job in batch]
            acks = self._seal(writing)
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            return [_Failed(error)] * len(batch), None
        return outcomes, Committed(queued=tuple(writing.queued), acks=acks)

    def _seal(self, writing: Writing) -> tuple[tuple[str, str], ...]:
        """Sign the acks of this transaction and store them beside their marks."""
        found: list[tuple[str, str]] = []
        for start in range(0, len(writing.acks), BATCH_MAX):
            group = writing.acks[start : start + BATCH_MAX]
            signed = self._sign([item for _, item in group])
            found += [(env, statement.text()) for (env, _), statement in zip(group, signed, strict=True)]
        rows = [(text, env) for env, text in found]
        writing.connection.executemany("UPDATE lgsp_inbox SET statement = ? WHERE env = ?", rows)
        return tuple(found)

    def _answer(self, batch: list[_Job], outcomes: list[Any], committed: Committed | None) -> None:
        if committed is not None and (committed.queued or committed.acks):
            _call(self.on_commit, committed)
        for job, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, _Failed):
                _call(job.failed, outcome.error)
            else:
                _call(job.done, outcome)


def _call(told: Callable[[Any], None], what: object) -> None:
    """Tell one of those who wait; a fault of his keeps nobody else waiting."""
    try:
        told(what)
    except Exception as error:  # noqa: BLE001 - logged, and the next is told
        report(error)


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


def _apply(writing: Writing, job: _Job) -> Any:  # noqa: ANN401 - the operation's own result
    """Return the operation's result or what it raised; one that raises leaves the others standing, unless it was sure not to."""
    if job.sure:
        try:
            return job.operation(writing)
        except Refusal as refusal:
            return _Failed(refusal)
    before = len(writing.queued), len(writing.acks)
    writing.connection.execute("SAVEPOINT operation")
    try:
        result = job.operation(writing)
    except Exception as error:  # noqa: BLE001 - handed to whoever asked for the operation
        del writing.queued[before[0] :], writing.acks[before[1] :]
        writing.connection.execute("ROLLBACK TO operation")
        result = _Failed(error)
    if not writing.connection.in_transaction:
        raise Defect("an operation on the box ended its transaction")
    writing.connection.execute("RELEASE operation")
    return result


def _hold(path: Path) -> int:
    try:
        lock = os.open(
            path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        raise not_usable(f"box {path}", error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise Unusable("data_locked", f"box {path}") from None
    return lock


def _setter(future: asyncio.Future[T]) -> Callable[[T], None]:
    return lambda value: None if future.done() else future.set_result(value)


def _raiser(future: asyncio.Future[T]) -> Callable[[Exception], None]:
    return lambda error: None if future.done() else future.set_exception(error)


def _ignore(_result: object) -> None:
    """Nobody waits for this result."""


def report(error: Exception) -> None:
    """Tell the operator of an operation that failed and that nobody waits for; the bus repeats what it has not heard of."""
    get_logger().error("task.failed", task="box", exc_info=error)
