"""Entries are searched by whom they concern: over HTTP, page by page, each reading an entry itself, and nobody sees what is not for them."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.domain import jws, strictjson
from lgsp.domain.envelope import format_time
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import AUDITOR, FISHERIES, NDXP, POLICE, VERIFY, VERIFY_REPLY

NUMBER = "099185000017"
OTHER_NUMBER = "099185000025"
PATH = "/v1/audit/entries"
CASE = "H01.12-20261122-0000001"


@pytest.fixture
async def edge(world):
    clock = ManualClock(world.now)
    async with running_edge(world, MemoryLedger(), clock=clock, entropy=SeededEntropy(1)) as running:
        yield running


async def found(edge, query="", *, signer="auditor"):
    answer = await edge.call("GET", PATH + (f"?{query}" if query else ""), signer=signer)
    assert answer.status == 200, answer.members
    return [json.loads(entry) for entry in answer.members["entries"]]


async def asked(edge, signer="auditor", **members):
    return await edge.call("POST", PATH, signer=signer, body=strictjson.compact(members))


async def log_of(edge):
    ledger = edge.bus.ledger
    return [json.loads(entry) for entry in await ledger.entries(0, await ledger.size())]


async def exchanged(edge, world):
    """Have two requests of fisheries accepted, one answered, one refused, and one reply; return their env hashes by name."""
    request = world.envelope()
    other = world.envelope(
        number=3, casefile="H01.12-20261122-0000002", body=dict(world_body(), personalNumber=OTHER_NUMBER)
    )
    refused = world.envelope(number=4, purpose="dpv:Marketing")
    await edge.post(request)
    await edge.post(other)
    assert (await edge.post(refused)).status != 202
    reply = world.reply(request, number=5)
    assert (await edge.post(reply)).status == 202
    return {"request": request.hash, "other": other.hash, "refused": refused.hash, "reply": reply.hash}


def world_body():
    return {"personalNumber": NUMBER, "fullName": "NGUYỄN THỊ ÁNH TUYẾT", "birthDate": "1985"}


async def test_an_auditor_finds_entries_by_all_that_they_and_their_envelopes_say(edge, world):
    env = await exchanged(edge, world)
    cases = {
        f"env={env['request']}": {"request"},
        f"casefile={CASE}": {"request", "reply"},
        "procedure=1.004359": {"request", "other", "reply"},
        "officer=7f3a91": {"request", "other", "reply"},
        f"type={VERIFY}": {"request", "other", "refused"},
        f"type={VERIFY_REPLY}": {"reply"},
        f"system={FISHERIES}": {"request", "other", "refused", "reply"},
        f"system={POLICE}": set(),
        "agency=urn:lgsp:agency:G01.02": {"request", "other", "refused", "reply"},
        "event=msg.rejected": {"refused"},
        f"casefile={CASE}&event=msg.accepted&type={VERIFY}": {"request"},
    }
    for query, expected in cases.items():
        entries = await found(edge, f"limit=1000&{query}")
        assert {entry["env"] for entry in entries if "env" in entry} == {env[name] for name in expected}, query
    by_code = await found(edge, "code=purpose")
    everything = await log_of(edge)
    assert by_code == [entry for entry in everything if entry.get("code") == "purpose"]


async def test_time_bounds_are_exact_though_a_clock_went_back(edge, world):
    clock = edge.bus.clock
    for minutes in (0, 60, -30, 90, 1):
        clock.advance(minutes * 60)
        await edge.bus.auditor.note_reading(AUDITOR, {}, allowed=True)
    log = await log_of(edge)
    for since, until in ((0, 31), (30, 61), (31, 500), (-60, 1)):
        first = format_time(world.now + timedelta(minutes=since))
        last = format_time(world.now + timedelta(minutes=until))
        expected = [entry for entry in log if first <= entry["ts"] < last]
        assert await found(edge, f"limit=1000&stop={len(log)}&from={first}&until={last}") == expected
        assert expected


async def test_pages_follow_each_other_without_gap_or_repetition_and_end_where_the_log_ended(edge, world):
    await exchanged(edge, world)
    size = await edge.bus.ledger.size()
    start, pages, stop = 0, [], None
    while start is not None:
        members = {"start": start, "limit": 2, "system": FISHERIES} | ({} if stop is None else {"stop": stop})
        answer = (await asked(edge, **members)).members
        pages.append([json.loads(entry) for entry in answer["entries"]])
        start, stop = answer.get("next"), answer["stop"]
    assert stop == size + 1
    assert all(len(page) <= 2 for page in pages)
    seqs = [entry["seq"] for page in pages for entry in page]
    whole = (await asked(edge, system=FISHERIES, limit=1000, stop=stop)).members["entries"]
    assert seqs == [json.loads(entry)["seq"] for entry in whole]
    assert seqs == sorted(set(seqs))
    assert seqs


async def test_the_search_itself_is_an_entry_with_the_hash_of_what_was_asked(edge, world):
    await edge.post(world.envelope())
    await asked(edge, start=0, limit=10, casefile=CASE)
    last = (await log_of(edge))[-1]
    query = strictjson.compact({"casefile": CASE, "limit": 10, "start": 0})
    assert (last["ev"], last["by"], last["hash"]) == ("audit.read", AUDITOR, jws.hash_of(query))
    assert "code" not in last


# The person


async def test_entries_of_the_exchanges_that_name_a_person_are_found_by_a_number_in_the_body(edge, world):
    env = await exchanged(edge, world)
    answer = await asked(edge, person={"scheme": "CCCD", "number": NUMBER})
    assert {json.loads(entry)["env"] for entry in answer.members["entries"]} == {env["request"]}
    other = await asked(edge, person={"scheme": "CCCD", "number": OTHER_NUMBER}, event="msg.accepted")
    assert [json.loads(entry)["env"] for entry in other.members["entries"]] == [env["other"]]
    nobody = await asked(edge, person={"scheme": "CCCD", "number": "099185000033"})
    assert nobody.members["entries"] == []


async def test_a_persons_number_is_neither_in_the_log_nor_in_what_is_written_about_the_call(
    edge, world, caplog, capsys
):
    await asked(edge, person={"scheme": "CCCD", "number": NUMBER})
    await asked(edge, signer="officer", person={"scheme": "CCCD", "number": NUMBER})
    for wrong in (
        {"scheme": "X", "number": NUMBER},
        {"scheme": "CCCD", "number": NUMBER + "?"},
        NUMBER,
        {"number": NUMBER},
    ):
        answer = await asked(edge, person=wrong)
        assert answer.code == "bad_request"
        assert NUMBER not in answer.body.decode()
    out = capsys.readouterr()
    assert NUMBER not in caplog.text + out.out + out.err
    assert NUMBER not in json.dumps(await log_of(edge))
    entries = [entry for entry in await log_of(edge) if entry["ev"] == "audit.read"]
    plain = jws.hash_of(strictjson.compact({"limit": 100, "person": NUMBER, "start": 0}))
    assert plain not in {entry["hash"] for entry in entries}


async def test_a_number_does_not_stand_in_an_address(edge):
    assert (await edge.call("GET", f"{PATH}?person={NUMBER}", signer="auditor")).code == "bad_request"


# Who may


async def test_an_officer_without_the_role_sees_nothing_and_each_attempt_is_an_entry(edge, world):
    await edge.post(world.envelope())
    before = await edge.bus.ledger.size()
    assert (await edge.call("GET", PATH, signer="officer")).code == "forbidden"
    assert (await asked(edge, signer="officer", casefile=CASE)).code == "forbidden"
    assert (await asked(edge, signer="officer", nonsense=1)).code == "forbidden"
    attempts = (await log_of(edge))[before:]
    assert [(entry["ev"], entry["code"]) for entry in attempts] == [("audit.read", "forbidden")] * 3
    assert (await edge.call("GET", PATH)).code == "auth_missing"


async def test_a_system_sees_the_entries_of_its_own_exchanges_alone(edge, world):
    env = await exchanged(edge, world)
    mine = await found(edge, "limit=1000", signer="fisheries")
    assert {entry["env"] for entry in mine} == set(env.values())
    bridged = await found(edge, "limit=1000", signer="ndxp")
    assert {entry["env"] for entry in bridged} == {env["request"], env["other"], env["reply"]}
    assert await found(edge, "limit=1000", signer="police") == []
    assert await found(edge, f"env={env['request']}", signer="police") == []
    person = await asked(edge, signer="police", person={"scheme": "CCCD", "number": NUMBER})
    assert person.members["entries"] == []
    readings = [entry for entry in await log_of(edge) if entry["ev"] == "audit.read"]
    assert {entry["by"] for entry in readings} == {FISHERIES, NDXP, POLICE}
    assert not any("code" in entry for entry in readings)


async def test_a_party_still_sees_its_entries_when_the_exchange_is_forgotten(edge, world):
    env = await exchanged(edge, world)
    before = await found(edge, f"env={env['request']}", signer="ndxp")
    assert before
    edge.bus.clock.advance(timedelta(days=60).total_seconds())
    for _ in range(3):
        await edge.bus.sweep.once()
        edge.bus.clock.advance(61)
    assert await edge.bus.ledger.exchange_of(env["request"]) is None
    after = await found(edge, f"env={env['request']}", signer="ndxp")
    assert [entry["seq"] for entry in after][: len(before)] == [entry["seq"] for entry in before]
    assert await found(edge, f"env={env['request']}", signer="police") == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "start=-1",
        "system=fisheries",
        "agency=H01",
        "from=yesterday",
        "until=0001-01-01T00:00:00Z",
        "event=msg.none",
        "other=1",
    ],
)
async def test_what_is_not_of_its_form_is_refused(edge, query):
    assert (await edge.call("GET", f"{PATH}?{query}", signer="auditor")).code == "bad_request"


async def test_what_the_catalogue_does_not_cover_yet_is_found_in_the_log(edge, world, monkeypatch):
    env = await exchanged(edge, world)
    await edge.bus.sweep.once()
    whole = [entry["seq"] for entry in await found(edge, f"casefile={CASE}")]

    async def never(_self, _seconds=0.0):
        return 0

    monkeypatch.setattr(type(edge.bus.searcher.cataloguer), "follow", never)
    assert [entry["seq"] for entry in await found(edge, f"casefile={CASE}")] == whole
    answer = await asked(edge, person={"scheme": "CCCD", "number": NUMBER})
    assert {json.loads(entry)["env"] for entry in answer.members["entries"]} == {env["request"]}
