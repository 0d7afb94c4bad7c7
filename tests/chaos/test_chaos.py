"""Chaos under load: programs killed and paused, links cut and slow, disks full, at random moments; and then an exact account."""

import os
import random
import sys

import pytest

from tests.chaos import engines
from tests.chaos.account import findings, table
from tests.chaos.bus import chaotic_bus
from tests.chaos.faults import Pace, deal
from tests.chaos.storm import calm, storm

GATEWAY_MB = 260
"""Memory that a gateway may have held at most, whatever happened."""
QUICK, LONG = Pace(), Pace(away=3.0, longest=6.0, minutes=1)
RATE = 60


@pytest.fixture
def chaos_seed():
    """Return the seed of the faults and their moments: a new one, or that of `LGSP_CHAOS_SEED`."""
    seed = int(os.environ.get("LGSP_CHAOS_SEED", random.randrange(1_000_000)))
    sys.stdout.write(f"LGSP_CHAOS_SEED={seed} repeats these faults\n")
    return seed


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with engines.one_broker(tmp_path_factory.mktemp("broker")) as engine:
        yield engine


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    with engines.one_database(tmp_path_factory.mktemp("database")) as engine:
        yield engine


async def weather(folder, seed, count, pace, **shape):
    """Run a bus of a shape through so many faults, and check the account."""
    async with chaotic_bus(folder, rate=RATE, **shape) as bus:
        faults = deal(seed, count, victims=bus.victims, links=bus.links, disks=bus.disks, pace=pace)
        took = await storm(bus, faults)
        settled = await calm(bus)
        for process in bus.processes.values():
            process.weigh()
        codes = await bus.end()
        books = await bus.books()
    for fault, seconds in zip(faults, took, strict=True):
        sys.stdout.write(f"{fault!s:<36} works again after {seconds:.1f} s\n")
    peaks = {gateway.name: gateway.peak_mb for gateway in bus.gateways}
    sys.stdout.write(f"{table(books)}\nsettled after {settled:.1f} s; most memory {peaks}\n")
    assert [str(finding) for finding in findings(books)] == []
    assert len(books.ledger.exchanges) > count
    assert codes == dict.fromkeys(codes, 0)
    assert {process.name: process.fell for process in bus.processes.values() if process.fell} == {}
    assert max(peaks.values()) < GATEWAY_MB


@pytest.mark.timeout(300)
async def test_six_faults_of_an_embedded_bus_lose_and_double_nothing(tmp_path, chaos_seed):
    await weather(tmp_path, chaos_seed, 6, QUICK)


@pytest.mark.timeout(300)
async def test_fourteen_faults_of_a_bus_on_its_engines_lose_and_double_nothing(tmp_path, chaos_seed, broker, database):
    await weather(tmp_path, chaos_seed, 14, QUICK, broker=broker, database=database)
