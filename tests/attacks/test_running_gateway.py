"""Attacks on a gateway that listens: floods that prove nothing, floods of what is refused, and what the directory does not allow.

It runs on its real store and is reached through real sockets. The floods of the quick run are small; the long ones have the size that the list of
attacks states.
"""

import asyncio
import re
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import pytest

from lgsp.backends.sql.sqlite import SqliteLedger
from lgsp.bus.edge_refusals import PEERS_MAX
from lgsp.domain import base64url, envelope, jws, strictjson
from lgsp.domain.limits import LIMITS
from lgsp.testing.bus import publish
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import (
    FISHERIES,
    ONE_STOP,
    OWNER_LIST,
    OWNER_LIST_SCHEMA,
    POLICE,
    POPULATION,
    World,
)

CODE = re.compile(rb'"code":"(\w+)"')
LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n")
POLICE_AGENCY = "urn:lgsp:agency:H01.21"
ONE_STOP_AGENCY = "urn:lgsp:agency:H01.31"
FISHERIES_AGENCY = "urn:lgsp:agency:H01.12"
LIST = {
    "listId": "20261122-30742-001",
    "asOf": "2026-11-22",
    "orgcat": "2025-07",
    "rows": [{"registration": "AG-00012-TS", "ownerName": "DANH SÀ RƯƠL", "communeCode": "30742"}],
}
LISTS = {"type": OWNER_LIST, "dataschema": OWNER_LIST_SCHEMA} | dict.fromkeys(("legalbasis", "procedure", "authid"))
FLOODS = [1_000, pytest.param(10_000, marks=pytest.mark.long)]


@asynccontextmanager
async def gateway(world, folder, clock=None, **changes):
    store = SqliteLedger.open(folder / "bus.sqlite", create=True)
    try:
        async with running_edge(
            world,
            store,
            clock=clock or ManualClock(world.now),
            entropy=SeededEntropy(1),
            limits=replace(LIMITS, **changes),
        ) as edge:
            yield edge
    finally:
        await store.close()


async def entries_of(edge, event=""):
    ledger = edge.bus.ledger
    found = map(strictjson.parse_object, await ledger.entries(0, await ledger.size()))
    return [entry for entry in found if event in {"", entry["ev"]}]


def posted(wire, **headers):
    """Return the bytes of a call that posts an envelope."""
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST /v1/envelopes HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {len(wire.body)}\r\nlgsp-env: "
    return head.encode() + wire.compact + b"\r\n\r\n" + wire.body


async def flood(edge, calls):
    """Send calls over one connection as fast as they are taken, and return how many were answered with which code, "" for a receipt."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.running.port)
    answers: Counter[str] = Counter()

    async def listen():
        for _ in calls:
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(int(LENGTH.search(head)[1]))
            found = CODE.search(body)
            answers[found[1].decode() if found else ""] += 1

    async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
        tasks.create_task(listen())
        for call in calls:
            writer.write(call)
            await writer.drain()
    writer.close()
    return answers


def stranger(number, payload):
    """Return an envelope under a key that nobody registered, each number another one."""
    kid = base64url.encode(number.to_bytes(32, "big"))
    head = f'{{"alg":"Ed25519","kid":"{kid}","typ":"{envelope.TYP}"}}'.encode()
    return b".".join([base64url.encode(head).encode(), payload, b"A" * 86])


@pytest.mark.parametrize("count", FLOODS)
async def test_r12_r13_any_number_of_unproven_envelopes_is_one_entry_and_nothing_that_stays(tmp_path, count):
    """Each has a key of its own, or none at all, or the right one and a forged signature."""
    world, clock = World.make(), ManualClock(World.make().now)
    good = world.envelope()
    payload = good.compact.split(b".")[1]
    foreign = [replace(good, compact=stranger(number, payload)) for number in range(count)]
    unsigned = [replace(good, compact=b"e30." + payload + b"."), replace(good, compact=b"A" * 512)] * (count // 20)
    forged = [replace(good, compact=good.compact[:-6] + b"%04dAA" % (number % 10_000)) for number in range(count // 10)]
    async with gateway(world, tmp_path, clock) as edge:
        size = await edge.bus.ledger.size()
        answers = await flood(edge, [posted(wire) for wire in (*foreign, *unsigned, *forged)])
        assert answers == {
            "kid_unknown": count,
            "header_template": count // 20,
            "compact": count // 20,
            "signature": count // 10,
        }
        assert await edge.bus.ledger.size() == size
        assert (await edge.post(good)).status == 202
        clock.advance(61)
        await edge.bus.sweep.once()
        [summed] = await entries_of(edge, "edge.refused")
        assert (summed["n"], summed["peer"]) == (answers.total(), "127.0.0.1")
        assert len(edge.bus.refusals._unproven) <= PEERS_MAX
        assert len(edge.bus.ingress.rates._empty_until) == 1, "of who proved nothing nothing is remembered"
    assert jws._header.cache_info().currsize <= jws._header.cache_info().maxsize == 4096


@pytest.mark.parametrize(
    "junk", [b"A" * 8_192, b"." * 8_192, b"A." * 4_096, b"=" * 8_192], ids=lambda junk: junk[:2].decode()
)
async def test_r12_eight_kilobytes_of_junk_are_refused_before_they_are_looked_at(tmp_path, junk):
    async with gateway(World.make(), tmp_path) as edge:
        answers = await flood(edge, [posted(replace(edge.world.envelope(), compact=junk))])
        assert answers == {"too_large": 1}


@pytest.mark.parametrize("count", [100, pytest.param(1_000, marks=pytest.mark.long)])
async def test_r14_signed_envelopes_of_a_wrong_form_are_summed_bounded_and_queue_nothing(tmp_path, count):
    world, clock = World.make(), ManualClock(World.make().now)
    burst = count * 8 // 10
    wrong = [posted(world.envelope(number=number, body={"result": "no"})) for number in range(count)]
    asks = {"source": ONE_STOP, "procedure": "1.001193", "authid": "5e12c0", "signer": "one-stop"}
    async with gateway(world, tmp_path, clock, burst=burst, rate=0.01) as edge:
        answers = await flood(edge, wrong)
        assert answers == {"schema": burst, "rate_limited": count - burst}
        late = await edge.post(world.envelope(number=count))
        assert (late.status, late.code) == (429, "rate_limited")
        assert int(late.headers["Retry-After"]) > 0
        assert (await edge.post(world.envelope(number=count + 1, **asks))).status == 202, "nobody else is held up"
        clock.advance(61)
        await edge.bus.sweep.once()
        alone, summed = [], []
        for entry in await entries_of(edge, "msg.rejected"):
            (summed if "n" in entry else alone).append(entry)
        assert [entry["code"] for entry in alone] == ["schema"] * LIMITS.refusals_per_minute
        assert [(entry["code"], entry["n"]) for entry in summed] == [("schema", burst - LIMITS.refusals_per_minute)]
        [unproven] = await entries_of(edge, "edge.refused")
        assert (unproven["code"], unproven["n"]) == ("rate_limited", count - burst + 1)
        [queued] = (await edge.call("GET", "/v1/inbox?max=100", signer="ndxp")).members["items"]
        assert envelope.from_structured(queued["envelope"]).compact == world.envelope(number=count + 1, **asks).compact


NOT_GRANTED = {
    "another purpose": ({}, {"purpose": "dpv:Marketing"}, "purpose_not_granted"),
    "no purpose": ({}, {"purpose": None}, "purpose_not_granted"),
    "another legal basis": ({}, {"legalbasis": "dpv:Consent"}, "legalbasis_not_granted"),
    "another procedure": ({}, {"procedure": "1.009999"}, "procedure_not_granted"),
    "another officer": ({}, {"authid": "ffffff"}, "officer_not_granted"),
    "past its last day": ({"valid_to": "2026-11-21"}, {}, "grant_ended"),
    "before its first day": ({"valid_from": "2026-11-23"}, {}, "grant_ended"),
    "ended with this version": ({"until": 2}, {}, "grant_ended"),
    "for another audience": ({"audience": POLICE}, {}, "no_grant"),
    "to another system": ({"grantee": POLICE}, {}, "no_grant"),
    "for another type": ({"type": OWNER_LIST}, {}, "no_grant"),
}


async def test_r17_what_is_not_granted_is_refused_by_its_own_code_logged_and_queued_nowhere(tmp_path):
    world = World.make()
    async with gateway(world, tmp_path) as edge:
        for number, (change, stated, code) in enumerate(NOT_GRANTED.values()):
            if change:
                now = edge.bus.registry.current
                world = World.make(version=now.version + 1, prev=now.hash, changes={"g-verify": change})
                await publish(edge.bus, world)
            answer = await edge.post(world.envelope(number=number, **stated))
            assert (answer.status, answer.code) == (403, code)
        rejected = await entries_of(edge, "msg.rejected")
        assert [entry["code"] for entry in rejected] == [code for _, _, code in NOT_GRANTED.values()]
        assert {(entry["src"], entry["aud"]) for entry in rejected} == {(FISHERIES, POPULATION)}
        assert await entries_of(edge, "msg.accepted") == []
        assert (await edge.call("GET", "/v1/inbox", signer="ndxp")).members["items"] == []


async def test_r17_a_quota_is_refused_when_it_is_used_up_and_begins_anew_at_midnight_at_home(tmp_path):
    before_midnight = datetime.fromisoformat("2026-11-22T16:59:00Z")
    world, clock = (
        World.make(now=before_midnight, changes={"g-verify": {"quota_per_day": 2}}),
        ManualClock(before_midnight),
    )
    async with gateway(world, tmp_path, clock) as edge:
        wires = [world.envelope(number=number) for number in range(3)]
        answers = await asyncio.gather(*(edge.post(wire) for wire in wires))
        assert sorted(answer.status for answer in answers) == [202, 202, 429]
        [late] = [(wire, answer) for wire, answer in zip(wires, answers, strict=True) if answer.status == 429]
        assert late[1].code == "quota_exceeded"
        assert [entry["rule"] for entry in await entries_of(edge, "msg.accepted")] == ["g-verify"] * 2
        clock.advance(61)
        assert (await edge.post(late[0])).status == 202


async def test_r20_who_is_suspended_or_dissolved_sends_nothing_more_and_still_gets_its_answers(tmp_path):
    first, changes = World.make(), {FISHERIES: {"status": "suspended"}}
    async with gateway(first, tmp_path) as edge:
        asked = first.envelope(number=1)
        assert (await edge.post(asked)).status == 202
        for version, change in enumerate((changes, {FISHERIES_AGENCY: {"valid_to": "2026-11-21"}}), start=2):
            world = World.make(version=version, prev=edge.bus.registry.current.hash, changes=change)
            await publish(edge.bus, world)
            answer = await edge.post(world.envelope(number=version))
            assert (answer.status, answer.code) == (403, "sender_suspended")
        assert (await edge.post(first.reply(asked, number=9))).status == 202
        [item] = (await edge.call("GET", "/v1/inbox", signer="fisheries")).members["items"]
        assert envelope.from_structured(item["envelope"]) == first.reply(asked, number=9)


HEIRS = {
    "suspended": ({POLICE: {"status": "suspended"}}, "route", None),
    "dissolved without an heir": ({POLICE_AGENCY: {"valid_to": "2026-11-21"}}, "audience_dissolved", []),
    "dissolved with two": (
        {POLICE_AGENCY: {"valid_to": "2026-11-21", "successors": [ONE_STOP_AGENCY, FISHERIES_AGENCY]}},
        "audience_dissolved",
        [ONE_STOP_AGENCY, FISHERIES_AGENCY],
    ),
}


async def test_r20_who_writes_to_one_that_is_no_more_is_refused_or_reaches_its_one_heir(tmp_path):
    async with gateway(World.make(), tmp_path) as edge:
        for version, (changes, code, successors) in enumerate(HEIRS.values(), start=2):
            world = World.make(version=version, prev=edge.bus.registry.current.hash, changes=changes)
            await publish(edge.bus, world)
            answer = await edge.post(world.envelope(number=version, audience=POLICE, body=LIST, **LISTS))
            assert (answer.code, answer.members.get("successors")) == (code, successors)
        heir = {POLICE_AGENCY: {"valid_to": "2026-11-21", "successors": [ONE_STOP_AGENCY]}}
        world = World.make(version=len(HEIRS) + 2, prev=edge.bus.registry.current.hash, changes=heir)
        await publish(edge.bus, world)
        sent = world.envelope(number=9, audience=POLICE, body=LIST, **LISTS)
        assert (await edge.post(sent)).status == 202
        assert (await edge.call("GET", "/v1/inbox", signer="police")).members["items"] == []
        [item] = (await edge.call("GET", "/v1/inbox", signer="one-stop")).members["items"]
        assert envelope.from_structured(item["envelope"]) == sent
