"""A program that is killed: between the commit of an effect and its ack, and in the middle of an effect elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.sdk import Client, Retry
from lgsp.testing.systems import running_town
from lgsp.testing.world import BODY, POPULATION, VERIFY, VERIFY_SCHEMA

ROOT = Path(__file__).parents[2]
VERIFICATION = {
    "audience": POPULATION,
    "schema": VERIFY_SCHEMA,
    "body": dict(BODY),
    "purpose": "dpv:IdentityVerification",
    "legalbasis": "dpv:LegalObligation",
    "procedure": "1.004359",
    "authid": "7f3a91",
}

KILLED_AFTER_COMMIT = """
import asyncio, os, pathlib, signal, sys
from lgsp.sdk import Client, SystemSettings

async def main():
    async with Client.open(SystemSettings.load(pathlib.Path(sys.argv[1]))) as client:
        await client.write(lambda tables: tables.execute("CREATE TABLE answered (id TEXT)"))
        # The box tells of each commit before anything of it is sent: here the process dies.
        client._box.on_commit = lambda committed: os.kill(os.getpid(), signal.SIGKILL)
        async for message in client.inbox():
            async with message.effect() as effect:
                effect.execute("INSERT INTO answered VALUES (?)", (message.id,))
                effect.reply({"result": "match"})

asyncio.run(main())
"""

KILLED_OUTSIDE = """
import asyncio, os, pathlib, signal, sys
from lgsp.sdk import Client, SystemSettings

async def main():
    async with Client.open(SystemSettings.load(pathlib.Path(sys.argv[1]))) as client:
        async for message in client.inbox():
            async with message.effect(outside=True) as effect:
                pathlib.Path(sys.argv[2]).write_text(message.id)
                os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""

KILLED_BEFORE_BOOKKEEPING = """
import asyncio, json, os, pathlib, signal, sys
from lgsp.sdk import Client, SystemSettings, box

# Whatever nobody waits for is put off for good: receipts, outcomes, acks that the bus has.
box.LAZY_SECONDS = 3600.0

async def main():
    async with Client.open(SystemSettings.load(pathlib.Path(sys.argv[1]))) as client:
        sent = await client.send(sys.argv[2], wait=False, **json.loads(sys.argv[3]))
        while sent.id not in client._sender.outcome_waits._put_off:
            await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.fixture
async def town(tmp_path):
    async with running_town(tmp_path, MemoryLedger()) as running:
        yield running


async def killed(program, *arguments):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, *map(str, arguments), cwd=ROOT, stderr=subprocess.DEVNULL
    )
    async with asyncio.timeout(30):
        assert await process.wait() == -9


async def test_a_kill_between_effect_and_ack_gives_no_second_effect_and_the_same_reply(town):
    path = town.settings_file("ndxp")
    async with Client.open(town.settings("fisheries")) as fisheries:
        asking = asyncio.create_task(fisheries.request(VERIFY, timeout=60, **VERIFICATION))
        await killed(KILLED_AFTER_COMMIT, path)
        with sqlite3.connect(town.folder / "ndxp.sqlite") as box:
            [(answered,)] = box.execute("SELECT id FROM answered").fetchall()
            [(compact,)] = box.execute("SELECT compact FROM lgsp_outbox").fetchall()
        box.close()
        async with Client.open(town.settings("ndxp")) as ndxp:
            reply = await asking
            assert reply.wire.compact == compact
            assert (await fisheries.outcome(answered)).state == "acked"
            assert ndxp.read("SELECT id FROM answered") == [(answered,)]
            assert len(ndxp._receiver.arrivals) == 0


async def test_a_kill_inside_an_outside_effect_leaves_the_decision_to_the_program(town, tmp_path):
    path = town.settings_file("ndxp")
    async with Client.open(town.settings("fisheries")) as fisheries:
        sent = await fisheries.send(VERIFY, **VERIFICATION)
        await killed(KILLED_OUTSIDE, path, tmp_path / "elsewhere")
        async with Client.open(town.settings("ndxp")) as ndxp:
            async with asyncio.timeout(30):
                message = await anext(ndxp.inbox())
            assert message.uncertain
            assert (tmp_path / "elsewhere").read_text() == message.id == sent.id
            async with message.effect() as effect:
                effect.reply({"result": "match"})
            assert (await fisheries.outcome(sent.id)).state == "acked"


async def test_what_is_uncertain_stays_so_while_the_system_behind_cannot_tell(tmp_path):
    async with (
        running_town(tmp_path, MemoryLedger()) as town,
        Client.open(town.settings("fisheries")) as fisheries,
        Client.open(town.settings("ndxp")) as ndxp,
        asyncio.timeout(20),
    ):
        await fisheries.send(VERIFY, **VERIFICATION)
        inbox, seen = ndxp.inbox(), []
        for trouble in (OSError("cut off in the middle"), Retry(0.0), Retry(0.0)):
            message = await anext(inbox)
            seen.append(message.uncertain)
            with contextlib.suppress(OSError):
                async with message.effect(outside=True):
                    raise trouble
        assert seen == [False, True, True]


async def test_a_kill_before_the_bookkeeping_is_stored_costs_a_repetition_and_nothing_else(town):
    handled = []

    async def handle(ndxp):
        async for message in ndxp.inbox():
            async with message.effect():
                handled.append(message.id)

    async with Client.open(town.settings("ndxp")) as ndxp, asyncio.TaskGroup() as tasks:
        handling = tasks.create_task(handle(ndxp))
        await killed(KILLED_BEFORE_BOOKKEEPING, town.settings_file("fisheries"), VERIFY, json.dumps(VERIFICATION))
        with sqlite3.connect(town.folder / "fisheries.sqlite") as box:
            [(sent, state)] = box.execute("SELECT id, state FROM lgsp_outbox").fetchall()
            assert (state, box.execute("SELECT * FROM lgsp_outcomes").fetchall()) == ("queued", [])
        box.close()
        async with Client.open(town.settings("fisheries")) as fisheries, asyncio.timeout(20):
            assert (await fisheries.outcome(sent)).state == "acked"
            while fisheries.read("SELECT state FROM lgsp_outbox") != [("receipted",)]:
                await asyncio.sleep(0.01)
        handling.cancel()
    assert handled == [sent]
