"""Processes that check pages of a long log beside each other: hashing and reading take all of a core.

They are forked when nothing is open and no thread runs, and each opens the ledger for itself when its first page comes.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final, Self

from lgsp.cli.log_checks.findings import Found
from lgsp.cli.log_checks.log import NOBODY, Audited, CoSigners, Hands, Verdict, audit
from lgsp.cli.log_checks.pages import Checked, Page, PageAudit
from lgsp.cli.log_checks.versions import read_versions
from lgsp.domain.keys import PublicKey
from lgsp.domain.notes import NoteKey
from lgsp.errors import Refusal, Unusable

MOST: Final = 8
"""Processes: more would wait for the disk."""
LONG: Final = 32_768
"""Entries of a log from which on the processes are worth their start."""
LATER: Final = 10
"""By how much they stand back behind a gateway on the same machine (nice)."""

Opened = Callable[[], AbstractAsyncContextManager[Audited]]
"""Opens the ledger, or a copy of it."""


def audit_in_processes(
    opened: Opened,
    *,
    bus: str,
    registrar: PublicKey,
    log: NoteKey,
    witnesses: CoSigners = NOBODY,
    moved_off: AbstractSet[int] | None = frozenset(),
    processes: int | None = None,
) -> Verdict:
    """Return the verdict on the whole log, as `audit`; call it where no thread runs.

    A long one is checked by as many processes as the machine has cores, unless their number is given.
    """

    async def size() -> int:
        async with opened() as store:
            return await store.size()

    async def verdict(hands: Hands | None = None) -> Verdict:
        async with opened() as store:
            return await audit(
                store,
                bus=bus,
                registrar=registrar,
                log=log,
                witnesses=witnesses,
                moved_off=moved_off,
                hands=hands,
            )

    count = processes or (min(len(os.sched_getaffinity(0)), MOST) if asyncio.run(size()) >= LONG else 1)
    if count == 1:
        return asyncio.run(verdict())
    with Workers.forked(opened, count, bus=bus, registrar=registrar) as workers:
        return asyncio.run(verdict(workers))


@dataclass(slots=True, kw_only=True)
class Workers:
    """Some processes; `log.Hands`."""

    count: int
    _idle: asyncio.Queue[Connection] = field(default_factory=asyncio.Queue)

    @classmethod
    @contextmanager
    def forked(cls, opened: Opened, count: int, *, bus: str, registrar: PublicKey) -> Iterator[Self]:
        """Start the processes, which end with the block, or with this process."""
        workers = cls(count=count)
        with ExitStack() as stack:
            for _ in range(workers.count):
                workers._idle.put_nowait(stack.enter_context(_forked(opened, bus, registrar)))
            yield workers

    async def check(self, page: Page) -> Checked:
        """Have a process check a page; refuse as it did, or as `unavailable` when it has ended."""
        connection = await self._idle.get()
        try:
            answer = await asyncio.to_thread(_asked, connection, page)
        finally:
            self._idle.put_nowait(connection)
        if isinstance(answer, Checked):
            return answer
        code, detail = answer
        raise Unusable(code, detail)


@contextmanager
def _forked(opened: Opened, bus: str, registrar: PublicKey) -> Iterator[Connection]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, ours, opened, bus, registrar), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join()


def _asked(connection: Connection, page: Page) -> Checked | tuple[str, str]:
    try:
        connection.send(page)
        answer: Checked | tuple[str, str] = connection.recv()
    except (EOFError, OSError):
        return "unavailable", "a process that checks the log has ended"
    return answer


def _work(connection: Connection, others: Connection, opened: Opened, bus: str, registrar: PublicKey) -> None:
    others.close()  # else nothing would tell that the parent has ended
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's end is ours
    os.nice(LATER)
    with suppress(EOFError, OSError):
        asyncio.run(_answer(connection, opened, bus, registrar))


async def _answer(connection: Connection, opened: Opened, bus: str, registrar: PublicKey) -> None:
    """Check page after page until the parent closes its end; nothing else runs in this loop, which may therefore wait for the next one."""
    page: Page = connection.recv()
    try:
        async with opened() as store:
            pages = PageAudit(store=store, versions=await read_versions(store, bus=bus, registrar=registrar))
            while True:
                connection.send(await pages.check(page))
                page = connection.recv()
    except Refusal as refusal:
        connection.send((refusal.code, refusal.detail))
    except Found as found:
        connection.send(("log_broken", found.finding.words))
