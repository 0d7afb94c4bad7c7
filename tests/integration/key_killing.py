"""A program that is killed between every two steps of destroying a day's body key, and looks each time whether key and entry went together.

Prints how many times it was killed. The steps are those of `log_killing`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from lgsp.backends.sql import SqliteLedger
from lgsp.ports.ledger import Done
from lgsp.testing.contracts.bodies import destroy, keep
from lgsp.testing.samples import DAY, sign_receipts
from tests.integration.log_killing import Doom

OTHERS = [f"2026-{month:02}-{day:02}" for month in (8, 9, 10) for day in range(1, 29)]


async def found(path: Path) -> None:
    """Make a file with the keys of many days."""
    store = SqliteLedger.open(path, create=True)
    await store.commit([keep(day) for day in (*OTHERS, DAY)], sign_receipts)
    await store.close()


async def live(path: Path, doom: Doom) -> None:
    """Destroy the key of one day."""
    store = SqliteLedger.open(path)
    with doom.on(store):
        [result] = await store.commit([destroy(DAY)], sign_receipts)
    assert isinstance(result, Done)
    await store.close()


def die_at(step: int, path: Path) -> bool:
    """Live in a process of its own until the step, and tell whether it came to that."""
    child = os.fork()
    if not child:
        asyncio.run(live(path, Doom(step)))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status and not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
        raise RuntimeError(f"at step {step} it ended by itself with {status}")
    return bool(status)


async def look(path: Path) -> None:
    """Start on what was left: either key and no entry, or the entry, and no byte of the key; raise where it is otherwise."""
    store = SqliteLedger.open(path)
    is_kept, size = DAY in await store.body_keys(), await store.size()
    is_found = any(keep(DAY).wrapped in left.read_bytes() for left in path.parent.glob(f"{path.name}*"))
    if (is_kept, is_found, size) not in {(True, True, 0), (False, False, 1)}:
        raise RuntimeError(f"the key is kept: {is_kept}, its bytes are found: {is_found}, entries: {size}")
    await store.close()
    with closing(sqlite3.connect(path)) as file:
        [count] = file.execute("SELECT count(*) FROM body_key").fetchone()
    if count != len(OTHERS) + is_kept:
        raise RuntimeError(f"{count} keys are left")


def main() -> None:
    """Die at every step there is, or at every so manieth."""
    folder, every = Path(sys.argv[1]), int(sys.argv[2])
    asyncio.run(found(folder / "founded.sqlite"))
    step, kills, was_killed = 0, -1, True
    while was_killed:
        path = folder / "bus.sqlite"
        for left in folder.glob("bus.sqlite*"):
            left.unlink()
        shutil.copy(folder / "founded.sqlite", path)
        was_killed = die_at(step, path)
        asyncio.run(look(path))
        step, kills = step + every, kills + 1
    sys.stdout.write(f"{kills} kills\n")


if __name__ == "__main__":
    main()
