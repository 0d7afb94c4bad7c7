"""Check the whole log of a benchmark's ledger: `python -m tests.bench.logcheck FILE [YEAR…]` prints how many entries it has and the seconds that took.

Of the years what stays of forgotten exchanges was moved off.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lgsp.backends.sql import SqliteLedger
from lgsp.cli.log_checks.log import Verdict
from lgsp.cli.log_checks.processes import audit_in_processes
from lgsp.domain.notes import LOG_KEY, NoteKey
from lgsp.testing.world import BUS, LOG, World


def check(path: Path, moved_off: frozenset[int]) -> Verdict:
    """Return the verdict on a ledger of `World`; raise RuntimeError when it does not verify."""
    signers = World.make().signers
    registrar, log = signers["registrar"].public, NoteKey(name=LOG, kind=LOG_KEY, public=signers["log"].public.x)

    @asynccontextmanager
    async def opened() -> AsyncIterator[SqliteLedger]:
        store = SqliteLedger.open(path)
        try:
            yield store
        finally:
            await store.close()

    verdict = audit_in_processes(opened, bus=BUS, registrar=registrar, log=log, moved_off=moved_off)
    if verdict.finding is not None or verdict.size != verdict.checkpoint:
        raise RuntimeError(f"the log does not verify: {verdict}")
    return verdict


if __name__ == "__main__":
    began = time.perf_counter()
    print(check(Path(sys.argv[1]), frozenset(map(int, sys.argv[2:]))).size, time.perf_counter() - began)  # noqa: T201 - what it is for
