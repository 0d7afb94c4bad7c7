"""A program that is killed between every two steps of its log, one after the other, and looks each time at what it has promised.

A step is a statement of the ledger's transaction, a signature under receipts or a checkpoint, or the moment between them. What was answered goes
through a pipe, as to a client: it has to be in the log that the next start finds. Prints how many times it was killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from unittest import mock

from lgsp.backends.sql import SqliteLedger
from lgsp.bus import auditor
from lgsp.bus.logtree import LogTree
from lgsp.bus.supervisor import Bus
from lgsp.cli.log_checks.log import audit
from lgsp.domain import checkpoint, statements
from lgsp.domain.notes import LOG_KEY, NoteKey
from lgsp.machine import SystemEntropy
from lgsp.testing.bus import ack_of, running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.samples import note
from lgsp.testing.world import BUS, LOG, NDXP, World

WORLD = World.make()
LOG_VKEY = NoteKey(name=LOG, kind=LOG_KEY, public=WORLD.signers["log"].public.x)


class Doom:
    """Kills this process at a step."""

    def __init__(self, step: int) -> None:
        self._left = step

    def step(self, *_: object) -> None:
        """Come one step nearer."""
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a call with a step before and after it."""

        def made(*args: Any, **kwargs: Any) -> Any:
            self.step()
            found = call(*args, **kwargs)
            self.step()
            return found

        return made

    @contextmanager
    def on(self, store: SqliteLedger) -> Iterator[None]:
        """Count the statements that the ledger writes with, the signatures, and what is learnt after a commit."""
        store._writer.set_trace_callback(self.step)
        with ExitStack() as patched:
            for owner, name in (
                (auditor.notes, "sign_note"),
                (statements, "sign_batch"),
                (LogTree, "kept"),
                (store._keeper, "begin_anew"),
            ):
                patched.enter_context(mock.patch.object(owner, name, self.around(getattr(owner, name))))
            yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a client was answered before the kill."""

    receipts: list[str]
    notes: list[str]


async def live(path: Path, doom: Doom, told: BinaryIO) -> None:
    """Do what a gateway does with its log, and tell each answer."""

    def tell(**answer: str) -> None:
        told.write(json.dumps(answer).encode() + b"\n")
        told.flush()

    store = SqliteLedger.open(path)
    async with running(store) as bus:
        with doom.on(store):
            tell(receipt=(await bus.ingress.submit(WORLD.envelope(number=1), peer="")).receipt)
            await bus.auditor.keep()
            tell(note=await bus.ledger.checkpoint())
            two = (bus.ingress.submit(WORLD.envelope(number=number), peer="") for number in (2, 3))
            for answer in await asyncio.gather(*two):
                tell(receipt=answer.receipt)
            await bus.courier.pull(NDXP, limit=1, wait=1.0)
            [ack] = ack_of(WORLD, "ndxp", NDXP, WORLD.envelope(number=1).hash)
            await bus.settlement.acknowledge(NDXP, ack)
            await bus.sequencer.submit(*(note(number) for number in range(260)))
            tell(note=await bus.auditor.checkpoint())
            await bus.auditor.keep()
            tell(note=await bus.ledger.checkpoint())
    await store.close()


def running(store: SqliteLedger) -> Any:
    return running_bus(WORLD, store, clock=ManualClock(WORLD.now), entropy=SystemEntropy())


def die_at(step: int, path: Path) -> tuple[bool, Said]:
    """Live in a process of its own until the step; tell whether it came to that, and what was answered until then."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        with os.fdopen(writing, "wb") as told:
            asyncio.run(live(path, Doom(step), told))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as heard:
        answers = [json.loads(line) for line in heard.read().splitlines()]
    _, status = os.waitpid(child, 0)
    was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not was_killed and status:
        raise RuntimeError(f"at step {step} it ended by itself with {status}")
    return was_killed, Said(
        receipts=[each["receipt"] for each in answers if "receipt" in each],
        notes=[each["note"] for each in answers if "note" in each],
    )


async def look(path: Path, said: Said) -> None:
    """Start on what was left, and compare it with every answer; raise where they differ."""
    store = SqliteLedger.open(path)
    async with running(store) as bus:
        verdict = await audit(store, bus=BUS, registrar=WORLD.signers["registrar"].public, log=LOG_VKEY)
        if verdict.finding is not None:
            raise RuntimeError(str(verdict.finding))
        for receipt in said.receipts:
            await _check_receipt(bus, receipt)
        await bus.auditor.keep()
        for text in [*said.notes, await store.checkpoint()]:
            found = checkpoint.open_checkpoint(text, LOG_VKEY)
            if await bus.auditor.tree.root_at(found.size) != found.root:
                raise RuntimeError(f"there are two roots for {found.size} entries")
    await store.close()


async def _check_receipt(bus: Bus, receipt: str) -> None:
    item = json.loads(statements.from_text(receipt).item)
    [leaf] = await bus.ledger.leaves(item["index"], item["index"] + 1)
    exchange = await bus.ledger.exchange_of(item["env"])
    if exchange is None or exchange.receipt != receipt:
        raise RuntimeError("what was receipted is not held with this receipt")
    if item["leaf"] != "sha-256:" + statements.base64url.encode(leaf):
        raise RuntimeError("the receipt names another leaf")


async def _found(path: Path) -> None:
    store = SqliteLedger.open(path, create=True)
    async with running(store):
        pass
    await store.close()


def main() -> None:
    """Die at every step there is, or at every so manieth."""
    folder, every = Path(sys.argv[1]), int(sys.argv[2])
    asyncio.run(_found(folder / "founded.sqlite"))
    step, kills, was_killed = 0, -1, True
    while was_killed:
        path = folder / "bus.sqlite"
        for left in folder.glob("bus.sqlite*"):
            left.unlink()
        shutil.copy(folder / "founded.sqlite", path)
        was_killed, said = die_at(step, path)
        asyncio.run(look(path, said))
        step, kills = step + every, kills + 1
    sys.stdout.write(f"{kills} kills; {len(said.receipts)} receipts and {len(said.notes)} checkpoints at the end\n")


if __name__ == "__main__":
    main()
