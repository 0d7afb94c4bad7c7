"""What a long log costs: the check of all of it, a proof, a start, a search, who used one person's data.

Its entries are those of exchanges that have been forgotten since, and of which what stays was moved off.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

from lgsp.backends.sql import SqliteLedger
from lgsp.bus.logtree import LogTree
from lgsp.bus.persons import Question
from lgsp.bus.searching import Reader
from lgsp.bus.supervisor import Bus
from lgsp.cli.log_checks import log
from lgsp.domain import jws, subjects
from lgsp.domain.entries import draft
from lgsp.domain.selection import Selection
from lgsp.machine import SystemClock, SystemEntropy
from lgsp.ports.ledger import Accept, Note, SubjectLink
from lgsp.testing.bus import running_bus
from lgsp.testing.samples import accept, sign_receipts
from lgsp.testing.world import AUDITOR, FISHERIES, GATEWAY, NDXP, VERIFY, VERIFY_SCHEMA, World

NAME: Final = "log"
AT_ONCE: Final = 3_000
AGE: Final = timedelta(days=100)
"""How old the entries are: their exchanges have been forgotten."""
PROOFS: Final = 200
STARTS: Final = 5
SECONDS: Final = 10.0
"""Of cataloguing, after which it is asked whether the end is reached."""
USES: Final = 100
"""Exchanges that name the person who asks: a page."""
QUESTIONS: Final = 20
PERSON: Final = subjects.person("CCCD", "099185000017")


async def measure(folder: Path, entries: int) -> dict[str, Any]:
    """Return what it takes on an SQLite file with so many entries: the whole check, a proof, a start's check, cataloguing, searches."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    world = World.make()
    store = SqliteLedger.open(folder / "bus.sqlite", create=True)
    try:
        async with running_bus(world, store, clock=SystemClock(), entropy=SystemEntropy()) as bus:
            await _fill(bus, entries)
            await bus.auditor.keep()
            size = await store.size()
            catalogued = await _catalogue(bus)  # first: it would go on beside everything that is measured then
            return {
                "entries": size,
                "verified_per_s": size / await _check_all(folder / "bus.sqlite", size),
                "proof_ms": await _prove(bus, size) * 1e3,
                "start_ms": await _start(bus) * 1e3,
                "catalogued_per_s": size / catalogued,
                "searched_per_s": size / await _search(bus, Selection(event="log.closed")),
                "found_ms": await _search(bus, Selection(env=jws.hash_of(b"7"))) * 1e3,
                "usages_ms": await _ask(bus, store) * 1e3,
            }
    finally:
        await store.close()


async def _fill(bus: Bus, entries: int) -> None:
    for start in range(0, entries, AT_ONCE):
        numbers = range(start // 3, (start + min(AT_ONCE, entries - start)) // 3)
        await bus.sequencer.submit(*(note for number in numbers for note in _exchange(bus, number)))
    # By the last entry of all the check knows when it is now, and by the last of a piece whether exchanges of that piece may be held.
    rest = -await bus.ledger.size() % log.AT_ONCE
    await bus.sequencer.submit(*[_reading(bus.clock.now() - AGE)] * rest, _reading(bus.clock.now()))


def _reading(at: datetime) -> Note:
    return Note(entry=draft("audit.read", at=at, bus=GATEWAY, by=AUDITOR))


def _exchange(bus: Bus, number: int) -> list[Note]:
    """Return what the log says of one exchange."""
    at, env = bus.clock.now() - AGE, jws.hash_of(b"%d" % number)
    common = {"env": env, "id": bus.entropy.uuid7(), "src": FISHERIES, "aud": NDXP, "type": VERIFY}
    accepted = draft(
        "msg.accepted",
        at=at,
        bus=GATEWAY,
        **common,
        schema=VERIFY_SCHEMA,
        policy=1,
        rule="g-17",
        kid="PJQy0VZ16B2GGhIhyTDsrTj-zQAKY3THQeXvQ5UImGY",
        purpose="dpv:IdentityVerification",
        sc=["WKqxgf5_pvMuVAzorLJBwFaN2TdkGhxB4drr6iTOMkU"],
    )
    delivered = draft("msg.delivered", at=at, bus=GATEWAY, **common, to=NDXP, attempt=1)
    acked = draft("msg.acked", at=at, bus=GATEWAY, **common, to=NDXP, stmt=env)
    return [Note(entry=entry) for entry in (accepted, delivered, acked)]


async def _catalogue(bus: Bus) -> float:
    began = time.perf_counter()
    while await bus.sweep.cataloguer.follow(SECONDS) < await bus.ledger.size():
        await asyncio.sleep(0)
    return time.perf_counter() - began


async def _search(bus: Bus, selection: Selection) -> float:
    """Return the seconds of a whole search; one that has no index looks at every entry."""
    began, start, stop = time.perf_counter(), 0, None
    while start is not None:
        page = await bus.searcher.page(Reader(by="local", allowed=True), selection, start=start, stop=stop, limit=1_000)
        start, stop = page.next, page.stop
    return time.perf_counter() - began


async def _check_all(path: Path, size: int) -> float:
    """Return the seconds of the check of a whole log as the command makes it, without the time that Python takes to load it."""
    year = (SystemClock().now() - AGE).year
    command = [sys.executable, "-m", "tests.bench.logcheck", str(path), str(year), str(year + 1)]
    ended = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, check=True, text=True)
    checked, seconds = ended.stdout.split()
    if int(checked) < size:
        raise RuntimeError(f"{checked} entries were checked")
    return float(seconds)


async def _prove(bus: Bus, size: int) -> float:
    chance = random.Random(1)
    spent = []
    for _ in range(PROOFS):
        index = chance.randrange(size)
        began = time.perf_counter()
        await bus.auditor.proof(index)  # which checks the path that it gives
        spent.append(time.perf_counter() - began)
    return median(spent)


async def _start(bus: Bus) -> float:
    spent = []
    for _ in range(STARTS):
        bus.auditor.tree = LogTree(ledger=bus.auditor.ledger, nodes=bus.auditor.tree.nodes)
        began = time.perf_counter()
        await bus.auditor.check()
        spent.append(time.perf_counter() - began)
    return median(spent)


async def _ask(bus: Bus, store: SqliteLedger) -> float:
    pseudonym = PERSON.pseudonym(bus.persons.keys.newest)
    version = bus.registry.current.version
    await store.commit([_naming(number, version, pseudonym) for number in range(1, USES + 1)], sign_receipts)
    spent = []
    for _ in range(QUESTIONS):
        began = time.perf_counter()
        answer = await bus.persons.usages(Question(person=PERSON, whole=False, limit=USES), by=AUDITOR)
        spent.append(time.perf_counter() - began)
        if len(answer.usages) != USES:
            raise RuntimeError(f"{len(answer.usages)} uses were told")
    return median(spent)


def _naming(number: int, version: int, pseudonym: bytes) -> Accept:
    """Return the operation that accepts an event which names a person."""
    salt = number.to_bytes(subjects.SALT_BYTES)
    link = SubjectLink(pseudonym=pseudonym, salt=salt, commitment=subjects.commitment(salt, pseudonym))
    return replace(accept(number, to=(), head=version), subjects=(link,))
