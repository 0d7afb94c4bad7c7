"""Evidence over HTTP: who gets the bundle of an exchange, that outsiders believe it, and what the log tells of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.domain import evidence, evidence_checks, jws, notes, strictjson
from lgsp.domain.evidence_checks import Pins
from lgsp.domain.notes import LOG_KEY, NoteKey
from lgsp.testing.bus import ack_of
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import AUDITOR, BUS, FISHERIES, LOG, NDXP, POLICE

INDEPENDENT = Path(__file__).parents[2] / "docs/verify_evidence.py"
UNKNOWN = jws.hash_of(b"nothing that was ever sent")
REASON = b'{"reason":"letter 17"}'


@pytest.fixture
async def edge(world):
    clock = ManualClock(world.now)
    async with running_edge(world, MemoryLedger(), clock=clock, entropy=SeededEntropy(1)) as running:
        yield running


@pytest.fixture
async def exchange(edge, world):
    """A request that was taken over and answered, and its reply, beside somebody else's."""
    asked = world.envelope()
    assert (await edge.post(asked)).status == 202
    [ack] = ack_of(world, "ndxp", NDXP, asked.hash)
    await edge.bus.settlement.acknowledge(NDXP, ack)
    reply = world.reply(asked, number=5)
    assert (await edge.post(reply)).status == 202
    return asked.hash, reply.hash


def path_of(env):
    return f"/v1/evidence/{env}"


async def fetched(edge, env, *, signer):
    answer = await edge.call("GET", path_of(env), signer=signer)
    assert answer.status == 200, answer.members
    return answer.body


async def with_bodies(edge, env, *, signer, body=b"{}"):
    return await edge.call("POST", path_of(env), signer=signer, body=body)


def pins(world):
    log = NoteKey(name=LOG, kind=LOG_KEY, public=world.signers["log"].public.x)
    return Pins(bus=BUS, registrar=world.signers["registrar"].public, log=log)


def believed(world, data):
    """What a bundle proves, once our checks have found all of it sound."""
    verdict = evidence_checks.verify(data, pins(world))
    assert verdict.failure is None, verdict.failure
    return verdict.proven


async def log_of(edge):
    ledger = edge.bus.ledger
    return [json.loads(entry) for entry in await ledger.entries(0, await ledger.size())]


async def readings(edge):
    return [entry for entry in await log_of(edge) if entry["ev"] == "audit.read"]


async def test_an_auditor_and_each_party_get_a_bundle_that_holds_by_either_of_its_envelopes(edge, world, exchange):
    for signer, env in product(("auditor", "fisheries", "ndxp"), exchange):
        bundle = evidence.parse(await fetched(edge, env, signer=signer))
        believed(world, evidence.encode(bundle))
        assert (jws.hash_of(bundle.message.compact), jws.hash_of(bundle.reply.compact)) == exchange
        told = [json.loads(each.entry)["ev"] for each in bundle.entries]
        assert told == ["msg.accepted", "msg.acked", "msg.accepted"]
        assert (bundle.message.body, bundle.reply.body) == (None, None)


async def test_the_program_of_the_documents_believes_what_was_fetched(edge, world, exchange, tmp_path):
    (tmp_path / "evidence.json").write_bytes(await fetched(edge, exchange[0], signer="fisheries"))
    trusted = {
        "bus": BUS,
        "registrar": world.signers["registrar"].public.jwk,
        "log": notes.format_vkey(pins(world).log),
    }
    (tmp_path / "trust.json").write_bytes(strictjson.compact(trusted))
    command = [sys.executable, "-I", str(INDEPENDENT), "evidence.json", "trust.json"]
    ended = await asyncio.to_thread(
        subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "every check holds")


async def test_each_giving_is_an_entry_that_names_the_reader_and_not_the_exchange(edge, exchange):
    await fetched(edge, exchange[0], signer="auditor")
    await fetched(edge, exchange[0], signer="ndxp")
    told = await readings(edge)
    assert [(entry["by"], entry["obj"]) for entry in told] == [(AUDITOR, "evidence"), (NDXP, "evidence")]
    assert {entry["hash"] for entry in told} == {jws.hash_of(strictjson.compact({"env": exchange[0]}))}
    assert not any("env" in entry or "code" in entry for entry in told)


async def test_who_is_no_party_is_told_nothing_and_each_attempt_is_an_entry(edge, exchange):
    tried = [
        await edge.call("GET", path_of(exchange[0]), signer="police"),
        await edge.call("GET", path_of(exchange[1]), signer="police"),
        await edge.call("GET", path_of(UNKNOWN), signer="police"),
        await with_bodies(edge, exchange[0], signer="police", body=REASON),
        await edge.call("GET", path_of(exchange[0]), signer="officer"),
        await edge.call("GET", path_of("nonsense"), signer="officer"),
        await with_bodies(edge, exchange[0], signer="officer", body=REASON),
        await with_bodies(edge, exchange[0], signer="officer", body=b"nonsense"),
    ]
    assert {answer.code for answer in tried} == {"forbidden"}
    assert len({answer.members["detail"] for answer in tried}) == 1
    told = await readings(edge)
    assert {(entry["code"], entry["obj"]) for entry in told} == {("forbidden", "evidence")}
    assert [entry["by"] for entry in told].count(POLICE) == 4
    assert len(told) == len(tried)


async def test_nobody_gets_anything_without_having_signed_for_it(edge, exchange):
    assert (await edge.call("GET", path_of(exchange[0]))).code == "auth_missing"
    stolen = {"Authorization": edge.authorization("auditor", "GET", path_of(exchange[1]))}
    assert (await edge.call("GET", path_of(exchange[0]), headers=stolen)).code == "auth_invalid"
    assert await readings(edge) == []


async def test_what_is_asked_wrongly_is_refused(edge, exchange):
    assert (await edge.call("GET", path_of("nonsense"), signer="auditor")).code == "bad_request"
    assert (await edge.call("GET", path_of(UNKNOWN), signer="auditor")).code == "not_found"
    assert (await edge.call("GET", path_of(exchange[0]) + "?body=true", signer="auditor")).code == "bad_request"
    assert (await with_bodies(edge, exchange[0], signer="auditor", body=b'{"why":"x"}')).code == "bad_request"
    assert (await with_bodies(edge, exchange[0], signer="fisheries", body=b"[]")).code == "bad_request"


async def test_a_party_gets_it_long_after_the_exchange_was_forgotten(edge, world, exchange):
    edge.bus.clock.advance(timedelta(days=60).total_seconds())
    for _ in range(3):
        await edge.bus.sweep.once()
        edge.bus.clock.advance(61)
    assert await edge.bus.ledger.exchange_of(exchange[0]) is None
    for signer in ("fisheries", "ndxp", "auditor"):
        believed(world, await fetched(edge, exchange[0], signer=signer))
    assert (await edge.call("GET", path_of(exchange[0]), signer="police")).code == "forbidden"


# --- bodies ---------------------------------------------------------------------------------------------------------------------------------


async def test_an_auditor_gets_bodies_that_are_held_for_a_reason_that_the_log_tells_first(edge, world):
    asked = world.envelope()
    await edge.post(asked)
    for without in (b"{}", b'{"reason":""}'):
        assert (await with_bodies(edge, asked.hash, signer="auditor", body=without)).code == "bad_request"
    assert await readings(edge) == []
    answer = await with_bodies(edge, asked.hash, signer="auditor", body=REASON)
    assert believed(world, answer.body).message.body == asked.body
    [told] = await readings(edge)
    assert (told["by"], told["env"], told["reason"]) == (AUDITOR, asked.hash, "letter 17")
    assert json.loads(evidence.parse(answer.body).entries[-1].entry) == told


async def test_a_system_gets_the_body_that_it_sent_and_no_other_before_it_is_handed_over(edge, world):
    asked = world.envelope()
    await edge.post(asked)
    sent = await with_bodies(edge, asked.hash, signer="fisheries")
    assert believed(world, sent.body).message.body == asked.body
    awaited = await with_bodies(edge, asked.hash, signer="ndxp")
    assert believed(world, awaited.body).message.body is None
    told = await readings(edge)
    assert [entry["by"] for entry in told] == [FISHERIES, NDXP]
    assert not any("env" in entry for entry in told)


# --- a ledger that somebody changed ---------------------------------------------------------------------------------------------------------


async def test_what_an_outsider_would_not_believe_is_not_given_out(edge, exchange):
    exchanges = edge.bus.ledger._tables.rows.exchanges
    for key, held in exchanges.items():
        exchanges[key] = replace(held, receipt=held.receipt.replace("accepted", "rejected"))
    answer = await edge.call("GET", path_of(exchange[0]), signer="auditor")
    assert (answer.code, "lgsp audit verify names where" in answer.members["detail"]) == ("unavailable", True)
