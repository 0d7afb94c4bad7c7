"""Commands on a running bus through both doors: the same calls, the same answers; at the public one an officer signs and needs the role."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.domain import envelope, sealing, strictjson
from lgsp.domain.retry import RetryPolicy
from lgsp.http import server
from lgsp.http.admin import COMMANDS
from lgsp.http.settings import HTTP_LIMITS
from lgsp.ports.ledger import KeepBodyKey
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import Answer, running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import AUDITOR, NDXP, OFFICER, World

ENV = "sha-256:" + "A" * 43


def world_with(*roles):
    return World.make(changes={OFFICER: {"roles": list(roles)}})


@pytest.fixture
def world():
    return world_with("operator", "viewer", "registrar")


@asynccontextmanager
async def edge_of(world, **changes):
    clock = ManualClock(world.now)
    async with running_edge(
        world, MemoryLedger(), clock=clock, entropy=SeededEntropy(1), retry=RetryPolicy(attempts=1), **changes
    ) as edge:
        yield edge


@pytest.fixture
async def edge(world):
    async with edge_of(world) as running:
        yield running


async def park(edge, number=1):
    wire = edge.world.envelope(number=number)
    await edge.bus.ingress.submit(wire, peer="test")
    [handed] = await edge.bus.courier.pull(NDXP, limit=1, wait=0)
    await edge.bus.settlement.put_back(NDXP, env=handed.env, lease=handed.lease, code="broken", retry_after=None)
    return wire


@asynccontextmanager
async def door_of(edge, kind, folder):
    """Give the function that makes a call at one of the doors, and who makes it."""
    if kind == "public":

        async def call(method, path, members=None):
            body = b"" if members is None else strictjson.compact(members)
            return await edge.call(method, path, signer="officer", body=body)

        yield call, OFFICER
        return
    admin = await server.serve_admin(edge.bus, folder / "admin.sock", beside=edge.running)
    try:
        connector = aiohttp.UnixConnector(path=str(folder / "admin.sock"))
        async with aiohttp.ClientSession(connector=connector) as client:

            async def call(method, path, members=None):
                body = None if members is None else strictjson.compact(members)
                async with client.request(method, f"http://gateway{path}", data=body) as answer:
                    return Answer(status=answer.status, headers=answer.headers, body=await answer.read())

            yield call, "local"
    finally:
        await admin.close()


@pytest.fixture(params=["socket", "public"])
async def door(request, edge, tmp_path):
    async with door_of(edge, request.param, tmp_path) as opened:
        yield opened


async def entries(edge):
    return [json.loads(entry) for entry in await edge.bus.ledger.entries(0, await edge.bus.ledger.size())]


async def test_a_parked_delivery_is_listed_told_and_replayed_through_either_door(edge, door):
    call, by = door
    wire = await park(edge)
    listed = (await call("GET", f"/admin/parked?system={NDXP}&code=broken&limit=5")).members
    [item] = listed["items"]
    assert (listed["total"], item["env"], item["to"], item["attempts"]) == (1, wire.hash, NDXP, 1)
    story = (await call("GET", f"/admin/parked/{wire.hash}")).members
    assert [entry["ev"] for entry in story["entries"]] == ["msg.accepted", "msg.delivered", "msg.parked"]
    assert story["chain"][0]["deliveries"] == [{"to": NDXP, "state": "parked", "attempts": 1, "code": "broken"}]
    decision = {"deliveries": [{"env": wire.hash}], "reason": "mended"}
    assert (await call("POST", "/admin/parked/replay", decision)).members == {"results": [{}]}
    last = (await entries(edge))[-1]
    assert (last["ev"], last["by"], last["reason"]) == ("msg.replayed", by, "mended")
    [again] = (await call("POST", "/admin/parked/drop", decision)).members["results"]
    assert again["code"] == "not_parked"


async def test_a_dropped_delivery_names_who_dropped_it(edge, door):
    call, by = door
    wire = await park(edge)
    decision = {"deliveries": [{"env": wire.hash, "to": NDXP}], "reason": "sent twice by its sender"}
    assert (await call("POST", "/admin/parked/drop", decision)).members == {"results": [{}]}
    last = (await entries(edge))[-1]
    assert (last["ev"], last["code"], last["by"]) == ("msg.expired", "dropped", by)


async def test_bodies_are_listed_by_day_and_a_day_erased_through_either_door(edge, door):
    call, by = door
    await edge.bus.sweep.once()  # the next look at idle keys is an hour away
    old, keys = "2026-01-02", edge.bus.custody.keys
    wrapped = sealing.seal(keys.wrap, old, bytes(sealing.KEY_BYTES), bytes(sealing.NONCE_BYTES))
    await edge.bus.sequencer.submit(KeepBodyKey(day=old, wrapped=wrapped))
    wire = edge.world.envelope()
    await edge.bus.ingress.submit(wire, peer="test")
    today = {"day": "2026-11-22", "in_flight": 1, "parked": 0, "archived": 0}
    nothing = {"day": old, "in_flight": 0, "parked": 0, "archived": 0}
    listed = (await call("GET", "/admin/bodies")).members
    assert listed == {"days": [nothing | {"key": True}, today | {"key": True}]}
    refused = await call("POST", "/admin/bodies/destroy", {"day": today["day"], "reason": "asked for"})
    assert (refused.status, refused.code) == (409, "day_not_over")
    destroyed = (await call("POST", "/admin/bodies/destroy", {"day": old, "reason": "asked for"})).members
    told = await entries(edge)
    assert destroyed == nothing | {"entry": len(told) - 1}
    assert (told[-1]["ev"], told[-1]["obj"], told[-1]["by"]) == ("admin.body.key.destroyed", old, by)


async def test_only_reading_gives_the_bytes_and_is_an_entry(edge, door):
    call, by = door
    wire = await park(edge)
    for path in ("/admin/parked", f"/admin/parked/{wire.hash}"):
        shown = (await call("GET", path)).body
        assert b"TUY" not in shown
        assert b"099185000017" not in shown
    given = await call("POST", "/admin/parked/read", {"env": wire.hash, "reason": "the schema is in doubt"})
    assert envelope.parse_structured(given.body) == wire
    last = (await entries(edge))[-1]
    assert (last["ev"], last["by"], last["env"]) == ("admin.parked.read", by, wire.hash)


async def test_whoever_reads_bodies_for_evidence_is_named_in_the_log_with_the_reason(edge, door):
    call, by = door
    given = await call("POST", "/admin/evidence/body", {"env": ENV, "reason": "case 7"})
    told = await entries(edge)
    assert given.members == {"index": len(told) - 1}
    assert {name: told[-1][name] for name in ("ev", "by", "env", "reason")} == {
        "ev": "audit.read", "by": by, "env": ENV, "reason": "case 7",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "members", "code"),
    [
        ("GET", "/admin/parked?colour=red", None, "bad_request"),
        ("GET", "/admin/parked?limit=0", None, "bad_request"),
        ("GET", "/admin/parked/none", None, "not_found"),
        ("GET", f"/admin/parked/{ENV}", None, "not_found"),
        ("POST", "/admin/parked/replay", {"deliveries": [], "reason": "x"}, "bad_request"),
        ("POST", "/admin/parked/replay", {"deliveries": [{"env": ENV}]}, "bad_request"),
        ("POST", "/admin/parked/replay", {"deliveries": [{"env": ENV}], "reason": "099185000017"}, "bad_request"),
        ("POST", "/admin/parked/replay", {"deliveries": [{"env": "x"}], "reason": "x"}, "bad_request"),
        ("POST", "/admin/parked/drop", {"deliveries": [{"env": ENV}] * 257, "reason": "x"}, "bad_request"),
        ("POST", "/admin/parked/drop", {"deliveries": [{"env": ENV, "to": "x"}], "reason": "x"}, "bad_request"),
        ("POST", "/admin/parked/read", {"env": ENV, "reason": "x"}, "not_found"),
        ("POST", "/admin/evidence/body", {"env": "x", "reason": "x"}, "bad_request"),
        ("POST", "/admin/evidence/body", {"env": ENV, "reason": "099185000017"}, "bad_request"),
        ("POST", "/admin/directory", {"statement": "x"}, "bad_request"),
        ("DELETE", "/admin/parked", None, "method"),
    ],
)
async def test_a_call_that_is_not_of_its_form_is_refused_and_changes_nothing(edge, door, method, path, members, code):
    call, _ = door
    size = await edge.bus.ledger.size()
    assert (await call(method, path, members)).code == code
    assert await edge.bus.ledger.size() == size


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.method} {command.path}")
@pytest.mark.parametrize("role", ["auditor", "registrar", "operator", "viewer"])
async def test_at_the_public_door_an_officer_needs_the_role_of_the_command(command, role):
    async with edge_of(world_with(role)) as edge:
        answer = await edge.call(command.method, command.path.replace("{env}", ENV), signer="officer")
        assert (answer.status == 403) == (role not in command.roles)
        assert (answer.status == 403) == (b'"forbidden"' in answer.body)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.method} {command.path}")
async def test_nobody_but_officers_passes_the_public_door(edge, command):
    path = command.path.replace("{env}", ENV)
    assert (await edge.call(command.method, path)).code == "auth_missing"
    assert (await edge.call(command.method, path, signer="fisheries")).code == "forbidden"
    other = "officer" if "auditor" in command.roles else "auditor"
    assert (await edge.call(command.method, path, signer=other)).code == "forbidden"
    assert AUDITOR in edge.bus.registry.current.officers


async def test_an_officer_s_word_counts_once_and_for_this_body_alone(edge):
    wire = await park(edge)
    path = "/admin/parked/replay"
    body = strictjson.compact({"deliveries": [{"env": wire.hash}], "reason": "mended"})
    signed = {"Authorization": edge.authorization("officer", "POST", path, body)}
    other = body.replace(b"mended", b"minded")
    refused = await edge.call("POST", path, body=other, headers=signed)
    assert (refused.code, refused.members["pointer"]) == ("auth_invalid", "/hash")
    assert (await edge.call("POST", path, body=body, headers=signed)).status == 200
    assert (await edge.call("POST", path, body=body, headers=signed)).code == "auth_replayed"


async def test_nobody_s_body_is_read_before_an_officer_has_signed_for_it(world):
    async with edge_of(world, settings=replace(HTTP_LIMITS, body_seconds=30)) as edge:
        host, port = "127.0.0.1", edge.running.port
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"POST /admin/directory HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
        writer.close()
        assert b"401" in answer


async def test_an_officer_whose_roles_are_taken_away_is_turned_back_at_once(edge, world):
    assert (await edge.call("GET", "/admin/status", signer="officer")).status == 200
    after = World.make(changes={OFFICER: {"roles": []}}, version=2, prev=edge.bus.registry.current.hash)
    await edge.bus.steward.publish_directory(
        statement=after.directory.statement, records=after.directory.encoded, documents={}, reason="left"
    )
    assert (await edge.call("GET", "/admin/status", signer="officer")).code == "forbidden"


def publication(world, *, reason="test"):
    return {
        "statement": world.directory.statement.decode(),
        "records": [record.decode() for record in world.directory.encoded],
        "documents": {},
        "reason": reason,
    }


def next_world(edge, name):
    agency = {"kind": "agency", "id": "urn:lgsp:agency:H01.98", "name": name}
    current = edge.bus.registry.current
    return World.make(
        changes={OFFICER: {"roles": ["registrar"]}}, added=[agency], version=current.version + 1, prev=current.hash
    )


async def test_of_two_new_directories_at_once_one_is_put_in_place_and_the_other_is_told(edge, door):
    call, by = door
    offered = [publication(next_world(edge, name), reason=name) for name in ("one", "two")]
    answers = await asyncio.gather(*(call("POST", "/admin/directory", members) for members in offered))
    assert sorted(answer.status for answer in answers) == [200, 409]
    [lost] = [answer for answer in answers if answer.status == 409]
    assert (lost.code, lost.members["retryable"]) == ("directory_moved", True)
    [changed] = [entry for entry in await entries(edge) if entry["ev"] == "directory.changed"][1:]
    assert (changed["by"], changed["obj"]) == (by, "2")


async def test_directories_that_change_in_the_middle_of_a_sync_lose_nothing(edge, door):
    call, _ = door
    count, versions = 120, 6

    async def send(number):
        return await edge.post(edge.world.envelope(number=number))

    async def change():
        for number in range(versions):
            answer = await call("POST", "/admin/directory", publication(next_world(edge, f"change {number}")))
            assert answer.status == 200, answer.body

    async with asyncio.TaskGroup() as group:
        changing = group.create_task(change())
        sending = [group.create_task(send(number)) for number in range(count)]
    assert changing.done()
    assert {task.result().status for task in sending} == {202}
    found = await entries(edge)
    accepted = [entry for entry in found if entry["ev"] == "msg.accepted"]
    assert len({entry["env"] for entry in accepted}) == len(accepted) == count
    # Each was judged by the directory that was in force where it stands in the log.
    in_force = 0
    for entry in found:
        if entry["ev"] == "directory.changed":
            in_force = int(entry["obj"])
        if entry["ev"] == "msg.accepted":
            assert entry["policy"] == in_force
    assert in_force == versions + 1
