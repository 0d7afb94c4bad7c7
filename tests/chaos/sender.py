"""A sending system under chaos: an `lgsp.sdk` client that sends numbered notes at a steady pace and takes the replies.

The intention and the signed envelope become durable in one transaction, so that a program that is killed leaves no doubt about what was sent. It
goes on where its box says that it was. It sends nothing more once the file `quiet` is there, says so by making the file `silent`, and ends on
SIGTERM.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from lgsp.sdk import Client, Message, SystemSettings
from tests.bench.made_up import SCHEMA
from tests.chaos import notes
from tests.chaos.program import PROMPT, run

TABLES = (
    "CREATE TABLE IF NOT EXISTS chaos_note (number INTEGER PRIMARY KEY, id TEXT NOT NULL)",
    # No key: a reply that was acted on twice is to be seen.
    "CREATE TABLE IF NOT EXISTS chaos_reply (number INTEGER NOT NULL, env TEXT NOT NULL)",
)
LOOKS_SECONDS = 0.5
OPEN_MOST = 600
"""Notes that may be under way: a system that hears nothing for a minute does not go on as if nothing had happened."""
OPEN = "SELECT (SELECT count(*) FROM lgsp_outbox) - (SELECT count(*) FROM lgsp_outcomes)"


async def main(plan: dict[str, Any]) -> None:
    """Send until told to be quiet; take replies until the end."""
    settings = SystemSettings.load(Path(plan["settings"]))
    async with Client.open(settings, connect_within=None, around=PROMPT) as client, asyncio.TaskGroup() as tasks:
        await client.write(lambda tables: [tables.execute(table) for table in TABLES])
        tasks.create_task(_send(client, plan))
        tasks.create_task(_take_replies(client, tasks))


async def _send(client: Client, plan: dict[str, Any]) -> None:
    number = client.read("SELECT coalesce(max(number), 0) FROM chaos_note")[0][0]
    loop = asyncio.get_running_loop()
    due = loop.time()
    while not await asyncio.to_thread(Path(plan["quiet"]).exists):
        if client.read(OPEN)[0][0] > OPEN_MOST:
            await asyncio.sleep(LOOKS_SECONDS)
            continue
        due = max(due, loop.time() - LOOKS_SECONDS)  # what was missed while standing still is not made up for at once
        until = due + LOOKS_SECONDS
        while due < until:
            number += 1
            await _post(client, number, plan["receivers"][number // len(notes.KINDS) % len(plan["receivers"])])
            due += 1 / plan["rate"]
            await asyncio.sleep(max(due - loop.time(), 0))
    await asyncio.to_thread(Path(plan["silent"]).touch)


async def _post(client: Client, number: int, receiver: str) -> None:
    async with client.work() as work:
        identifier = work.send(
            notes.kind(number), audience=receiver, schema=SCHEMA, body=notes.body(number), key=f"note {number}"
        )
        work.execute("INSERT INTO chaos_note VALUES (?, ?)", (number, identifier))


async def _take_replies(client: Client, tasks: asyncio.TaskGroup) -> None:
    async for message in client.inbox():
        tasks.create_task(_take(message))


async def _take(message: Message) -> None:
    async with message.effect() as effect:
        effect.execute("INSERT INTO chaos_reply VALUES (?, ?)", (message.body["number"], message.env))


if __name__ == "__main__":
    run(main)
