"""The audit of a whole log, beside a gateway that goes on writing."""

from __future__ import annotations

import pytest

from lgsp.backends.memory import MemoryLedger, MemoryWitness
from lgsp.cli.founding import trust_of
from lgsp.cli.log_checks.log import CoSigners, audit
from lgsp.domain.checkpoint import Checkpoint, checkpoint_body
from lgsp.domain.notes import LOG_KEY, NoteKey, cosign_note, sign_note
from lgsp.testing.bus import running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.samples import note
from lgsp.testing.world import BUS, LOG, World, signer_named


async def verdict_after(tamper):
    """Return what the audit finds in a log of 600 entries and more, after `tamper` had its way with the tables."""
    world, store = World.make(), MemoryLedger()
    clock = ManualClock(world.now)
    log = NoteKey(name=LOG, kind=LOG_KEY, public=world.signers["log"].public.x)
    anchor = MemoryWitness(name="witness", signer=signer_named("witness"), logs={LOG: log}, clock=clock)
    async with running_bus(world, store, clock=clock, entropy=SeededEntropy(1), anchor=anchor) as bus:
        await bus.sequencer.submit(*(note(number) for number in range(600)))
        await bus.auditor.keep()
        await bus.witnessing.once()
    tamper(store._tables)
    trust = trust_of(BUS, LOG, world.signers["registrar"], world.signers["log"])
    return await audit(
        store, bus=BUS, registrar=trust.registrar, log=trust.log, witnesses=CoSigners(known=[anchor.key])
    )


def change_a_node(tables):
    tables.rows.subtrees[1, 1] = bytes(32)


def lose_a_node(tables):
    del tables.rows.subtrees[1, 0]


def change_an_old_entry(tables):
    tables.entries[5] = tables.entries[5].replace(b"}", b" }")


def change_an_old_leaf(tables):
    tables.leaves[5] = bytes(32)


def change_the_root_that_was_cosigned(tables):
    size, note = max(tables.rows.cosigned.items())
    lines = note.split("\n")
    tables.rows.cosigned[size] = note.replace(lines[2], lines[2][::-1])


def cosign_another_root(tables):
    _forge(tables, size=100)


def cosign_more_than_there_is(tables):
    _forge(tables, size=10_000)


def _forge(tables, size):
    key, witness = signer_named("log"), signer_named("witness")
    body = checkpoint_body(Checkpoint(origin=LOG, size=size, root=bytes(32)))
    tables.rows.cosigned.clear()
    line = cosign_note(body, "witness", witness.sign, witness.public.x, 1_790_000_000)
    tables.rows.cosigned[size] = sign_note(body, LOG, key.sign, key.public.x) + line


def change_the_witness_signature(tables):
    size, note = max(tables.rows.cosigned.items())
    tables.rows.cosigned[size] = note[:-12] + ("A" if note[-12] != "A" else "B") + note[-11:]


def take_the_witness_signature_away(tables):
    size, note = max(tables.rows.cosigned.items())
    tables.rows.cosigned[size] = note[: note[:-1].rindex("\n") + 1]


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (change_the_root_that_was_cosigned, "the co-signed checkpoint"),
        (cosign_another_root, "the root over the first 100 entries"),
        (cosign_more_than_there_is, "entries are missing"),
        (change_the_witness_signature, "no signature of a known witness"),
        (take_the_witness_signature_away, "no signature of a known witness"),
    ],
)
async def test_what_was_cosigned_is_compared_with_the_log(tamper, words):
    verdict = await verdict_after(tamper)
    assert verdict.finding is not None
    assert words in verdict.finding.words


@pytest.mark.parametrize(
    ("tamper", "index"), [(change_a_node, 256), (lose_a_node, 0), (change_an_old_entry, 5), (change_an_old_leaf, 5)]
)
async def test_what_was_changed_is_found_wherever_it_lies(tamper, index):
    verdict = await verdict_after(tamper)
    assert verdict.finding is not None
    assert verdict.finding.index == index


class Moving:
    """A store in which the gateway writes and signs once more, right after its size was asked for."""

    def __init__(self, store, go_on):
        self._store = store
        self._go_on = go_on

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def size(self):
        found = await self._store.size()
        await self._go_on()
        return found


async def test_what_a_gateway_writes_during_an_audit_is_not_missing():
    world, store = World.make(), MemoryLedger()
    async with running_bus(world, store, clock=ManualClock(world.now), entropy=SeededEntropy(1)) as bus:

        async def go_on():
            await bus.ingress.submit(world.envelope(), peer="")
            await bus.auditor.keep()

        await bus.auditor.keep()
        trust = trust_of(BUS, LOG, world.signers["registrar"], world.signers["log"])
        verdict = await audit(Moving(store, go_on), bus=BUS, registrar=trust.registrar, log=trust.log)
        assert verdict.finding is None
        assert 0 < verdict.checkpoint <= verdict.size
