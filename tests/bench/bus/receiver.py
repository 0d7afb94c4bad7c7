"""The receiving systems: `lgsp.sdk` clients in one process, each with a box on disk; they take over everything and answer requests."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from lgsp.sdk import Client, Message, SystemSettings
from tests.bench import program
from tests.bench.bus.sender import counted
from tests.bench.made_up import REQUESTS


async def main(plan: dict[str, Any], orders: program.Orders) -> None:
    """Receive until the end; any order is answered with what stands in the boxes."""
    async with AsyncExitStack() as opened, asyncio.TaskGroup() as tasks:
        settings = [SystemSettings.load(Path(path)) for path in plan["settings"]]
        clients = [await opened.enter_async_context(Client.open(each)) for each in settings]
        receiving = [tasks.create_task(_receive(client, tasks)) for client in clients]
        async for _ in orders:
            orders.answer(counted(clients))
        for task in receiving:
            task.cancel()


async def _receive(client: Client, tasks: asyncio.TaskGroup) -> None:
    async for message in client.inbox():
        tasks.create_task(_deal_with(message))


async def _deal_with(message: Message) -> None:
    async with message.effect() as effect:
        if message.type in REQUESTS:
            effect.reply(message.body)


if __name__ == "__main__":
    program.run(main)
