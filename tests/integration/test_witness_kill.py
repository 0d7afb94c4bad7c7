"""A gateway that is killed between any two steps of append, checkpoint and witness starts again: nothing answered is lost, no second root is signed."""

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest

from lgsp.backends.sql import SqliteLedger
from lgsp.backends.witness import HttpWitness
from lgsp.domain.checkpoint import open_checkpoint
from lgsp.domain.notes import LOG_KEY, NoteKey, parse_vkey
from lgsp.testing.bus import running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.samples import note
from lgsp.testing.world import LOG, World
from tests.contract.test_witness import opened, running

KILLED = """
import asyncio, json, os, signal, sys
from pathlib import Path
from lgsp.backends.sql import SqliteLedger
from lgsp.backends.witness import HttpWitness
from lgsp.domain.notes import parse_vkey
from lgsp.testing.bus import running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.samples import note
from lgsp.testing.world import World

file, url, vkey, point, times = sys.argv[1:]
world = World.make()
left = int(times)

def reached(name):
    global left
    left -= name == point
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

class Anchor:
    def __init__(self, witness):
        self.witness, self.key = witness, witness.key

    async def add_checkpoint(self, old, path, text):
        reached("asked")
        answer = await self.witness.add_checkpoint(old, path, text)
        reached("signed")
        return answer

async def main():
    clock = ManualClock(world.now)
    async with HttpWitness.open(url, parse_vkey(vkey)) as witness:
        store = SqliteLedger.open(Path(file), create=True)
        async with running_bus(world, store, clock=clock, entropy=SeededEntropy(1, clock), anchor=Anchor(witness)) as bus:
            for number in range(100):
                await bus.sequencer.submit(*(note(1000 * number + each) for each in range(40)))
                print(json.dumps(await bus.ledger.size()), flush=True)
                reached("appended")
                await bus.auditor.keep()
                reached("kept")
                await bus.witnessing.once()
                reached("cosigned")

asyncio.run(main())
"""
WORLD = World.make()
KEY = NoteKey(name=LOG, kind=LOG_KEY, public=WORLD.signers["log"].public.x)


@asynccontextmanager
async def again(file, url, vkey):
    clock = ManualClock(WORLD.now)
    async with HttpWitness.open(url, parse_vkey(vkey)) as witness:
        store = SqliteLedger.open(file)
        try:
            running = running_bus(WORLD, store, clock=clock, entropy=SeededEntropy(2, clock), anchor=witness)
            async with running as bus:
                yield bus
        finally:
            await store.close()


@pytest.mark.parametrize("times", [1, 7])
@pytest.mark.parametrize("point", ["appended", "kept", "asked", "signed", "cosigned"])
async def test_a_gateway_killed_at_any_step_starts_again_and_is_cosigned(tmp_path, point, times):
    witness = opened(tmp_path / "witness")
    file = tmp_path / "bus.sqlite"
    async with running(witness) as url:
        command = [sys.executable, "-c", KILLED, str(file), url, witness.key, point, str(times)]
        killed = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=60, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
        answered = max(map(json.loads, killed.stdout.splitlines()), default=0)
        seen = witness._seen.get(LOG, (0, b""))
        async with again(file, url, witness.key) as bus:
            assert await bus.ledger.size() >= max(answered, seen[0])
            if seen[0]:
                await bus.auditor.checkpoint()  # the tree reaches so far
                assert await bus.auditor.tree.root_at(seen[0]) == seen[1]
            await bus.sequencer.submit(note(9))
            await bus.auditor.keep()
            await bus.witnessing.once()
            stated = open_checkpoint(await bus.auditor.cosigned(), KEY, [parse_vkey(witness.key)])
            assert (stated.size, stated.root) == witness._seen[LOG]
