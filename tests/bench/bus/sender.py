"""The sending systems: `lgsp.sdk` clients in one process, each with a box on disk.

A one-way exchange ends when the sender has the receiver's verified ack on disk, a request when it has the reply.
"""

from __future__ import annotations

import itertools
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from lgsp.sdk import Client, SystemSettings
from tests.bench import load, program
from tests.bench.machine import Watched
from tests.bench.made_up import REQUESTS, SCHEMA, Notes


async def main(plan: dict[str, Any], orders: program.Orders) -> None:
    """Serve orders: loads, and `{"counts": true}` for what stands in the boxes."""
    async with AsyncExitStack() as opened:
        settings = [SystemSettings.load(Path(path)) for path in plan["settings"]]
        clients = [await opened.enter_async_context(Client.open(each)) for each in settings]
        async for order in orders:
            if "counts" in order:
                orders.answer(counted(clients))
            else:
                exchange = exchange_of(clients, order)
                orders.answer(await load.carry_out(order, exchange, Watched(order["watched"])))


def exchange_of(clients: list[Client], order: dict[str, Any]) -> load.Exchange:
    """Return the exchange that is ordered; senders and receivers take turns."""
    notes, pairs = Notes(order["size"]), itertools.cycle(itertools.product(order["receivers"], clients))
    act = _ask if order["type"] in REQUESTS else _tell
    return lambda: act(order["type"], notes.next(), *next(pairs))


async def _tell(type_: str, note: dict[str, Any], receiver: str, client: Client) -> None:
    sent = await client.send(type_, wait=False, audience=receiver, schema=SCHEMA, body=note)
    await client.outcome(sent.id, timeout=60.0)


async def _ask(type_: str, note: dict[str, Any], receiver: str, client: Client) -> None:
    reply = await client.request(type_, audience=receiver, schema=SCHEMA, body=note, timeout=60.0)
    if reply.body["number"] != note["number"]:
        raise RuntimeError("the reply answers another request")


def counted(clients: list[Client]) -> dict[str, int]:
    """Return how many envelopes have a receipt, how many an ack that says accepted; both were verified before they were stored."""
    one = partial(_sum, clients)
    return {
        "sent": one("SELECT count(*) FROM lgsp_outbox"),
        "receipted": one("SELECT count(*) FROM lgsp_outbox WHERE state = 'receipted' AND receipt IS NOT NULL"),
        "acked": one("SELECT count(*) FROM lgsp_outcomes WHERE state = 'acked' AND ack IS NOT NULL"),
        "taken": one("SELECT count(*) FROM lgsp_inbox WHERE state = 'done'"),
    }


def _sum(clients: list[Client], query: str) -> int:
    return sum(int(client.read(query)[0][0]) for client in clients)


if __name__ == "__main__":
    program.run(main)
