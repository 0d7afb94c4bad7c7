"""The floor's gateway: verify, parse, check, seal; commit in groups with batch receipts; hand out; verify acks; settle in the same groups."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from lgsp.domain import envelope, jws, sealing, statements, strictjson
from lgsp.domain.statements import Statement
from lgsp.errors import Refusal
from tests.bench import program
from tests.bench.floor import names, wire
from tests.bench.floor.carriers import Carrier, InMemory, Parcel, QuorumQueue
from tests.bench.floor.groups import Groups
from tests.bench.floor.ledger import Accept, Ledger, Operation, Settle, Store
from tests.bench.floor.names import Ring
from tests.bench.floor.postgres_store import PostgresStore
from tests.bench.floor.sqlite_store import SqliteStore

GROUP: Final = 512
"""Operations in one transaction at most, as in the bus."""
IN_A_ROW: Final = 16
"""Envelopes read before others on the loop have their turn."""


class Gateway:
    """Between one sender and one receiver."""

    def __init__(self, ring: Ring, store: Store) -> None:
        self._ring = ring
        self._store = store
        self._ledger = Ledger(ring.own)
        self._contracts = names.contracts()
        self.body_key = secrets.token_bytes(sealing.KEY_BYTES)
        self.carrier: Carrier = InMemory(self.hand_out)
        self.commits: Groups[Operation] = Groups(self._commit, most=GROUP)
        self.placing: Groups[tuple[Accept, Statement]] = Groups(self._place, most=GROUP)
        self.outgoing: Groups[tuple[str, str]] = Groups(self._send, most=GROUP)
        self._sockets: dict[str, web.WebSocketResponse] = {}

    # --- from the sender

    async def serve_sender(self, request: web.Request) -> web.WebSocketResponse:
        socket = await self._opened("sender", request)
        async for message in socket:
            waiting = wire.parse(message.data)["envelopes"]
            for start in range(0, len(waiting), IN_A_ROW):
                self.commits.add([self._read(each) for each in waiting[start : start + IN_A_ROW]])
                await asyncio.sleep(0)
        return socket

    def _read(self, structured: object) -> Accept:
        found = envelope.from_structured(structured)
        parsed = jws.parse(found.compact, typ=envelope.TYP)
        key = self._ring.public["sender"]
        jws.verify(parsed, key)
        manifest = envelope.parse_manifest(parsed.payload)
        envelope.check_body(manifest, found.body)
        body = strictjson.parse(found.body)
        if not strictjson.is_nfc(found.body, body):
            raise Refusal("body_nfc")
        self._contracts.check(manifest.schema, body)
        env = found.hash
        sealed = sealing.seal(self.body_key, env, found.body, secrets.token_bytes(sealing.NONCE_BYTES))
        return Accept(env=env, wire=found, manifest=manifest, kid=key.kid, sealed=sealed)

    # --- groups

    async def _commit(self, group: list[Operation]) -> None:
        rows = await self._store.commit(group, self._ledger)
        self.placing.add(rows.accepted)
        self.outgoing.add(("sender", frame) for frame in wire.stating("outcome", [each.ack for each in rows.settled]))

    async def _place(self, accepted: list[tuple[Accept, Statement]]) -> None:
        await self.carrier.carry(accepted)
        self.outgoing.add(("sender", frame) for frame in wire.stating("receipt", [receipt for _, receipt in accepted]))

    def hand_out(self, parcels: Sequence[Parcel]) -> None:
        """Send parcels to the receiver."""
        self.outgoing.add(("receiver", frame) for frame in wire.delivering(parcels))

    async def _send(self, frames: list[tuple[str, str]]) -> None:
        for party, frame in frames:
            await self._sockets[party].send_str(frame)

    # --- from the receiver

    async def serve_receiver(self, request: web.Request) -> web.WebSocketResponse:
        socket = await self._opened("receiver", request)
        async for message in socket:
            frame = wire.parse(message.data)
            signed = statements.verify_signature(frame["jws"], self._ring.public["receiver"], typ=statements.ACK)
            self.commits.add(
                Settle(env=statements.open_item(ack, signed)["env"], ack=ack) for ack in wire.stated(frame)
            )
        return socket

    async def _opened(self, party: str, request: web.Request) -> web.WebSocketResponse:
        socket = self._sockets[party] = web.WebSocketResponse(max_msg_size=wire.FRAME_MAX, compress=False)
        await socket.prepare(request)
        return socket


async def main(plan: dict[str, Any], orders: program.Orders) -> None:
    """Serve both sides until the end; any order is answered with what stands in the store."""
    store = await _store(plan)
    gateway = Gateway(Ring.of(plan, "gateway"), store)
    if plan["broker"]:
        gateway.carrier = await QuorumQueue.open(plan["broker"], gateway.body_key, gateway.hand_out)
    application = web.Application()
    application.add_routes([web.get("/sender", gateway.serve_sender), web.get("/receiver", gateway.serve_receiver)])
    runner = web.AppRunner(application, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", plan["port"]).start()
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(each.run()) for each in (gateway.commits, gateway.placing, gateway.outgoing)]
        async for _ in orders:
            commits = gateway.commits
            orders.answer(await store.counts() | {"groups": commits.groups, "operations": commits.items})
        for task in running:
            task.cancel()
    await runner.cleanup()
    await gateway.carrier.close()
    await store.close()


async def _store(plan: dict[str, Any]) -> Store:
    if plan["database"]:
        return await PostgresStore.open(plan["database"])
    return SqliteStore(Path(plan["folder"]) / "gateway.sqlite")


if __name__ == "__main__":
    program.run(main)
