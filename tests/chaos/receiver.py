"""A receiving system under chaos: an `lgsp.sdk` client whose effect is a row, written in the transaction of the mark. It ends on SIGTERM."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from lgsp.sdk import Client, Effect, Message, Reject, Retry, SystemSettings
from tests.bench.made_up import ASKED
from tests.chaos import notes
from tests.chaos.program import PROMPT, run

# No key: an effect that took place twice is to be seen.
TABLE = "CREATE TABLE IF NOT EXISTS chaos_effect (number INTEGER NOT NULL, source TEXT NOT NULL, env TEXT NOT NULL)"


async def main(plan: dict[str, Any]) -> None:
    """Take over what comes until the end."""
    settings = SystemSettings.load(Path(plan["settings"]))
    async with Client.open(settings, connect_within=None, around=PROMPT) as client, asyncio.TaskGroup() as tasks:
        await client.write(lambda tables: tables.execute(TABLE))
        async for message in client.inbox():
            tasks.create_task(_take(message))


async def _take(message: Message) -> None:
    async with message.effect() as effect:
        take_over(message, effect)


def take_over(message: Message, effect: Effect) -> None:
    """Let happen what must become of a note."""
    number = message.body["number"]
    match notes.fate(number):
        case "rejected":
            raise Reject("note_unwanted", "/number")
        case "late" if message.attempt == 1:
            raise Retry(0.3, code="not_yet")
    effect.execute("INSERT INTO chaos_effect VALUES (?, ?, ?)", (number, message.source, message.env))
    if message.type == ASKED:
        effect.reply(message.body)


if __name__ == "__main__":
    run(main)
