"""Chaos under load: programs killed and paused, links cut and slow, disks full, at random moments; and then an exact account.

Twenty faults in the quick run, three hundred in the long one. Seeds are printed; `LGSP_CHAOS_SEED` repeats one.
"""

import os
import random
import sys

import pytest

from tests.chaos import engines
from tests.chaos.account import findings, table
from tests.chaos.bus import chaotic_bus
from tests.chaos.cluster import three_nodes
from tests.chaos.faults import LEADER, Pace, deal
from tests.chaos.storm import calm, storm

GATEWAY_MB = 260
"""Memory that a gateway may have held at most, whatever happened."""
RATE = 50
"""Notes a second; with replies and their acks some 75 exchanges."""
QUICK, LONG = Pace(), Pace(away=3.0, longest=8.0, minutes=1)
QUEUE_LOST = '"event": "broker.queue_dead"'


@pytest.fixture
def chaos_seed(request):
    """Return the seed of the faults and their moments: a new one, or that of `LGSP_CHAOS_SEED`."""
    seed = int(os.environ.get("LGSP_CHAOS_SEED", random.randrange(1_000_000)))
    sys.stdout.write(f"LGSP_CHAOS_SEED={seed} repeats the faults of {request.node.name}\n")
    return seed


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with engines.one_broker(tmp_path_factory.mktemp("broker")) as engine:
        yield engine


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    with engines.one_database(tmp_path_factory.mktemp("database")) as engine:
        yield engine


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with three_nodes(tmp_path_factory.mktemp("cluster")) as engine:
        yield engine


def dealt(bus, seed, count, pace, spared):
    """Return so many faults for a bus; the disks of those who are spared do not run full."""
    victims = [*bus.victims, *([LEADER] if bus.ground.leader else [])]
    return deal(seed, count, victims=victims, links=bus.links, disks=set(bus.disks) - set(spared), pace=pace)


async def weather(folder, seed, count, *, pace=LONG, spared=(), **shape):
    """Run a bus of a shape through so many faults, check the account, and return what its gateways logged."""
    async with chaotic_bus(folder, rate=RATE, **shape) as bus:
        faults = dealt(bus, seed, count, pace, spared)
        took = await storm(bus, faults)
        settled = await calm(bus)
        codes = await bus.end()
        books = await bus.books()
    for fault, seconds in zip(faults, took, strict=True):
        sys.stdout.write(f"{fault!s:<36} works again after {seconds:.1f} s\n")
    peaks = {gateway.name: gateway.peak_mb for gateway in bus.gateways}
    sys.stdout.write(f"{table(books)}\nsettled after {settled:.1f} s; most memory, MB: {peaks}\n")
    assert [str(finding) for finding in findings(books)] == []
    assert len(books.ledger.exchanges) > len(faults)
    assert {name: bus.processes[name].last_words() for name, code in codes.items() if code} == {}
    assert {process.name: process.fell for process in bus.processes.values() if process.fell} == {}
    assert max(peaks.values()) < GATEWAY_MB
    return "".join(gateway.log.read_text(encoding="utf-8") for gateway in bus.gateways)


@pytest.mark.timeout(300)
async def test_eight_faults_of_an_embedded_bus_lose_and_double_nothing(tmp_path, chaos_seed):
    await weather(tmp_path, chaos_seed, 8, pace=QUICK)


@pytest.mark.timeout(300)
async def test_twelve_faults_of_two_gateways_on_their_engines_lose_and_double_nothing(
    tmp_path, chaos_seed, broker, database
):
    # A broker whose disk was full is started anew and makes its queues anew: half a minute, left to the long run.
    shape = {"broker": broker, "database": database, "gateways": 2}
    await weather(tmp_path, chaos_seed, 12, pace=QUICK, spared=["broker"], **shape)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("nth", range(2))
async def test_forty_faults_of_an_embedded_bus_lose_and_double_nothing(tmp_path, chaos_seed, nth):
    await weather(tmp_path, chaos_seed + nth, 40)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("nth", range(2))
async def test_thirty_faults_of_a_bus_on_a_broker_lose_and_double_nothing(tmp_path, chaos_seed, nth, broker):
    await weather(tmp_path, chaos_seed + nth, 30, broker=broker)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(("nth", "gateways"), [(0, 1), (1, 2), (2, 2), (3, 3)])
async def test_thirty_faults_of_gateways_on_their_engines_lose_and_double_nothing(
    tmp_path, chaos_seed, nth, gateways, broker, database
):
    await weather(tmp_path, chaos_seed + nth, 30, broker=broker, database=database, gateways=gateways)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("nth", range(2))
async def test_twenty_faults_of_a_bus_on_a_cluster_lose_no_queue_with_its_leader(
    tmp_path, chaos_seed, nth, cluster, database
):
    said = await weather(tmp_path, chaos_seed + nth, 20, broker=cluster, database=database, gateways=2)
    assert said.count(QUEUE_LOST) == 0
