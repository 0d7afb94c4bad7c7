"""A receiver away for a day: what has not expired comes once and in order, what has is told, and the broker's disk stays within the inbox's limit."""

from __future__ import annotations

import asyncio
import fnmatch
import os
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import aio_pika
import pytest

from lgsp.app import run_on_broker
from lgsp.backends.memory import MemoryLedger
from lgsp.backends.rabbitmq import RabbitTransport
from lgsp.backends.sql.sqlite import SqliteLedger
from lgsp.bus.refusing import EnvelopeRefused
from lgsp.cli.founding import trust_of
from lgsp.cli.log_checks.log import audit
from lgsp.domain.envelope import format_time
from lgsp.domain.lanes import LANES
from lgsp.domain.limits import LIMITS
from lgsp.errors import Refusal
from lgsp.testing.bus import ack_of, parts_of, publish
from lgsp.testing.clock import ManualClock
from lgsp.testing.contracts.ledger import commit
from lgsp.testing.contracts.transport import queue, waiting
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.rabbitmq import private_server
from lgsp.testing.samples import accept, lease
from lgsp.testing.world import BUS, FISHERIES, LOG, NDXP, OWNER_LIST, OWNER_LIST_SCHEMA, POLICE, VERIFY, World

pytestmark = pytest.mark.timeout(600)

MIB = 1024 * 1024
HOUR, SHORT, LONG = timedelta(hours=1), timedelta(minutes=90), timedelta(days=3)
WEEK = 7 * 86_400
OUTAGE = 12
"""The hour in which the broker is killed."""
JOURNAL = MIB
"""Bytes of the broker's journal, from which messages go to the files of their queues: small, so that a short test sees these come and go."""
QUEUED_BYTES = """
    Held = fun(Queue) ->
        {ok, {_, Found}, _} = ra:local_query(amqqueue:get_pid(Queue), fun rabbit_fifo:overview/1),
        maps:get(enqueue_message_bytes, Found) + maps:get(checkout_message_bytes, Found)
    end,
    lists:sum(lists:map(Held, rabbit_amqqueue:list())).
"""
"""What the server counts as the bytes of its queues: the bodies of what is ready and of what is fetched."""

LINKED = "vn.lgsp.fisheries.vessel.linked.v1"
LINKED_SCHEMA = "urn:lgsp:schema:fisheries:vessel-linked:1.0.0"
TOPIC = f"urn:lgsp:topic:{LINKED}"
ADDED = [
    {"kind": "service", "id": LINKED, "schemas": [LINKED_SCHEMA], "lane": "event", "max_life": WEEK},
    {"kind": "grant", "id": "g-linked", "grantee": FISHERIES, "type": LINKED, "audience": TOPIC, "since": 1, "basis": "Plan"},
    {"kind": "subscription", "id": "s-police", "subscriber": POLICE, "type": LINKED, "since": 1},
    {
        "kind": "grant", "id": "g-ask-police", "grantee": FISHERIES, "type": VERIFY, "audience": POLICE, "since": 1, "basis": "Plan",
        "purposes": ["dpv:IdentityVerification"], "legalbases": ["dpv:LegalObligation"], "procedures": ["1.004359"], "officers": ["7f3a91"],
    },
]  # fmt: skip
CHANGES = {
    VERIFY: {"max_life": WEEK},
    OWNER_LIST: {"max_life": WEEK},
    POLICE: {"consumes": [VERIFY, OWNER_LIST]},
}

ROW = {"registration": "AG-00001-TS", "ownerName": "NGUYỄN VĂN AN", "communeCode": "30742"}
WORK_LIST = {"listId": "H01.12-0000001", "asOf": "2026-11-22", "orgcat": "2025-07", "rows": [ROW] * 40}
VESSEL = {
    "registration": "AG-00001-TS", "communeCode": "30742", "orgcat": "2025-07", "linkedOn": "2026-11-22", "lengthClass": "from15",
}  # fmt: skip
PLAIN = dict.fromkeys(("procedure", "casefile", "authid"))
STATED = {
    "request": {"audience": POLICE},
    "event": PLAIN
    | {"type": LINKED, "audience": TOPIC, "dataschema": LINKED_SCHEMA, "purpose": None, "legalbasis": None, "body": VESSEL},
    "bulk": PLAIN | {"type": OWNER_LIST, "audience": POLICE, "dataschema": OWNER_LIST_SCHEMA, "body": WORK_LIST},
}  # fmt: skip
"""What an envelope of each lane states beside its times."""


@dataclass(slots=True, kw_only=True)
class Sender:
    """Sends as a client does: one after the other in each lane, and again what was not receipted."""

    bus: object
    world: World
    clock: ManualClock
    sent: dict = field(default_factory=lambda: {lane: [] for lane in LANES})
    """Env hash and expiry of what was accepted, by lane and in this order."""
    _number: int = 0

    async def send(self, lane, life):
        await self._submit(self._wire(lane, life), lane, life)

    async def send_hour(self, count):
        """Send so many in each lane; every other one expires before the receiver comes, but for those of the last hour."""
        async with asyncio.TaskGroup() as group:
            for lane in LANES:
                group.create_task(self._send_many(lane, [LONG if at % 2 else SHORT for at in range(count)]))

    async def _send_many(self, lane, lives):
        for life in lives:
            await self.send(lane, life)

    async def send_in_vain(self):
        """Send one in each lane while the broker is away: accepted and not receipted, so that it must be sent again. Return them."""
        wires = [(self._wire(lane, LONG), lane) for lane in LANES]
        for wire, lane in wires:
            with pytest.raises(Refusal, match="unavailable"):
                await self._submit(wire, lane, LONG)
            self.sent[lane].append((wire.hash, self.clock.now() + LONG))
        return [wire for wire, _ in wires]

    async def try_to_send(self, lane, life):
        """Tell whether there was room for one more."""
        wire = self._wire(lane, life)
        try:
            await self._submit(wire, lane, life)
        except EnvelopeRefused as error:
            if error.refusal.code != "inbox_full":
                raise
            return False
        except Refusal as error:  # accepted, and placed by the sweep as soon as there is room
            if error.code != "inbox_full":
                raise
            self.sent[lane].append((wire.hash, self.clock.now() + life))
            return False
        return True

    async def flood(self):
        """Send bulk until the inbox is full, then a little more, and return how many were accepted."""
        before, refused = len(self.sent["bulk"]), 0
        while refused < 20:
            refused += not await self.try_to_send("bulk", LONG)
        return len(self.sent["bulk"]) - before

    def alive(self):
        """Return what has not expired, by lane."""
        now = self.clock.now()
        return {lane: [env for env, expires in sent if expires > now] for lane, sent in self.sent.items()}

    def expired(self):
        """Return what has expired."""
        return {env for sent in self.sent.values() for env, expires in sent if expires <= self.clock.now()}

    def _wire(self, lane, life):
        self._number += 1
        now = self.clock.now()
        times = {"time": format_time(now), "recordedtime": format_time(now), "expirytime": format_time(now + life)}
        return self.world.envelope(number=self._number, **(STATED[lane] | times))

    async def _submit(self, wire, lane, life):
        await self.bus.ingress.submit(wire, peer="", system=FISHERIES)
        self.sent[lane].append((wire.hash, self.clock.now() + life))


def disk(server, pattern="*"):
    """Return the bytes of the files of the broker's database whose names fit."""
    found = 0
    for folder, _, names in os.walk(server.folder / "mnesia"):
        for name in fnmatch.filter(names, pattern):
            with suppress(FileNotFoundError):  # the broker has just taken it away
                found += Path(folder, name).stat().st_size
    return found


def segments(server):
    """Return the bytes of the files of the queues, without the journal."""
    return disk(server, "*.segment")


async def shrinks(server, most):
    """Wait until the files of the queues have no more than so many bytes."""
    async with asyncio.timeout(30):
        while segments(server) > most:
            await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with private_server(tmp_path_factory.mktemp("day"), extra=f"raft.wal_max_size_bytes = {JOURNAL}") as server:
        yield server


@pytest.fixture
def world():
    return World.make(added=ADDED, changes=CHANGES)


@pytest.fixture
def running(world, clock, server, tmp_path):
    """Return what runs a gateway on the server with inboxes of so many bytes, and takes its queues away afterwards."""

    @asynccontextmanager
    async def run(inbox_bytes):
        store = SqliteLedger.open(tmp_path / "ledger.sqlite", create=True)
        parts = parts_of(world, store, clock=clock, entropy=SeededEntropy(1, clock))
        limits = replace(LIMITS, inbox_bytes=inbox_bytes, requests_open=10**6, rate=10**6, burst=10**6)
        try:
            async with run_on_broker(replace(parts, limits=limits), server.url) as bus:
                await publish(bus, world)
                yield bus
                queues = bus.courier.transport.queues()
            await delete(server, queues)
        finally:
            await store.close()

    return run


async def delete(server, queues):
    async with await aio_pika.connect(server.url) as connection, connection.channel() as channel:
        for name in queues:
            await channel.queue_delete(name)


async def until_broker(bus, wanted):
    async with asyncio.timeout(60):
        while (await bus.health.ready())[1]["broker"] != wanted:
            await asyncio.sleep(0.02)


async def broker_dies(bus, sender, clock, server):
    server.settle()
    server.kill()
    await until_broker(bus, "away")
    wires = await sender.send_in_vain()
    server.start()
    await until_broker(bus, "ok")
    clock.advance(LIMITS.republish.total_seconds() + 1)
    await bus.sweep.once()
    for wire in wires:
        assert (await bus.ingress.submit(wire, peer="", system=FISHERIES)).duplicate


async def a_day_passes(bus, sender, clock, server, count):
    for hour in range(24):
        await sender.send_hour(count)
        if hour == OUTAGE:
            await broker_dies(bus, sender, clock, server)
        clock.advance(HOUR.total_seconds())
        await bus.sweep.once()


async def received(bus, world, count):
    """Pull and acknowledge until so many have come and nothing more comes, and return the env hashes in order of arrival."""
    found = []
    async with asyncio.timeout(300):
        while more := await bus.courier.pull(POLICE, limit=128, wait=20 if len(found) < count else 0.2):
            found += [handed.env for handed in more]
            for ack in ack_of(world, "police", POLICE, *(handed.env for handed in more)):
                await bus.settlement.acknowledge(POLICE, ack)
    return found


async def log_verifies(bus, world):
    await bus.auditor.keep()
    trust = trust_of(BUS, LOG, world.signers["registrar"], world.signers["log"])
    verdict = await audit(bus.ledger, bus=BUS, registrar=trust.registrar, log=trust.log)
    return verdict.finding is None and verdict.checkpoint == verdict.size


@pytest.mark.parametrize(("count", "inbox_bytes"), [(2, MIB), pytest.param(80, 24 * MIB, marks=pytest.mark.long)])
async def test_who_was_away_for_a_day_finds_everything_in_order_and_the_brokers_disk_is_bounded(
    running, world, clock, server, count, inbox_bytes
):
    morning = disk(server)
    async with running(inbox_bytes) as bus:
        sender = Sender(bus=bus, world=world, clock=clock)
        await a_day_passes(bus, sender, clock, server, count)
        assert await sender.flood() > 0
        assert 0 < int(server.evaluate(QUEUED_BYTES)) < inbox_bytes
        # What waits is bounded by the inbox; its receipts, what expired behind it, and the journal come on top.
        assert disk(server) - morning < 3 * inbox_bytes + 2 * JOURNAL
        outcomes = await bus.progress.outcomes(FISHERIES, limit=100_000)
        assert {(each.env, each.state) for each in outcomes} == {(env, "expired") for env in sender.expired()}
        alive = sender.alive()
        lane_of = {env: lane for lane, envs in alive.items() for env in envs}
        came = await received(bus, world, len(lane_of))
        assert len(came) == len(lane_of)
        assert {lane: [env for env in came if lane_of.get(env) == lane] for lane in LANES} == alive
        assert await waiting(bus.courier.transport, POLICE) == 0
        await shrinks(server, JOURNAL // 16)
        assert disk(server) - morning < 3 * JOURNAL
        assert await log_verifies(bus, world)


async def test_what_expired_behind_one_that_lives_longer_does_not_fill_the_inbox(running, world, clock):
    async with running(MIB // 4) as bus:  # 64 messages in each lane
        sender = Sender(bus=bus, world=world, clock=clock)
        await sender.send("request", LONG)
        had_room = []
        for _ in range(4):
            had_room += [await sender.try_to_send("request", SHORT) for _ in range(25)]
            clock.advance(2 * HOUR.total_seconds())
            await bus.sweep.once()
        assert not all(had_room), "the broker said once that it was full"
        await has_room(bus, sender, clock)
        assert await waiting(bus.courier.transport, POLICE) < 64
        [alive] = [envs for envs in sender.alive().values() if envs]
        assert await received(bus, world, len(alive)) == alive


async def has_room(bus, sender, clock):
    async with asyncio.timeout(30):
        while not await sender.try_to_send("request", SHORT):
            clock.advance(LIMITS.republish.total_seconds() + 1)
            await bus.sweep.once()


@pytest.mark.parametrize("count", [2_000, pytest.param(20_000, marks=pytest.mark.long)])
async def test_one_message_that_waits_for_days_keeps_no_others_on_disk(server, count):
    ledger = MemoryLedger()
    transport = RabbitTransport(server.url, ledger, bus="urn:lgsp:bus:passing", clock=ManualClock())
    async with transport.running():
        assert await transport.connected(30)
        # One waits for a receiver that is away; another was leased, and its receiver never says a word.
        await queue(ledger, transport, accept(1, to=[POLICE]), accept(2, lane="event"))
        assert await handed_over(ledger, transport) == 1
        highest = 0
        for first in range(3, count, 500):
            lanes = ("request", "event")
            await queue(ledger, transport, *(accept(first + at, lane=lanes[at % 2], size=1_000) for at in range(500)))
            done = 0
            async with asyncio.timeout(60):
                while done < 500:
                    done += await handed_over(ledger, transport)
            highest = max(highest, segments(server))
        assert await waiting(transport, POLICE) == 1
        assert highest < 6 * JOURNAL
        await shrinks(server, JOURNAL)
        await delete(server, transport.queues())


async def handed_over(ledger, transport):
    """Lease what waits and drop its carriers, as the courier does; return how many."""
    taken = await transport.take(NDXP, 128)
    await commit(ledger, *(lease(parcel.delivery) for parcel in taken))
    await transport.drop(NDXP, [parcel.delivery.env for parcel in taken])
    if not taken:
        await asyncio.sleep(0)
    return len(taken)
