"""The floor's sender: envelopes signed and durable before they are sent, receipts and acks verified and durable before they count."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp

from lgsp.domain import envelope, jws, statements, strictjson
from lgsp.domain.envelope import Wire, format_time
from lgsp.domain.statements import Statement
from lgsp.machine import SystemClock, SystemEntropy
from tests.bench import load, program
from tests.bench.floor import boxes, wire
from tests.bench.floor.boxes import BoxFile
from tests.bench.floor.groups import Groups
from tests.bench.floor.names import RECEIVER, SENDER, Ring
from tests.bench.machine import Watched
from tests.bench.made_up import ONE_WAY, SCHEMA, Notes

GROUP: int = 512
LIFE = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    id: str
    env: str
    wire: Wire


Change = Letter | tuple[str, str, Statement]
"""An envelope to be sent, or (`receipt` or `outcome`, env hash, statement)."""


class Sender:
    """One sending system."""

    def __init__(self, ring: Ring, box: BoxFile, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._ring = ring
        self._box = box
        self._socket = socket
        self._clock, self._entropy = SystemClock(), SystemEntropy()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self.groups: Groups[Change] = Groups(self._commit, most=GROUP)

    async def exchange(self, note: dict[str, Any]) -> None:
        """Send one envelope and return when its ack is durable."""
        letter = self._letter(strictjson.compact(note))
        done = self._waiting[letter.env] = asyncio.get_running_loop().create_future()
        self.groups.add([letter])
        await done

    def _letter(self, body: bytes) -> Letter:
        now = self._clock.now()
        identifier = self._entropy.uuid7()
        manifest = {
            "specversion": "1.0",
            "id": identifier,
            "source": SENDER,
            "type": ONE_WAY,
            "time": format_time(now),
            "recordedtime": format_time(now),
            "expirytime": format_time(now + LIFE),
            "audience": RECEIVER,
            "datacontenttype": "application/json",
            "dataschema": SCHEMA,
            "datahash": jws.hash_of(body),
            "datasize": len(body),
        }
        compact = jws.sign(strictjson.compact(manifest), typ=envelope.TYP, signer=self._ring.own)
        signed = Wire(compact=compact, body=body)
        return Letter(id=identifier, env=signed.hash, wire=signed)

    async def read(self) -> None:
        """Take what the gateway says until it closes."""
        async for message in self._socket:
            frame = wire.parse(message.data)
            typ, party = (statements.RECEIPT, "gateway") if frame["op"] == "receipt" else (statements.ACK, "receiver")
            signed = statements.verify_signature(frame["jws"], self._ring.public[party], typ=typ)
            changes: list[Change] = []
            for statement in wire.stated(frame):
                item = statements.open_item(statement, signed)
                if item["outcome"] != "accepted":
                    raise RuntimeError("the floor refuses nothing")
                changes.append((frame["op"], item["env"], statement))
            self.groups.add(changes)

    async def _commit(self, group: list[Change]) -> None:
        await self._box.write(lambda connection: _write(connection, group))
        letters = [change.wire for change in group if isinstance(change, Letter)]
        if letters:
            await self._socket.send_str(wire.sending(letters))
        for change in group:
            if not isinstance(change, Letter) and change[0] == "outcome":
                self._waiting.pop(change[1]).set_result(None)


def _write(connection: sqlite3.Connection, group: list[Change]) -> None:
    letters = [change for change in group if isinstance(change, Letter)]
    said = [change for change in group if not isinstance(change, Letter)]
    connection.executemany(
        "INSERT INTO outbox (env, id, compact, body) VALUES (?, ?, ?, ?)",
        [(letter.env, letter.id, letter.wire.compact, letter.wire.body) for letter in letters],
    )
    connection.executemany(
        "UPDATE outbox SET receipt = ? WHERE env = ?",
        [(statement.text(), env) for op, env, statement in said if op == "receipt"],
    )
    connection.executemany(
        "INSERT INTO outcome (env, ack) VALUES (?, ?)",
        [(env, statement.text()) for op, env, statement in said if op == "outcome"],
    )


async def main(plan: dict[str, Any], orders: program.Orders) -> None:
    """Serve orders: loads, and `{"counts": true}`."""
    box = BoxFile(Path(plan["folder"]) / "sender.sqlite", boxes.OUTBOX)
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(plan["url"] + "/sender", max_msg_size=wire.FRAME_MAX, compress=0) as socket,
        asyncio.TaskGroup() as tasks,
    ):
        sender = Sender(Ring.of(plan, "sender"), box, socket)
        running = [tasks.create_task(sender.groups.run()), tasks.create_task(sender.read())]
        async for order in orders:
            orders.answer(await _carry_out(order, sender, box))
        for task in running:
            task.cancel()


async def _carry_out(order: dict[str, Any], sender: Sender, box: BoxFile) -> dict[str, Any]:
    if "counts" in order:
        return {
            "sent": await box.count("SELECT count(*) FROM outbox"),
            "receipted": await box.count("SELECT count(*) FROM outbox WHERE receipt IS NOT NULL"),
            "acked": await box.count("SELECT count(*) FROM outcome"),
            "groups": sender.groups.groups,
        }
    notes = Notes(order["size"])
    return await load.carry_out(order, lambda: sender.exchange(notes.next()), Watched(order["watched"]))


if __name__ == "__main__":
    program.run(main)
