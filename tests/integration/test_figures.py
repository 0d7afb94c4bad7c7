"""`/metrics`: every stage of an exchange is timed, what waits and how old it is stands there, and no label names a person or grows without bound."""

import asyncio
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lgsp.backends.memory import MemoryLedger
from lgsp.bus.figures import FOLLOWED, SECONDS, STAGES, Distribution, Figures
from lgsp.testing.bus import ack_of
from lgsp.testing.edge import running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.samples import accept
from lgsp.testing.world import BODY, NDXP

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "stage", "le", "state", "part", "engine", "inbox", "lane", "method", "route", "status", "code", "outcome", "what", "gateway", "version",
}  # fmt: skip


@pytest.fixture
async def edge(world, clock):
    async with running_edge(world, MemoryLedger(), clock=clock, entropy=SeededEntropy(1, clock)) as edge:
        yield edge


async def told(edge):
    """Return all samples by name and labels."""
    answer = await edge.call("GET", "/metrics")
    families = text_string_to_metric_families(answer.body.decode())
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples
    }


def counted(samples, stage):
    return samples["lgsp_stage_seconds_count", ("stage", stage)]


async def exchanged(edge, world):
    """Send a request that is refused, one that is delivered by stream and acked, and one that is pulled."""
    await edge.post(world.envelope(number=9, purpose="dpv:Marketing"))
    async with edge.stream("ndxp") as stream:
        await stream.give(credit=1)
        wire = world.envelope(number=1)
        await edge.post(wire)
        await stream.receive("deliver")
        await stream.ack(ack_of(world, "ndxp", NDXP, wire.hash)[0])
        await stream.receive("settled")
    await edge.post(world.envelope(number=2))
    await edge.post(world.envelope(number=2))
    await edge.call("GET", "/v1/inbox", signer="ndxp")


async def test_every_stage_of_an_exchange_is_timed(edge, world):
    await exchanged(edge, world)
    samples = await told(edge)
    for stage, times in {
        "submit": 4, "read": 5, "look_up": 2, "judge": 4, "commit": 3, "settle": 1, "exchange": 1, "hand_over": 2, "lease": 1, "authenticate": 1,
    }.items():  # fmt: skip
        assert counted(samples, stage) == times, stage
    assert counted(samples, "sign") >= 2
    assert counted(samples, "transaction") == samples["lgsp_commit_operations_count",] >= 4
    assert samples["lgsp_envelopes_total", ("outcome", "accepted")] == 2
    assert samples["lgsp_envelopes_total", ("outcome", "duplicate")] == 1
    assert samples["lgsp_envelopes_total", ("outcome", "rejected")] == 1
    assert samples["lgsp_delivery_moves_total", ("state", "acked")] == 1
    assert samples["lgsp_deliveries_in_flight",] == 1
    assert samples["lgsp_ready",] == samples["lgsp_part_ok", ("part", "ledger")] == 1
    assert samples["lgsp_engine_answer_seconds", ("engine", "ledger")] >= 0


async def test_what_waits_is_shown_with_its_age_by_lane(edge, world, clock):
    await edge.post(world.envelope())
    clock.advance(30)
    await edge.bus.room.refresh()
    await edge.bus.vitals.read()
    samples = await told(edge)
    assert samples["lgsp_oldest_waiting_seconds", ("lane", "request")] == 30
    assert samples["lgsp_oldest_waiting_seconds", ("lane", "bulk")] == 0
    assert samples["lgsp_log_entries",] == await edge.bus.ledger.size()
    place = ("inbox", "H01.05/ndxp"), ("lane", "request"), ("state", "queued")
    assert samples["lgsp_inbox_deliveries", *place] == 1
    assert 0 < samples["lgsp_inbox_bytes", *place] < samples["lgsp_inbox_limit_bytes",]


async def test_a_figure_that_is_read_while_the_ledger_is_away_stays_as_it_was(edge, world, monkeypatch):
    await edge.bus.vitals.read()
    before = edge.bus.vitals.entries

    async def hang():
        await asyncio.Event().wait()

    with monkeypatch.context() as away:  # until the bus ends, which asks the ledger again
        away.setattr("lgsp.bus.vitals.READ_SECONDS", 0.01)
        away.setattr("lgsp.bus.vitals.EVERY", 0.01)
        away.setattr(edge.bus.ledger, "size", hang)
        async with asyncio.timeout(5):
            reading = asyncio.create_task(edge.bus.vitals.run())
            await asyncio.sleep(0.05)  # it is to go on: nothing tells that it does but that it has not ended
            assert not reading.done()
            reading.cancel()
    assert (await told(edge))["lgsp_log_entries",] == before > 0


async def test_no_label_is_other_than_ours_and_nothing_of_a_body_is_in_it(edge, world):
    await exchanged(edge, world)
    await edge.call("GET", "/v1/" + "a" * 40)
    await edge.bus.room.refresh()
    answer = await edge.call("GET", "/metrics")
    text = answer.body.decode()
    assert {name for names in re.findall(r"\{(.*?)\}", text) for name in re.findall(r"(\w+)=", names)} <= ALLOWED
    words = re.sub(r" [0-9.e+-]+$", "", text, flags=re.MULTILINE)  # a figure may hold any digits
    assert not any(str(value) in words for value in BODY.values())
    assert "a" * 40 not in text
    assert not re.search(r"sha-256|[0-9]{9}\"", text)


@pytest.mark.parametrize("guide", ["docs/operations.md", "docs/vi/operations.md"])
async def test_the_guide_explains_every_figure_with_its_labels_and_no_other(edge, world, guide):
    await exchanged(edge, world)
    edge.running.metrics.show_expiries({"tls": datetime(2027, 1, 2, tzinfo=UTC)})
    edge.running.metrics.show_certificate(lambda: 90.0, lambda: False)
    await edge.bus.room.refresh()
    answer = await edge.call("GET", "/metrics")
    families = list(text_string_to_metric_families(answer.body.decode()))
    given = {
        (family.name.removesuffix("_total"), label)
        for family in families
        for sample in family.samples
        for label in ["", *sample.labels]
        if family.name.startswith("lgsp_") and label != "le" and not sample.name.endswith("_created")
    }
    rows = re.findall(r"^\| `(lgsp_\w+)(?:\{([\w,]+)\})?` \|", (ROOT / guide).read_text(), re.MULTILINE)
    told = {(name.removesuffix("_total"), label) for name, labels in rows for label in {"", *labels.split(",")}}
    assert told == given


async def test_the_ends_of_certificate_and_keys_are_shown_as_moments(edge):
    moment = datetime(2027, 1, 2, tzinfo=UTC)
    edge.running.metrics.show_expiries({"tls": moment})
    assert (await told(edge))["lgsp_expiry_timestamp_seconds", ("what", "tls")] == moment.timestamp()


def test_a_distribution_counts_each_figure_under_its_bound():
    distribution = Distribution((1, 2, 4))
    for figure in (0.5, 1, 1.5, 4, 5):
        distribution.observe(figure)
    assert (distribution.counts, distribution.total) == ([2, 1, 1, 1], 12)


def test_the_bounds_rise_from_a_tenth_of_a_millisecond_to_a_minute():
    assert list(SECONDS) == sorted(set(SECONDS))
    assert (SECONDS[0], SECONDS[-1]) == (0.0001, 60)


def test_only_so_many_deliveries_are_followed_and_the_oldest_are_given_up():
    figures = Figures()
    [delivery] = accept(1).deliveries
    figures.accepted([delivery])
    figures._accepted.update({(f"env-{number}", "urn"): 0.0 for number in range(FOLLOWED)})
    figures.accepted(accept(2).deliveries)
    assert len(figures._accepted) == FOLLOWED
    figures.settled(delivery)
    assert sum(figures.stages["exchange"].counts) == 0


def test_an_observation_costs_next_to_nothing():
    figures = Figures()
    began = time.perf_counter()
    for _ in range(10_000):
        with figures.timed("read"):
            pass
    assert (time.perf_counter() - began) / 10_000 < 20e-6
    assert sum(figures.stages["read"].counts) == 10_000
    assert set(figures.stages) == set(STAGES)
