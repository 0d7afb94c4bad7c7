"""The description of the calls: valid, whole, and true of every answer."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from lgsp.backends.memory import MemoryLedger
from lgsp.domain import envelope, strictjson
from lgsp.domain.retry import RetryPolicy
from lgsp.errors import catalogue
from lgsp.http import admin, edge, openapi
from lgsp.testing.bus import ack_of
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import FISHERIES, NDXP, OFFICER, VERIFY_SCHEMA, World

NUMBER = "099185000017"
"""Whom the made-up world's questions are about."""
NONCE = "A" * 43
STRUCTURED = {"Content-Type": envelope.MEDIA_TYPE}


@asynccontextmanager
async def opened(world, **changes):
    clock = changes.pop("clock", None) or ManualClock(world.now)
    async with running_edge(world, MemoryLedger(), clock=clock, entropy=SeededEntropy(1), **changes) as running:
        yield running


@pytest.fixture(scope="module")
def document():
    return openapi.document((*edge.CALLS, *admin.COMMANDS), version="1.2.3")


def operations(document):
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


async def test_the_gateway_gives_its_description_as_the_document_of_its_calls(world, document):
    async with opened(world) as running:
        answer = await running.call("GET", "/openapi.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    given = json.loads(answer.body)
    assert given["info"].pop("version")
    assert given == document | {"info": {name: document["info"][name] for name in ("title", "description")}}


def test_the_document_is_an_openapi_document(document):
    assert document["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


async def test_every_route_of_the_port_is_described_and_nothing_else(world, document):
    async with opened(world) as running:
        routes = {(route.method, route.resource.canonical) for route in running.running.runner.app.router.routes()}
    assert operations(document).keys() == routes


def test_every_code_that_is_described_stands_at_its_status_in_both_languages(document):
    told = document["x-refusals"]
    for operation in operations(document).values():
        for status, response in operation["responses"].items():
            if int(status) < 400:
                continue
            [_, narrowed] = response["content"]["application/problem+json"]["schema"]["allOf"]
            codes = narrowed["properties"]["code"]["enum"]
            assert codes
            assert {catalogue()[code].status for code in codes} == {int(status)}
            assert set(codes) <= told.keys()
    assert all(entry["title"]["vi"] and entry["hint"]["vi"] for entry in told.values())


def test_every_integer_of_a_query_is_described_with_its_bounds(document):
    integers = [
        each["schema"]
        for operation in operations(document).values()
        for each in operation["parameters"]
        if each["schema"].get("type") == "integer" and each["in"] == "query"
    ]
    assert len(integers) >= 8
    assert all({"minimum", "maximum"} <= schema.keys() and not {"ge", "le"} & schema.keys() for schema in integers)


def test_every_call_says_in_both_languages_what_it_does(document):
    found = operations(document)
    assert len({operation["operationId"] for operation in found.values()}) == len(found)
    for operation in found.values():
        assert operation["summary"].endswith(".")
        assert operation["x-summary-vi"].endswith(".")


async def ask(running, path, members=None, *, signer="officer"):
    """Make a call and return what it tells; a POST where there are members."""
    body = b"" if members is None else strictjson.compact(members)
    answer = await running.call("GET" if members is None else "POST", path, signer=signer, body=body)
    assert answer.status == 200, answer.body
    return answer.members if "json" in answer.headers["Content-Type"] else {}


async def settle(running, world):
    """Send a request that is answered in time, and one that is not; leave one of each kind behind."""
    request = world.envelope()
    checked = await running.call("POST", "/v1/check", body=strictjson.compact(request.structured()), headers=STRUCTURED)
    assert checked.members["verdict"] == "accepted"
    asking = asyncio.create_task(running.post(request, Prefer="wait=10"))
    [_] = (await ask(running, "/v1/inbox?max=1&wait=5", signer="ndxp"))["items"]
    assert (await running.post_structured(world.reply(request))).status == 202
    assert (await asking).status == 200
    another = world.envelope(number=2)
    await running.post(another)
    [held] = (await ask(running, "/v1/inbox?wait=1", signer="ndxp"))["items"]
    [ack] = ack_of(world, "ndxp", NDXP, request.hash)
    groups = {
        "acks": [ack.wire()],
        "extend": [{"env": another.hash, "lease": held["lease"]}],
        "nacks": [
            {"env": another.hash, "lease": held["lease"], "code": "busy"},
            {"env": another.hash, "lease": "x", "code": "busy"},
        ],
    }
    results = await ask(running, "/v1/acks", groups, signer="ndxp")
    assert ["problem" in each for name in groups for each in results[name]] == [False, False, False, True]
    [outcome, *_] = (await ask(running, "/v1/outcomes", signer="fisheries"))["items"]
    seen = {"seen": [{"env": outcome["env"], "to": outcome["to"]}]}
    assert "problem" not in (await ask(running, "/v1/acks", seen, signer="fisheries"))["seen"][0]
    return request


async def look_up(running, request):
    """Ask for all that can be read."""
    await ask(running, f"/v1/envelopes/{request.hash}", signer="fisheries")
    await ask(running, f"/v1/schemas/{VERIFY_SCHEMA}", signer="")
    for path in (
        "/v1/directory", "/v1/directory?version=1", "/v1/services", "/v1/audit/checkpoint", "/v1/audit/proof?index=0", "/v1/audit/tile/0/000.p/1",
        "/healthz", "/readyz", "/metrics", "/openapi.json",
    ):  # fmt: skip
        await ask(running, path, signer="")
    await ask(running, "/v1/audit/tile/entries/000.p/1", signer="auditor")
    await ask(running, "/v1/audit/entries?event=msg.accepted&limit=1", signer="auditor")
    await ask(running, "/v1/audit/entries", {"person": {"scheme": "CCCD", "number": NUMBER}}, signer="auditor")
    await ask(running, f"/v1/evidence/{request.hash}", signer="fisheries")
    bundle = await ask(running, f"/v1/evidence/{request.hash}", {"reason": "a complaint"}, signer="auditor")
    assert bundle["reply"]
    await ask(running, "/admin/evidence/body", {"env": request.hash, "reason": "a complaint"})


async def decide_on_parked(running, world):
    """Read, replay and drop what is parked."""
    for number in (11, 12):
        wire = world.envelope(number=number)
        await running.bus.ingress.submit(wire, peer="test")
        for handed in await running.bus.courier.pull(NDXP, limit=9, wait=0):
            await running.bus.settlement.put_back(
                NDXP, env=handed.env, lease=handed.lease, code="broken", retry_after=None
            )
    listed = await ask(running, f"/admin/parked?system={NDXP}&code=broken&limit=1")
    assert listed["total"] > 1
    assert (await ask(running, f"/admin/parked/{wire.hash}"))["entries"]
    await ask(running, "/admin/parked/read", {"env": wire.hash, "reason": "looked at"})
    decision = {"deliveries": [{"env": wire.hash}], "reason": "mended"}
    assert await ask(running, "/admin/parked/drop", decision) == {"results": [{}]}
    [result] = (await ask(running, "/admin/parked/replay", decision))["results"]
    assert result["code"] == "not_parked"


async def ask_about_persons(running, clock):
    """Ask who used data and whom a breach reached; withhold, erase, change keys."""
    whom = {"scheme": "CCCD", "number": NUMBER}
    assert (await ask(running, "/v1/usages", whom, signer="auditor"))["findUsage"]
    until = envelope.format_time(clock.now() + timedelta(days=9))
    rule = {"procedure": "1.004359", "basis": "a law", "until": until, "reason": "asked for"}
    made = await ask(running, "/admin/withholding", rule, signer="auditor")
    await ask(running, "/admin/withholding/end", {"id": made["id"], "reason": "over"}, signer="auditor")
    assert (await ask(running, "/admin/withholding", signer="auditor"))["rules"][0]["ended"]
    since = envelope.format_time(clock.now() - timedelta(hours=1))
    suspicion = {"suspect": "system", "name": FISHERIES, "since": since, "until": until}
    assert (await ask(running, "/admin/impact", suspicion | {"nonce": NONCE}, signer="auditor"))["items"]
    wanted = {"suspicion": suspicion, "persons": [whom], "nonce": NONCE}
    asked = await ask(
        running, "/admin/impact/ask-names", {"request": wanted, "reason": "to tell them"}, signer="auditor"
    )
    assert (await ask(running, "/admin/impact/name", {"request": wanted} | asked))["places"] == [0]
    await ask(running, "/admin/subject/erase", whom | {"reason": "a court said so"}, signer="auditor")
    assert len((await ask(running, "/admin/subject/keys/rotate", {"reason": "yearly"}))["keys"]) == 2
    assert len((await ask(running, "/admin/subject/keys/retire", {"reason": "old"}))["keys"]) == 1


async def look_after_the_gateway(running, world, clock):
    """Tell the status, destroy a day's key, put a directory in place."""
    assert (await ask(running, "/admin/status"))["ready"]
    [day, *_] = (await ask(running, "/admin/bodies"))["days"]
    clock.advance(timedelta(days=2).total_seconds())
    await ask(running, "/admin/bodies/destroy", {"day": day["day"], "reason": "asked for", "even_undelivered": True})
    after = World.make(version=2, prev=world.directory.hash, changes={OFFICER: {"roles": []}})
    records = [record.decode() for record in after.directory.encoded]
    publication = {"statement": after.directory.statement.decode(), "records": records, "reason": "a new version"}
    assert await ask(running, "/admin/directory", publication) == {"version": 2}


async def test_every_good_answer_of_every_call_is_as_it_is_described(description):
    """The fixture around each call holds its answer against the description; here all of them are seen."""
    world = World.make(changes={OFFICER: {"roles": ["auditor", "operator", "registrar", "viewer"]}})
    clock = ManualClock(world.now)
    description.seen.clear()
    async with opened(world, clock=clock, retry=RetryPolicy(attempts=1)) as running:
        request = await settle(running, world)
        await look_up(running, request)
        await decide_on_parked(running, world)
        await ask_about_persons(running, clock)
        await look_after_the_gateway(running, world, clock)
    good = {
        (method, path, status)
        for (method, path), operation in operations(description.document).items()
        for status in operation["responses"]
        if status < "300"
    }
    assert good - description.seen == {("GET", "/v1/stream", "101")}
