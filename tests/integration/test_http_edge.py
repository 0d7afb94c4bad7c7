"""The edge as a caller sees it: real sockets on loopback, a whole bus in memory behind them."""

from __future__ import annotations

import asyncio
import io
import json
import stat
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest

from lgsp import logs
from lgsp.backends.memory import MemoryLedger
from lgsp.domain import checkpoint, directory, envelope, jws, merkle, notes, statements
from lgsp.domain.limits import LIMITS
from lgsp.errors import Unusable, catalogue
from lgsp.http import server
from lgsp.http.certificates import Certificates, TlsFiles
from lgsp.http.settings import HTTP_LIMITS
from lgsp.testing.authority import Authority
from lgsp.testing.bus import ack_of
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import (
    BUS,
    FISHERIES,
    GATEWAY,
    LOG,
    NDXP,
    VERIFY,
    VERIFY_SCHEMA,
    World,
    made_up_id,
    schema_documents,
    signer_named,
)
from lgsp.tls import trusting


@asynccontextmanager
async def opened(world, **changes):
    clock = changes.pop("clock", None) or ManualClock(world.now)
    async with running_edge(world, MemoryLedger(), clock=clock, entropy=SeededEntropy(1), **changes) as edge:
        yield edge


@pytest.fixture
async def edge(world):
    async with opened(world) as running:
        yield running


async def raw(edge, data, *, until_closed=True):
    """Send bytes as they are and return what comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.running.port)
    writer.write(data)
    await writer.drain()
    try:
        async with asyncio.timeout(10):
            return await reader.read() if until_closed else await reader.readuntil(b"}")
    finally:
        writer.close()


def parsed(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, body


def is_problem(status, headers, body, code):
    members = json.loads(body)
    assert headers["content-type"].split(";")[0] == "application/problem+json"
    assert members["code"] == code
    assert members["status"] == status == catalogue()[code].status
    assert members["type"] == f"urn:lgsp:refusal:{code}"
    assert members["request_id"] == headers["x-request-id"]
    assert members["title"]
    assert members["hint"]


# --- envelopes -----------------------------------------------------------------------------------------------------------------


async def test_an_envelope_in_binary_form_gets_a_receipt_that_verifies(edge, world):
    wire = world.envelope()
    answer = await edge.post(wire)
    assert answer.status == 202
    receipt = statements.from_wire(answer.members["receipt"])
    signed = statements.verify_signature(receipt.jws, world.signers["gateway"].public, typ=statements.RECEIPT)
    item = statements.open_item(receipt, signed)
    assert (item["env"], item["outcome"], signed.iss) == (wire.hash, "accepted", GATEWAY)
    assert answer.headers["Location"] == f"/v1/envelopes/{wire.hash}"


async def test_both_forms_of_one_envelope_get_the_first_receipt_byte_for_byte(edge, world):
    wire = world.envelope()
    first, second = await edge.post(wire), await edge.post_structured(wire)
    assert (second.status, second.body) == (202, first.body)


async def test_a_refused_envelope_gets_its_code_pointer_and_receipt(edge, world):
    answer = await edge.post(world.envelope(purpose="dpv:Marketing"))
    assert (answer.status, answer.code) == (403, "purpose_not_granted")
    assert answer.members["pointer"] == "/purpose"
    assert json.loads(answer.members["receipt"]["item"])["outcome"] == "rejected"


async def test_an_unproven_envelope_gets_no_receipt_and_is_counted(edge, world):
    wire = world.envelope()
    forged = replace(wire, compact=wire.compact[:-4] + b"AAAA")
    answer = await edge.post(forged)
    assert (answer.status, answer.code) == (401, "signature")
    assert "receipt" not in answer.members
    assert edge.bus.refusals.total["signature"] == 1


async def until(condition):
    """Wait for what nothing tells of: something that happens at the gateway's end."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def hang_up(edge, writer):
    """Cut a connection, and return when the gateway knows."""
    listener = edge.running.listener
    before = listener._active_count
    writer.transport.abort()
    await until(lambda: listener._active_count < before)


async def until_pulling(edge):
    """Wait until a pull of the bridge has begun to wait."""
    await until(lambda: edge.bus.courier.inbox(NDXP).pulls)


async def take_request(edge, signer="ndxp"):
    answer = await edge.call("GET", "/v1/inbox?max=1&wait=5", signer=signer)
    [item] = answer.members["items"]
    return item


async def test_a_caller_that_waits_gets_the_reply_in_the_same_answer(edge, world):
    request = world.envelope()
    asking = asyncio.create_task(edge.post(request, Prefer="wait=10"))
    item = await take_request(edge)
    assert envelope.from_structured(item["envelope"]) == request
    reply = world.reply(request)
    assert (await edge.post(reply)).status == 202
    answer = await asking
    assert answer.status == 200
    assert answer.headers["Preference-Applied"] == "wait=10"
    assert envelope.from_structured(answer.members["reply"]["envelope"]) == reply
    assert json.loads(answer.members["reply"]["receipt"]["item"])["env"] == reply.hash
    assert json.loads(answer.members["receipt"]["item"])["env"] == request.hash
    await until_final(edge, reply.hash)


async def until_final(edge, env):
    """Wait until the reply counts as given: that is noted after its answer is written."""
    async with asyncio.timeout(5):
        while not [held for held in await edge.bus.courier.inboxes.deliveries(env) if held.final]:
            await asyncio.sleep(0.005)


async def test_a_reply_that_does_not_come_in_time_comes_through_the_inbox(edge, world):
    request = world.envelope()
    answer = await edge.post(request, Prefer="respond-async, wait=1")
    assert (answer.status, answer.headers["Preference-Applied"]) == (202, "wait")
    await edge.post(world.reply(request))
    item = await take_request(edge, "fisheries")
    assert envelope.from_structured(item["envelope"]) == world.reply(request)


async def test_a_reply_for_a_caller_that_hung_up_comes_through_the_inbox(edge, world):
    request = world.envelope()
    head = (
        f"POST /v1/envelopes HTTP/1.1\r\nHost: x\r\nPrefer: wait=30\r\nlgsp-env: {request.compact.decode()}\r\n"
        f"Content-Length: {len(request.body)}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", edge.running.port)
    writer.write(head.encode() + request.body)
    await writer.drain()
    await take_request(edge)
    await hang_up(edge, writer)
    await edge.post(world.reply(request))
    item = await take_request(edge, "fisheries")
    assert envelope.from_structured(item["envelope"]) == world.reply(request)
    assert item["attempt"] == 1


async def test_deliveries_that_a_pull_left_behind_are_queued_again_uncounted(edge, world):
    path = "/v1/inbox?max=5&wait=30"
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {edge.authorization('ndxp', 'GET', path)}\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", edge.running.port)
    writer.write(head.encode())
    await writer.drain()
    await until_pulling(edge)
    await hang_up(edge, writer)
    await edge.post(world.envelope())
    assert (await take_request(edge))["attempt"] == 1


async def test_an_envelope_that_is_no_request_is_not_waited_for(edge, world):
    request = world.envelope()
    await edge.post(request)
    started = time.monotonic()
    answer = await edge.post(world.reply(request), Prefer="wait=30")
    assert answer.status == 202
    assert "Preference-Applied" not in answer.headers
    assert time.monotonic() - started < 5


async def test_a_repeated_request_is_not_waited_for(edge, world):
    wire = world.envelope()
    first = await edge.post(wire)
    again = await edge.post(wire, Prefer="wait=10")
    assert (again.status, again.members["receipt"]) == (202, first.members["receipt"])
    assert "Preference-Applied" not in again.headers


async def test_a_forged_request_waits_for_nothing(edge, world):
    wire = world.envelope()
    answer = await edge.post(replace(wire, compact=wire.compact[:-4] + b"AAAA"), Prefer="wait=30")
    assert answer.code == "signature"


@pytest.mark.parametrize("wait", ["0", "61", "-1", "1.5", "ten", "", "99999999999999999999"])
async def test_a_wait_out_of_bounds_is_refused(edge, world, wait):
    assert (await edge.post(world.envelope(), Prefer=f"wait={wait}")).code == "bad_request"


async def test_sender_and_receiver_read_what_became_of_an_envelope_and_strangers_do_not(edge, world):
    wire = world.envelope()
    await edge.post(wire)
    path = f"/v1/envelopes/{wire.hash}"
    for party in ("fisheries", "ndxp"):
        members = (await edge.call("GET", path, signer=party)).members
        assert (members["env"], members["type"], members["source"]) == (wire.hash, VERIFY, FISHERIES)
        [delivery] = members["deliveries"]
        assert (delivery["to"], delivery["state"], delivery["attempts"]) == (NDXP, "queued", 0)
        assert "lease" not in delivery
    assert (await edge.call("GET", path, signer="police")).code == "not_found"
    assert (await edge.call("GET", "/v1/envelopes/none", signer="fisheries")).code == "not_found"
    assert (await edge.call("GET", path)).code == "auth_missing"


# --- inbox, acks, outcomes -----------------------------------------------------------------------------------------------------


async def test_a_pulled_delivery_is_acked_and_its_outcome_told_until_it_is_seen(edge, world):
    wire = world.envelope()
    await edge.post(wire)
    item = await take_request(edge)
    assert item["attempt"] == 1
    [ack] = ack_of(world, "ndxp", NDXP, wire.hash)
    settled = await edge.post_acks("ndxp", acks=[ack.wire()])
    assert settled.members == {"acks": [{"env": wire.hash}]}
    for _ in range(2):
        [outcome] = (await edge.call("GET", "/v1/outcomes", signer="fisheries")).members["items"]
        assert outcome == {"env": wire.hash, "to": NDXP, "state": "acked", "code": "", "ack": ack.wire()}
    seen = await edge.post_acks("fisheries", seen=[{"env": wire.hash, "to": NDXP}])
    assert seen.members == {"seen": [{"env": wire.hash, "to": NDXP}]}
    assert (await edge.call("GET", "/v1/outcomes", signer="fisheries")).members["items"] == []


async def test_outcomes_after_an_env_hash_leave_out_what_stands_before_it(edge, world):
    wires = [world.envelope(number=number) for number in (1, 2, 3)]
    for wire in wires:
        await edge.post(wire)
    await edge.call("GET", "/v1/inbox?max=3&wait=5", signer="ndxp")
    acks = ack_of(world, "ndxp", NDXP, *(wire.hash for wire in wires))
    await edge.post_acks("ndxp", acks=[ack.wire() for ack in acks])
    path = f"/v1/outcomes?after={wires[0].hash}"
    told = (await edge.call("GET", path, signer="fisheries")).members["items"]
    assert [outcome["env"] for outcome in told] == [wires[1].hash, wires[2].hash]
    unknown = f"/v1/outcomes?after={jws.hash_of(b'another')}"
    assert len((await edge.call("GET", unknown, signer="fisheries")).members["items"]) == 3


async def test_each_of_a_batch_has_a_result_of_its_own(edge, world):
    first, second = world.envelope(number=1), world.envelope(number=2)
    for wire in (first, second):
        await edge.post(wire)
    items = (await edge.call("GET", "/v1/inbox?max=2&wait=5", signer="ndxp")).members["items"]
    leases = {envelope.from_structured(item["envelope"]).hash: item["lease"] for item in items}
    [ack] = ack_of(world, "ndxp", NDXP, first.hash)
    [foreign] = ack_of(world, "police", NDXP, second.hash)
    answer = await edge.post_acks(
        "ndxp",
        acks=[ack.wire(), foreign.wire(), {"jws": "x"}],
        extend=[{"env": second.hash, "lease": leases[second.hash]}, {"env": second.hash, "lease": "another"}],
        nacks=[],
    )
    results = answer.members
    assert results["acks"][0] == {"env": first.hash}
    assert [result["problem"]["code"] for result in results["acks"][1:]] == ["ack_invalid", "ack_invalid"]
    assert results["extend"][0]["env"] == second.hash
    assert envelope.parse_time(results["extend"][0]["lease_until"]) > world.now
    assert results["extend"][1]["problem"]["code"] == "lease_lost"
    put_back = await edge.post_acks("ndxp", nacks=[{"env": second.hash, "lease": leases[second.hash], "code": "busy"}])
    assert put_back.members == {"nacks": [{"env": second.hash}]}


async def test_a_fault_of_ours_with_one_of_a_batch_keeps_no_other_from_its_result(edge, world, monkeypatch):
    first, second = world.envelope(number=1), world.envelope(number=2)
    for wire in (first, second):
        await edge.post(wire)
    await edge.call("GET", "/v1/inbox?max=2&wait=5", signer="ndxp")
    acks = ack_of(world, "ndxp", NDXP, first.hash, second.hash)
    settle = edge.bus.settlement.acknowledge

    async def fail_once(system, ack):
        if ack.pos == 0:
            raise RuntimeError("broken")
        return await settle(system, ack)

    logs.configure(stream=io.StringIO(), json=True)  # unconfigured it would write down everything in sight
    monkeypatch.setattr(type(edge.bus.settlement), "acknowledge", staticmethod(fail_once))
    results = (await edge.post_acks("ndxp", acks=[ack.wire() for ack in acks])).members["acks"]
    assert (results[0]["problem"]["code"], results[1]) == ("internal", {"env": second.hash})


@pytest.mark.parametrize(
    "groups",
    [
        {"acks": {}},
        {"other": []},
        {"acks": [], "nacks": "x"},
        {"seen": [{}] * 257},
    ],
)
async def test_a_batch_that_is_not_of_its_form_is_refused_as_a_whole(edge, groups):
    assert (await edge.post_acks("ndxp", **groups)).code == "bad_request"


@pytest.mark.parametrize(
    ("name", "value", "pointer"),
    [
        ("nacks", {"env": "x", "lease": "l", "code": "busy"}, "/env"),
        ("nacks", {"env": jws.hash_of(b""), "lease": "", "code": "busy"}, "/lease"),
        ("nacks", {"env": jws.hash_of(b""), "lease": "l"}, "/code"),
        ("nacks", {"env": jws.hash_of(b""), "lease": "l", "code": "busy", "retry_after": -1}, "/retry_after"),
        ("nacks", {"env": jws.hash_of(b""), "lease": "l", "code": "busy", "retry_after": True}, "/retry_after"),
        ("seen", {"env": jws.hash_of(b""), "to": "urn:lgsp:agency:H01.12"}, "/to"),
        ("extend", {"env": 1, "lease": "l"}, "/env"),
    ],
)
async def test_one_of_a_batch_that_is_not_of_its_form_names_the_member(edge, name, value, pointer):
    [result] = (await edge.post_acks("ndxp", **{name: [value]})).members[name]
    assert (result["problem"]["code"], result["problem"]["pointer"]) == ("bad_request", pointer)


@pytest.mark.parametrize(
    "query", ["max=0", "max=101", "max=1e1", "max=٣", "wait=61", "wait=", "max=1&max=2", "other=1"]
)
async def test_an_inbox_query_out_of_bounds_is_refused(edge, query):
    answer = await edge.call("GET", f"/v1/inbox?{query}", signer="ndxp")
    assert (answer.status, answer.code) == (400, "bad_request")


# --- who calls -----------------------------------------------------------------------------------------------------------------


async def test_an_authorization_is_for_one_method_path_body_and_call(edge):
    path = "/v1/inbox?max=1"
    good = edge.authorization("ndxp", "GET", path)
    assert (await edge.call("GET", path, headers={"Authorization": good})).status == 200
    table = {
        good: "auth_replayed",
        edge.authorization("ndxp", "GET", "/v1/inbox?max=2"): "auth_invalid",
        edge.authorization("ndxp", "POST", path): "auth_invalid",
        edge.authorization("ndxp", "GET", path, b"{}"): "auth_invalid",
        "Bearer x": "auth_missing",
        "LGSP x.y.z": "auth_invalid",
    }
    for header, code in table.items():
        answer = await edge.call("GET", path, headers={"Authorization": header})
        assert (answer.code, answer.headers["WWW-Authenticate"]) == (code, "LGSP")
    assert edge.bus.refusals.total["auth_invalid"] == 4


async def test_an_officer_has_no_inbox(edge):
    assert (await edge.call("GET", "/v1/inbox", signer="auditor")).code == "forbidden"


async def test_a_call_without_a_body_takes_none(edge):
    answer = await edge.call("GET", "/v1/inbox", signer="ndxp", body=b"{}")
    assert answer.code == "too_large"


# --- what anyone may read ------------------------------------------------------------------------------------------------------


async def test_the_directory_verifies_under_the_registrars_key(edge, world):
    for path in ("/v1/directory", "/v1/directory?version=1"):
        members = (await edge.call("GET", path)).members
        records = [record.encode() for record in members["records"]]
        found = directory.open_directory(
            members["statement"].encode(), records, world.signers["registrar"].public, bus=BUS
        )
        assert (found.version, found.encoded) == (1, world.directory.encoded)
    assert (await edge.call("GET", "/v1/directory?version=2")).code == "not_found"
    assert (await edge.call("GET", "/v1/directory?version=0")).code == "bad_request"


async def test_services_and_schemas_are_given_as_published(edge):
    services = (await edge.call("GET", "/v1/services")).members
    assert VERIFY in [service["id"] for service in services["services"]]
    answer = await edge.call("GET", f"/v1/schemas/{VERIFY_SCHEMA}")
    assert answer.body == schema_documents()[VERIFY_SCHEMA]
    assert "immutable" in answer.headers["Cache-Control"]
    assert (await edge.call("GET", "/v1/schemas/urn:lgsp:schema:a:b:1.0.0")).code == "not_found"


async def test_an_entry_is_proven_to_an_outsider(edge, world):
    await edge.post(world.envelope())
    public = world.signers["log"].handle.public_key().public_bytes_raw()
    key = notes.NoteKey(name=LOG, kind=notes.LOG_KEY, public=public)
    size = checkpoint.open_checkpoint((await edge.call("GET", "/v1/audit/checkpoint")).body.decode(), key).size
    proof = (await edge.call("GET", f"/v1/audit/proof?index={size - 1}")).body.decode()
    entries = (await edge.call("GET", "/v1/audit/entries?start=0&limit=1000", signer="auditor")).members["entries"]
    assert checkpoint.verify_proof(proof, entries[size - 1].encode(), key).size == size
    assert (await edge.call("GET", "/v1/audit/proof?index=9999")).code == "not_found"
    assert (await edge.call("GET", "/v1/audit/proof")).code == "bad_request"


async def test_anyone_reads_the_tree_in_tiles_and_nobody_but_an_auditor_what_it_is_over(edge, world):
    await edge.post(world.envelope())
    size = checkpoint.parse_checkpoint(
        (await edge.call("GET", "/v1/audit/checkpoint")).body.decode().partition("\n\n")[0] + "\n"
    ).size
    tile = await edge.call("GET", f"/v1/audit/tile/0/000.p/{size}")
    assert (tile.status, tile.headers["Content-Type"]) == (200, "application/octet-stream")
    assert "immutable" in tile.headers["Cache-Control"]
    bundle = await edge.call("GET", f"/v1/audit/tile/entries/000.p/{size}", signer="auditor")
    entries, rest = [], bundle.body
    while rest:
        length = int.from_bytes(rest[:2])
        entries.append(rest[2 : 2 + length])
        rest = rest[2 + length :]
    assert tile.body == b"".join(map(merkle.leaf_hash, entries))
    assert len(entries) == size
    for signer, code in ((None, "auth_missing"), ("fisheries", "forbidden")):
        assert (await edge.call("GET", "/v1/audit/tile/entries/000.p/1", signer=signer)).code == code


@pytest.mark.parametrize("path", ["0/000", "1/000.p/1", "0/x001/000", "0/000.p/200"])
async def test_a_tile_that_the_log_does_not_have_yet_is_not_found(edge, path):
    assert (await edge.call("GET", f"/v1/audit/tile/{path}")).code == "not_found"


@pytest.mark.parametrize("path", ["0/0", "0/000.p/256", "0/000.p/0", "0/x000/000", "entries/1"])
async def test_what_names_no_tile_is_not_found(edge, path):
    assert (await edge.call("GET", f"/v1/audit/tile/{path}", signer="auditor")).code == "not_found"


@pytest.mark.parametrize("level", ["6", "-1", "00", "x"])
async def test_a_level_that_the_format_does_not_have_is_refused(edge, level):
    assert (await edge.call("GET", f"/v1/audit/tile/{level}/000")).code == "bad_request"


async def test_entries_are_for_auditors_and_parties(edge):
    assert (await edge.call("GET", "/v1/audit/entries", signer="officer")).code == "forbidden"
    assert (await edge.call("GET", "/v1/audit/entries", signer="fisheries")).members["entries"] == []
    assert (await edge.call("GET", "/v1/audit/entries")).code == "auth_missing"


async def test_a_draining_bus_lives_but_is_not_ready(edge, world):
    assert (await edge.call("GET", "/healthz")).members == {"live": True}
    assert (await edge.call("GET", "/readyz")).members["ready"] is True
    edge.bus.ingress.draining = True
    answer = await edge.call("GET", "/readyz")
    assert (answer.status, answer.code, answer.members["degraded"]) == (503, "not_ready", ["intake: draining"])
    refused = await edge.post(world.envelope())
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "draining", "2")


async def test_figures_carry_no_word_of_a_sender(edge, world):
    await edge.post(world.envelope())
    await edge.post(world.envelope(number=2, purpose="dpv:Marketing"))
    await edge.call("DELETE", "/v1/0991850000170")
    text = (await edge.call("GET", "/metrics")).body.decode()
    assert 'lgsp_envelopes_total{outcome="accepted"} 1.0' in text
    assert 'lgsp_envelopes_total{outcome="rejected"} 1.0' in text
    assert 'lgsp_refusals_total{code="purpose_not_granted"} 1.0' in text
    assert 'lgsp_http_requests_total{method="other",route="none",status="404"} 1.0' in text
    assert 'lgsp_http_requests_total{method="POST",route="/v1/envelopes",status="202"} 1.0' in text
    for word in ("DELETE", "0991850000170", "Marketing", made_up_id(1)):
        assert word not in text


# --- what is refused before anything is read -----------------------------------------------------------------------------------

ODD_TARGETS = [
    "//v1/directory",
    "/v1//directory",
    "/v1/directory/",
    "/v1/./directory",
    "/v1/../healthz",
    "/v1/%2e%2e/healthz",
    "/v1/schemas/..%2f..%2fetc",
    "/v1/schemas/%2e%2e",
    "/v1\\directory",
    "/healthz;x=1",
    "/healthz#x",
    "/healthz?a=%00",
    "/healthz?x=<script>",
    "http://elsewhere/healthz",
    "*",
]


@pytest.mark.parametrize("target", ODD_TARGETS)
async def test_r18_a_target_that_can_be_read_in_two_ways_is_refused(edge, target):
    answer = await raw(edge, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    status, headers, body = parsed(answer)
    assert status in {400, 404}
    is_problem(status, headers, body, json.loads(body)["code"])
    assert target.encode() not in body.replace(b'"*"', b"") or target == "*"


LONG = "x" * 9_000
BROKEN = {
    "no http": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "bad_request"),
    "no version": (b"GET /healthz\r\n\r\n", "bad_request"),
    "long header": (f"POST /v1/envelopes HTTP/1.1\r\nHost: x\r\nlgsp-env: {LONG}\r\n\r\n".encode(), "too_large"),
    "long target": (f"GET /{LONG} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), "too_large"),
    "two lengths": (
        b"POST /v1/envelopes HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "bad_request",
    ),
    "length and chunks": (
        b"POST /v1/envelopes HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "bad_request",
    ),
    "space before the colon": (b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n", "bad_request"),
    "folded header": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", "bad_request"),
    "null in a header": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n", "bad_request"),
    "strange expectation": (
        b"POST /v1/envelopes HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "unsupported",
    ),
    "content encoding": (
        b"POST /v1/envelopes HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "unsupported",
    ),
    "two envelopes": (
        b"POST /v1/envelopes HTTP/1.1\r\nHost: x\r\nlgsp-env: a\r\nlgsp-env: b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "bad_request",
    ),
    "broken chunks": (
        b"POST /v1/envelopes HTTP/1.1\r\nHost: x\r\nlgsp-env: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "bad_request",
    ),
    "two authorizations": (
        b"GET /v1/inbox HTTP/1.1\r\nHost: x\r\nAuthorization: LGSP a\r\nAuthorization: LGSP b\r\nConnection: close\r\n\r\n",
        "bad_request",
    ),
    "both forms": (
        (
            b"POST /v1/envelopes HTTP/1.1\r\nHost: x\r\nlgsp-env: a\r\nConnection: close\r\n"
            b"Content-Type: application/vnd.lgsp.envelope+json\r\nContent-Length: 2\r\n\r\n{}"
        ),
        "structured",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_r18_broken_or_smuggling_http_is_answered_with_a_problem_and_no_echo(edge, name):
    data, code = BROKEN[name]
    status, headers, body = parsed(await raw(edge, data))
    is_problem(status, headers, body, code)
    assert "server" not in headers
    assert headers["x-content-type-options"] == "nosniff"
    assert b"miracles" not in body
    assert b"xxxx" not in body


async def test_a_path_or_method_that_is_not_there_is_a_problem(edge):
    missing = await edge.call("GET", "/v1/nothing")
    assert (missing.status, missing.code) == (404, "not_found")
    wrong = await edge.call("DELETE", "/v1/envelopes")
    assert (wrong.status, wrong.code, wrong.headers["Allow"]) == (405, "method", "POST")
    assert (await edge.call("GET", "/v1/stream")).code == "bad_request"


async def test_every_answer_has_the_safe_headers_and_no_server_name(edge, world):
    for answer in (await edge.call("GET", "/healthz"), await edge.post(world.envelope()), await edge.call("GET", "/x")):
        assert "Server" not in answer.headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.headers["X-Request-Id"]


async def test_a_body_larger_than_any_service_allows_is_refused_before_it_is_read(edge, world):
    wire = world.envelope()
    stated = await edge.post(replace(wire, body=b"x" * (LIMITS.body_bytes + 1)))
    assert (stated.status, stated.code) == (413, "too_large")

    async def chunks():
        for _ in range(40):
            yield b"x" * 4096

    headers = {"lgsp-env": wire.compact.decode()}
    async with edge.client.post(f"{edge.running.url}/v1/envelopes", data=chunks(), headers=headers) as answer:
        assert (await answer.json(content_type=None))["code"] == "too_large"


@pytest.mark.parametrize("path", ["/v1/acks", "/v1/audit/entries", f"/v1/evidence/sha-256:{'A' * 43}"])
async def test_the_body_of_a_call_is_read_when_its_caller_is_proven(world, path):
    async with opened(world, settings=replace(HTTP_LIMITS, body_seconds=30)) as edge:
        data = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode()
        answer = await asyncio.wait_for(raw(edge, data, until_closed=False), 5)
        is_problem(*parsed(answer), "auth_missing")


async def test_a_body_that_does_not_come_in_time_is_refused(world):
    async with opened(world, settings=replace(HTTP_LIMITS, body_seconds=0.05)) as edge:
        data = b"POST /v1/envelopes HTTP/1.1\r\nHost: x\r\nlgsp-env: a\r\nContent-Length: 10\r\n\r\nabc"
        answer = await raw(edge, data, until_closed=False)
        status, headers, body = parsed(answer)
        is_problem(status, headers, body, "bad_request")


async def test_one_connection_too_many_is_cut(world):
    async with opened(world, settings=replace(HTTP_LIMITS, connections=1)) as edge:
        first, kept = await asyncio.open_connection("127.0.0.1", edge.running.port)
        kept.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" in await first.readline()
        assert await raw(edge, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        kept.close()


async def test_an_idle_connection_is_closed(world):
    async with opened(world, settings=replace(HTTP_LIMITS, idle_seconds=0.05)) as edge:
        assert await raw(edge, b"GET /healthz HTTP/1.1\r\nHost:") == b""


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("", "en"),
        ("vi", "vi"),
        ("vi-VN,vi;q=0.9,en;q=0.8", "vi"),
        ("en-US,en;q=0.9,vi;q=0.5", "en"),
        ("fr, vi;q=0.1", "vi"),
        ("vi;q=0", "en"),
        ("vi;q=nan", "en"),
        ("vi;q=x, en", "en"),
        ("*", "en"),
    ],
)
async def test_a_problem_speaks_the_language_that_was_asked_for(edge, accept, language):
    answer = await edge.call("GET", "/x", headers={"Accept-Language": accept})
    assert answer.headers["Content-Language"] == language
    assert answer.members["title"] == catalogue()["not_found"].title[language]


async def test_a_fault_of_ours_is_logged_with_its_id_and_told_without_its_cause(edge, monkeypatch):
    out = io.StringIO()
    logs.configure(stream=out, json=True)

    def fail(_self):
        secret = "NGUYỄN THỊ ÁNH TUYẾT"
        raise RuntimeError(f"broken {len(secret)}")

    monkeypatch.setattr(type(edge.bus.health), "live", fail)
    answer = await edge.call("GET", "/healthz")
    assert (answer.status, answer.code) == (500, "internal")
    assert b"broken" not in answer.body
    [line] = [json.loads(text) for text in out.getvalue().splitlines() if "request.failed" in text]
    assert line["request_id"] == answer.members["request_id"]
    assert line["path"] == "/healthz"
    assert "RuntimeError" in json.dumps(line)
    assert "TUYẾT" not in out.getvalue()


# --- listening -----------------------------------------------------------------------------------------------------------------


async def test_an_address_beyond_loopback_needs_tls_or_a_proxy(edge):
    with pytest.raises(Unusable) as refused:
        await server.serve(edge.bus, host="0.0.0.0", port=0)
    assert refused.value.code == "listen_refused"
    running = await server.serve(edge.bus, host="0.0.0.0", port=0, behind_tls_proxy=True)
    assert running.port > 0
    await running.close()


async def test_tls_is_spoken_where_it_is_set_up(edge, tmp_path):
    authority = Authority.make(tmp_path)
    pair = authority.sign("gateway", addresses=["127.0.0.1"])
    tls = Certificates(TlsFiles(cert=pair.cert, key=pair.key))
    running = await server.serve(edge.bus, host="127.0.0.1", port=0, tls=tls)
    async with edge.client.get(f"{running.url}/healthz", ssl=trusting(authority.cert)) as answer:
        assert (running.url[:8], answer.status) == ("https://", 200)
        assert answer.headers["Strict-Transport-Security"]
    await running.close()


@pytest.mark.parametrize("host", ["::1", "localhost", "127.0.0.1", "127.9.9.9"])
def test_loopback_is_known_in_every_spelling(host):
    assert server.is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "example.vn"])
def test_another_address_is_not_loopback(host):
    assert not server.is_loopback(host)


async def test_a_port_that_is_taken_is_named(edge):
    with pytest.raises(Unusable) as refused:
        await server.serve(edge.bus, host="127.0.0.1", port=edge.running.port)
    assert refused.value.code == "port_in_use"


@asynccontextmanager
async def admin_client(path):
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(path))) as client:
        yield client


async def test_the_admin_socket_is_its_owners_and_tells_the_status(edge, tmp_path):
    path = tmp_path / "admin.sock"
    running = await server.serve_admin(edge.bus, path, beside=edge.running)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with edge.stream("ndxp") as stream, admin_client(path) as client:
        await stream.receive("checkpoint")
        async with client.get("http://admin/admin/status") as answer:
            status = await answer.json()
        async with client.get("http://admin/v1/directory") as answer:
            assert answer.status == 404
    assert (status["bus"], status["version"], status["streams"], status["ready"]) == (BUS, 1, 1, True)
    await running.close()
    again = await server.serve_admin(edge.bus, path)
    await again.close()


async def test_a_file_that_is_no_socket_is_not_replaced(edge, tmp_path):
    path = tmp_path / "admin.sock"
    path.write_text("mine")
    with pytest.raises(Unusable) as refused:
        await server.serve_admin(edge.bus, path)
    assert (refused.value.code, path.read_text()) == ("file_exists", "mine")


async def test_a_directory_by_the_registrar_is_put_in_place_over_the_admin_socket(edge, world, tmp_path):
    changed = World.make(
        version=2, prev=world.directory.hash, changes={"urn:lgsp:agency:H01.21:sys:police": {"status": "suspended"}}
    )
    forged = World.make(version=2, prev=world.directory.hash, signers={"registrar": signer_named("another registrar")})
    path = tmp_path / "admin.sock"
    running = await server.serve_admin(edge.bus, path)

    async def publish(members):
        async with admin_client(path) as client, client.post("http://admin/admin/directory", json=members) as answer:
            return answer.status, await answer.json(content_type=None)

    def members_of(other):
        records = [record.decode() for record in other.directory.encoded]
        return {"statement": other.directory.statement.decode(), "records": records, "documents": {}, "reason": "test"}

    assert (await publish({"statement": "x"}))[1]["code"] == "bad_request"
    assert (await publish(members_of(forged)))[1]["code"] == "directory_invalid"
    assert await publish(members_of(changed)) == (200, {"version": 2})
    assert (await publish(members_of(changed)))[1]["code"] == "directory_moved"
    assert (await edge.call("GET", "/v1/directory")).members["version"] == 2
    assert (await edge.call("GET", "/v1/inbox", signer="police")).code == "sender_suspended"
    await running.close()


async def test_calls_in_progress_are_answered_before_the_listener_ends(world):
    async with opened(world) as edge:
        waiting = asyncio.create_task(edge.call("GET", "/v1/inbox?wait=1", signer="ndxp"))
        await until_pulling(edge)
        await edge.running.close()
        assert (await waiting).members["items"] == []
        with pytest.raises(aiohttp.ClientConnectionError):
            await edge.call("GET", "/healthz")


async def test_a_caller_that_sends_too_many_is_told_when_to_come_back(edge, world, monkeypatch):
    monkeypatch.setattr(edge.bus.ingress.rates, "burst", 2)
    monkeypatch.setattr(edge.bus.ingress.rates, "rate", 0.1)
    answers = [await edge.post(world.envelope(number=number)) for number in (1, 2, 3)]
    assert [answer.status for answer in answers] == [202, 202, 429]
    problem = answers[2].members
    assert problem["code"] == "rate_limited"
    assert answers[2].headers["Retry-After"] == str(problem["retry_after"])
    assert 0 < problem["retry_after"] <= 10


async def test_a_call_that_is_repeated_counts_once_towards_the_rate_each_time(edge, world, monkeypatch):
    monkeypatch.setattr(edge.bus.ingress.rates, "burst", 2)
    monkeypatch.setattr(edge.bus.ingress.rates, "rate", 0.1)
    sent = world.envelope()
    answers = [await edge.post(sent) for _ in range(3)]
    assert [answer.status for answer in answers] == [202, 202, 429]
    assert answers[0].body == answers[1].body


async def test_the_figures_tell_how_full_each_inbox_is(edge, world):
    await edge.post(world.envelope())
    await edge.bus.room.refresh()
    text = (await edge.call("GET", "/metrics")).body.decode()
    assert 'lgsp_inbox_deliveries{inbox="H01.05/ndxp",lane="request",state="queued"} 1.0' in text
    [size] = [line for line in text.splitlines() if line.startswith('lgsp_inbox_bytes{inbox="H01.05/ndxp"')]
    assert float(size.split()[1]) > 500
