"""Where OpenTelemetry is set up, one trace leads from the sender through the gateway to the receiver and back; where it is not, nothing is stated."""

import time

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lgsp.backends.memory import MemoryLedger
from lgsp.testing import BusSimulator
from lgsp.testing.bus import running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import BODY, VERIFY, VERIFY_SCHEMA, World
from lgsp.tracing import Traces

OFFICE = "H01.12/vnfishbase"
STATED = {"legalbasis": "dpv:LegalObligation", "procedure": "1.004359", "authid": "7f3a91"}
GRANTED = {
    "purposes": ["dpv:IdentityVerification"], "legalbases": ["dpv:LegalObligation"], "procedures": ["1.004359"], "officers": ["7f3a91"],
}  # fmt: skip
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01"
ATTRIBUTES = {"lgsp.type", "lgsp.lane", "lgsp.code", "lgsp.env"}


@pytest.fixture
def exporter(monkeypatch):
    """Set up OpenTelemetry for this test alone; its own door for that opens once in a process."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield kept
    provider.shutdown()


@pytest.fixture
async def bus():
    async with BusSimulator() as bus:
        bus.grant(OFFICE, VERIFY, to="G01.02/population", **GRANTED)
        bus.answer(VERIFY, lambda _: {"result": "match"})
        yield bus


async def ask(bus, **stated):
    async with bus.client(OFFICE) as client:
        return await client.request(
            VERIFY,
            audience="urn:lgsp:agency:G01.02:sys:population",
            schema=VERIFY_SCHEMA,
            purpose="dpv:IdentityVerification",
            body=dict(BODY),
            **STATED,
            **stated,
        )


async def test_one_trace_leads_from_the_question_to_the_answer(exporter, bus):
    reply = await ask(bus)
    spans = exporter.get_finished_spans()
    assert len({span.context.trace_id for span in spans}) == 1
    by_id = {span.context.span_id: span for span in spans}

    def way(span):
        return [*way(by_id[span.parent.span_id]), span.name] if span.parent else [span.name]

    ways = sorted(tuple(way(span)) for span in spans)
    asked, answered = ("lgsp.send",), ("lgsp.send", "lgsp.handle", "lgsp.send")
    assert ways == sorted(
        [asked, (*asked, "lgsp.accept"), (*asked, "lgsp.deliver"), (*asked, "lgsp.handle"),
         answered, (*answered, "lgsp.accept"), (*answered, "lgsp.deliver")]
    )  # fmt: skip
    [question] = [span for span in spans if span.parent is None]
    assert format(question.context.trace_id, "032x") in reply.manifest.text("traceparent")


async def test_a_span_says_type_lane_and_env_hash_and_nothing_of_the_body(exporter, bus):
    await ask(bus)
    spans = exporter.get_finished_spans()
    assert {name for span in spans for name in span.attributes} <= ATTRIBUTES
    [accepted] = [span for span in spans if span.name == "lgsp.accept" and span.attributes["lgsp.type"] == VERIFY]
    assert accepted.attributes["lgsp.lane"] == "request"
    assert accepted.attributes["lgsp.env"].startswith("sha-256:")
    assert not any(str(value) in str(span.to_json()) for span in spans for value in BODY.values())


async def test_an_envelope_that_comes_again_is_not_told_as_accepted_twice(exporter):
    world = World.make()
    clock = ManualClock(world.now)
    sent = world.envelope(traceparent=PARENT)
    async with running_bus(world, MemoryLedger(), clock=clock, entropy=SeededEntropy(1, clock)) as gateway:
        receipts = {(await gateway.ingress.submit(sent, peer="test")).receipt for _ in range(2)}
    assert len(receipts) == 1
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == ["lgsp.accept", "lgsp.again"]
    assert {span.attributes["lgsp.env"] for span in spans} == {sent.hash}


async def test_a_trace_that_a_program_states_itself_is_kept(exporter, bus):
    await ask(bus, traceparent=PARENT)
    named = {
        span.name
        for span in exporter.get_finished_spans()
        if format(span.context.trace_id, "032x") in PARENT and span.parent
    }
    assert named == {"lgsp.accept", "lgsp.deliver", "lgsp.handle", "lgsp.send"}


async def test_without_opentelemetry_nothing_is_stated(bus):
    reply = await ask(bus)
    assert reply.manifest.text("traceparent") == ""


def test_of_what_goes_wrong_in_a_span_only_the_kind_is_told(exporter):
    with pytest.raises(LookupError), Traces.found().span("handle", parent=PARENT, type=VERIFY):
        raise LookupError("no citizen 099123456789")
    [span] = exporter.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (trace.StatusCode.ERROR, "LookupError")
    assert "099" not in span.to_json()


def test_a_span_that_nobody_records_costs_next_to_nothing():
    traces = Traces.found()
    assert not traces.are_on
    began = time.perf_counter()
    for _ in range(10_000):
        with traces.span("accept", parent=PARENT, type=VERIFY, env="sha-256:x"):
            pass
    assert (time.perf_counter() - began) / 10_000 < 20e-6
