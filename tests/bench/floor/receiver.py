"""The floor's receiver: receipt and envelope verified, the body checked, mark and ack durable together, then the ack is sent."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from lgsp.domain import envelope, jws, statements, strictjson
from lgsp.domain.envelope import Manifest
from lgsp.domain.statements import Statement
from lgsp.machine import SystemClock
from tests.bench import program
from tests.bench.floor import boxes, names, wire
from tests.bench.floor.boxes import BoxFile
from tests.bench.floor.groups import Groups
from tests.bench.floor.names import RECEIVER, Ring


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    env: str
    manifest: Manifest


class Receiver:
    """One receiving system."""

    def __init__(self, ring: Ring, box: BoxFile, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._ring = ring
        self._box = box
        self._socket = socket
        self._clock = SystemClock()
        self._contracts = names.contracts()
        self.groups: Groups[Taken] = Groups(self._commit, most=statements.BATCH_MAX)

    async def read(self) -> None:
        """Take deliveries until the gateway closes."""
        async for message in self._socket:
            frame = wire.parse(message.data)
            signed = statements.verify_signature(frame["jws"], self._ring.public["gateway"], typ=statements.RECEIPT)
            receipts = wire.stated(frame)
            self.groups.add(
                [self._believed(row[3], each, signed) for row, each in zip(frame["items"], receipts, strict=True)]
            )

    def _believed(self, structured: object, receipt: Statement, signed: statements.Signed) -> Taken:
        found = envelope.from_structured(structured)
        item = statements.open_item(receipt, signed)
        parsed = jws.parse(found.compact, typ=envelope.TYP)
        jws.verify(parsed, self._ring.public["sender"])
        manifest = envelope.parse_manifest(parsed.payload)
        envelope.check_body(manifest, found.body)
        env = found.hash
        if (item["env"], item["outcome"], manifest.audience) != (env, "accepted", RECEIVER):
            raise RuntimeError("the receipt is another envelope's")
        self._contracts.check(manifest.schema, strictjson.parse(found.body))
        return Taken(env=env, manifest=manifest)

    async def _commit(self, group: list[Taken]) -> None:
        acks = await self._box.write(lambda connection: self._write(connection, group))
        for frame in wire.stating("ack", acks):
            await self._socket.send_str(frame)

    def _write(self, connection: sqlite3.Connection, group: list[Taken]) -> list[Statement]:
        head = statements.ack_head(system=RECEIVER, at=self._clock.now())
        items = [statements.ack_item(taken.env, "accepted") for taken in group]
        acks = statements.sign_batch(items, head, typ=statements.ACK, signer=self._ring.own)
        connection.executemany(
            "INSERT INTO inbox (env, source, id, ack) VALUES (?, ?, ?, ?)",
            [
                (taken.env, taken.manifest.source, taken.manifest.id, ack.text())
                for taken, ack in zip(group, acks, strict=True)
            ],
        )
        return acks


async def main(plan: dict[str, Any], orders: program.Orders) -> None:
    """Receive until the end; any order is answered with what stands in the box."""
    box = BoxFile(Path(plan["folder"]) / "receiver.sqlite", boxes.INBOX)
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(plan["url"] + "/receiver", max_msg_size=wire.FRAME_MAX, compress=0) as socket,
        asyncio.TaskGroup() as tasks,
    ):
        receiver = Receiver(Ring.of(plan, "receiver"), box, socket)
        running = [tasks.create_task(receiver.groups.run()), tasks.create_task(receiver.read())]
        async for _ in orders:
            orders.answer({"taken": await box.count("SELECT count(*) FROM inbox"), "groups": receiver.groups.groups})
        for task in running:
            task.cancel()


if __name__ == "__main__":
    program.run(main)
