"""Reads the books: boxes of systems, the ledger on either engine, the broker's queues. What they mean is the accountant's."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import aio_pika
import asyncpg
from aio_pika.exceptions import ChannelNotFoundEntity

from lgsp.backends.rabbitmq.topology import queue_name
from lgsp.domain.lanes import LANES
from lgsp.sdk import SystemSettings
from tests.bench.bus.province import BUS
from tests.chaos.account import Box, Exchange, Ledger, Letter

EXCHANGES: Final = "SELECT env, source, id, type, cause FROM exchange"
DELIVERIES: Final = "SELECT env, inbox, state FROM delivery"
ENTRIES: Final = "SELECT seq, data FROM entry ORDER BY seq"
BODIES: Final = "SELECT count(*) FROM body"
SETTLING: Final = frozenset({"msg.acked", "msg.expired", "msg.parked"})
SECONDS: Final = 30.0


def read_box(settings_file: Path) -> Box:
    """Return what a system's box says; the program may be running."""
    settings = SystemSettings.load(settings_file, {})
    box = Box(system=settings.system)
    if not settings.box.exists():
        return box
    with contextlib.closing(_open(settings.box)) as found:
        letters = [
            _letter(*row) for row in found.execute("SELECT id, env, state, type, audience, receipt FROM lgsp_outbox")
        ]
        box.letters = {letter.id: letter for letter in letters}
        box.outcomes = {
            (env, to): state
            for env, to, state in found.execute(
                "SELECT o.env, receiver, c.state FROM lgsp_outcomes c JOIN lgsp_outbox o USING (seq)"
            )
        }
        box.marks = dict(found.execute("SELECT env, state FROM lgsp_inbox"))
        box.notes = dict(_own(found, "chaos_note", "number, id"))
        box.replies = _own(found, "chaos_reply", "number, env")
        box.effects = _own(found, "chaos_effect", "number, source, env")
    return box


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)


def _own(box: sqlite3.Connection, table: str, columns: str) -> list[Any]:
    """Return the rows of a table of the program's own, none where it has none yet."""
    has = box.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return box.execute(f"SELECT {columns} FROM {table} ORDER BY rowid").fetchall() if has else []


def _letter(id_: str, env: str, state: str, type_: str, audience: str, receipt: str | None) -> Letter:
    index = json.loads(json.loads(receipt)["item"])["index"] if receipt else None
    return Letter(id=id_, env=env, state=state, type=type_, audience=audience, index=index)


def progress(settings_files: Iterable[Path]) -> int:
    """Return how many acks the boxes of these systems hold so far: what goes up while the bus works."""
    return sum(_acked(SystemSettings.load(path, {}).box) for path in settings_files)


def _acked(path: Path) -> int:
    if not path.exists():
        return 0
    with contextlib.closing(_open(path)) as box, contextlib.suppress(sqlite3.OperationalError):
        return int(box.execute("SELECT count(*) FROM lgsp_outcomes WHERE state = 'acked'").fetchone()[0])
    return 0


def under_way(settings_files: Iterable[Path]) -> int:
    """Return how many envelopes of these systems have not come to their end yet, as far as their boxes know."""
    boxes = [read_box(path) for path in settings_files]
    return sum(
        letter.state == "queued" or (letter.state == "receipted" and (letter.env, letter.audience) not in box.outcomes)
        for box in boxes
        for letter in box.letters.values()
    )


async def read_ledger(data: Path, database: str) -> Ledger:
    """Return what the ledger says, in the database at an address or, without one, in the data folder's file."""
    if database:
        return await _of_database(database)
    with contextlib.closing(_open(data / "bus.sqlite")) as file:
        rows = [file.execute(query).fetchall() for query in (EXCHANGES, DELIVERIES, ENTRIES, BODIES)]
    return _ledger(*rows)


async def _of_database(address: str) -> Ledger:
    connection = await asyncpg.connect(address, timeout=SECONDS)
    try:
        rows = [await connection.fetch(query, timeout=SECONDS) for query in (EXCHANGES, DELIVERIES, ENTRIES, BODIES)]
    finally:
        await connection.close(timeout=SECONDS)
    return _ledger(*rows)


def _ledger(
    exchanges: Sequence[Any], deliveries: Sequence[Any], entries: Sequence[Any], bodies: Sequence[Any]
) -> Ledger:
    accepted: dict[str, list[int]] = {}
    settled: Counter[str] = Counter()
    for seq, data in entries:
        entry = json.loads(data)
        if entry["ev"] == "msg.accepted":
            accepted.setdefault(entry["env"], []).append(seq)
        elif entry["ev"] in SETTLING:
            settled[entry["env"]] += 1
    return Ledger(
        exchanges={
            env: Exchange(env=env, source=source, id=id_, type=type_, cause=cause)
            for env, source, id_, type_, cause in exchanges
        },
        deliveries={(env, inbox): state for env, inbox, state in deliveries},
        bodies=bodies[0][0],
        accepted=accepted,
        settled=settled,
        entries=len(entries),
    )


async def read_queues(broker: str, systems: Iterable[str]) -> dict[str, int]:
    """Return how many messages are ready in each queue of these systems; with no gateway connected that is all that there are."""
    names = [queue_name(BUS, system, lane) for system in systems for lane in LANES]
    async with await aio_pika.connect(broker, timeout=SECONDS) as connection:
        return {name: await _count(connection, name) for name in names}


async def _count(connection: aio_pika.abc.AbstractConnection, name: str) -> int:
    try:
        async with connection.channel() as channel:
            queue = await channel.declare_queue(name, passive=True, timeout=SECONDS)
            return queue.declaration_result.message_count or 0
    except ChannelNotFoundEntity:
        return 0  # nothing was ever sent there
