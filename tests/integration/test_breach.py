"""What a suspect did and received, counted by persons; whom of a list it reached, at the word of two officers. Asked of a running gateway."""

import json
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.bus import breach as breaches
from lgsp.domain import base64url, envelope, jws, keys, names, strictjson, subjects
from lgsp.testing.bus import SECRET, publish
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import (
    AUDITOR,
    FISHERIES,
    NDXP,
    OFFICER,
    OWNER_LIST,
    OWNER_LIST_REPLY_SCHEMA,
    OWNER_LIST_SCHEMA,
    POLICE,
    POPULATION,
    World,
    key_record,
)

NUMBERS = ("099185000017", "099185000024", "099185000031")
SECOND = "urn:lgsp:agency:H01.05:officer:b1e281"
NONCE = base64url.encode(bytes(32))
HOUR = timedelta(hours=1)
OWNER = {"ownerName": "NGUYỄN VĂN MẪU", "communeCode": "30742"}


@asynccontextmanager
async def edge_of(world):
    clock = ManualClock(world.now)
    async with running_edge(world, MemoryLedger(), clock=clock, entropy=SeededEntropy(1)) as edge:
        yield edge


@pytest.fixture
def world():
    signer = keys.ed25519_from_seed(bytes([7]) * 32)
    return World.make(added=added(signer), signers={"second": signer})


def added(signer):
    return [{"kind": "officer", "id": SECOND, "roles": ["auditor"]}, key_record(signer, SECOND, "officer")]


@pytest.fixture
async def edge(world):
    async with edge_of(world) as running:
        yield running


async def ask(edge, path, members, *, signer="auditor"):
    return await edge.call("POST", path, signer=signer, body=strictjson.compact(members))


def suspicion(edge, suspect="system", name=FISHERIES, **times):
    now = edge.bus.clock.now()
    span = {"since": now - HOUR, "until": now + HOUR} | times
    return {"suspect": suspect, "name": name, **{key: envelope.format_time(value) for key, value in span.items()}}


async def impact(edge, *args, nonce=NONCE, **times):
    found, after = [], {}
    while True:
        asked = suspicion(edge, *args, **times) | {"nonce": nonce} | after
        page = (await ask(edge, "/admin/impact", asked)).members
        found += page["items"]
        if page["next"] is None:
            return found
        after = {"after": page["next"]}


async def send(edge, number=1, person=NUMBERS[0], **stated):
    body = {"personalNumber": person, "fullName": "Nguyễn Văn Mẫu", "birthDate": "1985"}
    wire = edge.world.envelope(number=number, body=body, **stated)
    await edge.bus.ingress.submit(wire, peer="test")
    return wire


async def entries(edge):
    return [json.loads(entry) for entry in await edge.bus.ledger.entries(0, await edge.bus.ledger.size())]


async def test_what_a_system_sent_is_listed_with_its_persons(edge):
    sent = [(await send(edge, number, NUMBERS[number % 2])).hash for number in range(1, 5)]
    items = await impact(edge)
    assert [item["env"] for item in items] == sent
    marks = {mark for item in items for mark in item["persons"]}
    assert len(marks) == 2
    assert {item["action"] for item in items} == {"vn.lgsp.population.citizen.verify.v1"}
    assert items[0]["casefile"] == "H01.12-20261122-0000001"


async def test_marks_tell_nobody_who_is_behind_them_and_change_with_the_nonce(edge):
    await send(edge)
    [first] = await impact(edge)
    [again] = await impact(edge)
    [other] = await impact(edge, nonce=base64url.encode(bytes([1]) * 32))
    assert first["persons"] == again["persons"] != other["persons"]
    pseudonym = base64url.encode(subjects.pseudonym(SECRET, "CCCD", NUMBERS[0]))
    assert first["persons"][0] not in pseudonym


async def test_what_was_handed_to_a_system_has_reached_it(edge):
    wire = await send(edge)
    assert await impact(edge, "system", NDXP) == []
    await edge.bus.courier.pull(NDXP, limit=1, wait=0)
    [item] = await impact(edge, "system", NDXP)
    assert (item["event"], item["env"], item["to"], len(item["persons"])) == ("msg.delivered", wire.hash, NDXP, 1)


async def test_a_reply_counts_for_the_officer_and_the_key_that_asked(edge):
    wire = await send(edge)
    reply = edge.world.reply(wire)
    await edge.bus.courier.pull(NDXP, limit=1, wait=0)
    await edge.bus.ingress.submit(reply, peer="test")
    for suspect, name in (("officer", OFFICER), ("key", edge.world.signers["fisheries"].kid), ("system", FISHERIES)):
        assert [item["env"] for item in await impact(edge, suspect, name)] == [wire.hash, reply.hash]
    assert [item["env"] for item in await impact(edge, "key", edge.world.signers["ndxp"].kid)] == [reply.hash]
    assert [item["env"] for item in await impact(edge, "system", POPULATION)] == [wire.hash, reply.hash]
    assert await impact(edge, "officer", "urn:lgsp:agency:H01.21:officer:7f3a91") == []


@pytest.fixture
async def answered(edge):
    """The env hashes of a request that names nobody, and of its reply, which names one person."""
    rows = [{"registration": "AG-00001-TS"}]
    asked = edge.world.envelope(
        type=OWNER_LIST, audience=POLICE, dataschema=OWNER_LIST_SCHEMA, procedure=None, casefile=None, authid=None,
        body={"listId": "1", "asOf": "2026-11-22", "orgcat": "2025-07", "rows": [rows[0] | OWNER]},
    )  # fmt: skip
    await edge.bus.ingress.submit(asked, peer="test")
    await edge.bus.courier.pull(POLICE, limit=1, wait=0)
    reply = edge.world.reply(
        asked, signer="police", source=POLICE, type=names.reply_type(OWNER_LIST), dataschema=OWNER_LIST_REPLY_SCHEMA,
        body={"listId": "1", "rows": [rows[0] | {"personalNumber": NUMBERS[1], "status": "found"}]},
    )  # fmt: skip
    await edge.bus.ingress.submit(reply, peer="test")
    return asked.hash, reply.hash


async def read_bodies(edge, env):
    answer = await ask(edge, f"/v1/evidence/{env}", {"reason": "letter 17"})
    assert answer.status == 200, answer.members


@pytest.mark.parametrize("named", [0, 1])
async def test_bodies_that_an_officer_read_for_evidence_count_as_read_with_all_whom_they_name(edge, answered, named):
    assert (await edge.call("GET", f"/v1/evidence/{answered[named]}", signer="auditor")).status == 200
    assert await impact(edge, "officer", AUDITOR) == []  # without bodies nobody is seen
    await read_bodies(edge, answered[named])
    items = await impact(edge, "officer", AUDITOR)
    told = [(item["event"], item["env"], len(item["persons"])) for item in items]
    assert told == [("audit.read", answered[0], 0), ("audit.read", answered[1], 1)]
    assert {item["purpose"] for item in items} == {"dpv:IdentityVerification"}
    assert await impact(edge, "officer", SECOND) == []
    assert [item["event"] for item in await impact(edge)] == ["msg.accepted"] * 2


async def test_a_reading_of_what_is_forgotten_since_counts_for_request_and_reply(edge, answered):
    await read_bodies(edge, answered[1])
    began = edge.bus.clock.now()
    for _ in range(3):
        edge.bus.clock.advance(timedelta(days=40).total_seconds())
        await edge.bus.sweep.once()
    assert await edge.bus.ledger.exchange_of(answered[1]) is None
    items = await impact(edge, "officer", AUDITOR, since=began - HOUR, until=began + HOUR)
    assert [(item["env"], len(item["persons"])) for item in items] == [(answered[0], 0), (answered[1], 1)]


async def test_a_reading_for_evidence_of_what_was_never_accepted_counts_and_names_nobody(edge):
    unknown = jws.hash_of(b"nothing that was ever sent")
    assert (await ask(edge, f"/v1/evidence/{unknown}", {"reason": "letter 17"})).status == 404
    [item] = await impact(edge, "officer", AUDITOR)
    assert (item["event"], item["env"], item["persons"]) == ("audit.read", unknown, [])


async def test_only_what_happened_in_the_time_counts_its_end_not_included(edge):
    clock = edge.bus.clock
    moments, sent = [], []
    for number in range(1, 4):
        moments.append(clock.now())
        sent.append(
            (
                await send(
                    edge,
                    number,
                    recordedtime=envelope.format_time(clock.now()),
                    expirytime=envelope.format_time(clock.now() + HOUR),
                )
            ).hash
        )
        clock.advance(60)
    found = await impact(edge, since=moments[1], until=moments[2])
    assert [item["env"] for item in found] == [sent[1]]


async def test_an_entry_before_the_clock_was_set_back_is_not_lost(edge):
    clock, began = edge.bus.clock, edge.bus.clock.now()
    first = await send(edge, 1)
    clock.advance(-1800)
    second = await send(edge, 2, recordedtime=envelope.format_time(clock.now()))
    found = await impact(edge, since=began - HOUR, until=began)
    assert [item["env"] for item in found] == [second.hash]
    assert [item["env"] for item in await impact(edge, since=began, until=began + HOUR)] == [first.hash]


async def test_pages_are_short_and_join_without_gap(edge, monkeypatch):
    monkeypatch.setattr(breaches, "SCANNED_MAX", 3)
    monkeypatch.setattr(breaches, "READ_AT_ONCE", 2)
    monkeypatch.setattr(breaches, "ITEMS_ENOUGH", 1)
    monkeypatch.setattr(breaches, "LOOKED_UP_AT_ONCE", 1)
    sent = [(await send(edge, number)).hash for number in range(1, 8)]
    assert [item["env"] for item in await impact(edge)] == sent


async def test_forgotten_exchanges_count(edge):
    wire = await send(edge)
    began = edge.bus.clock.now()
    for _ in range(3):
        edge.bus.clock.advance(timedelta(days=40).total_seconds())
        await edge.bus.sweep.once()
    assert await edge.bus.ledger.exchange_of(wire.hash) is None
    for suspect, name in (("officer", OFFICER), ("system", FISHERIES)):
        [item] = await impact(edge, suspect, name, since=began, until=began + HOUR)
        assert (item["env"], len(item["persons"])) == (wire.hash, 1)


async def test_each_page_is_an_entry_and_only_auditors_get_one(edge):
    await send(edge)
    await impact(edge)
    last = (await entries(edge))[-1]
    assert (last["ev"], last["by"], last["obj"]) == ("audit.read", AUDITOR, "impact")
    for signer in ("officer", "fisheries"):
        answer = await ask(edge, "/admin/impact", suspicion(edge) | {"nonce": NONCE}, signer=signer)
        assert answer.status == 403
        assert (await entries(edge))[-1]["code"] == "forbidden"


@pytest.mark.parametrize(
    "wrong",
    [{"suspect": "person"}, {"name": "x"}, {"name": OFFICER}, {"since": "today"}, {"nonce": "short"}, {"after": -1}],
)
async def test_a_wrong_question_is_refused(edge, wrong):
    answer = await ask(edge, "/admin/impact", suspicion(edge) | {"nonce": NONCE} | wrong)
    assert (answer.status, answer.members["code"]) == (400, "bad_request")


# Whom it reached


def request(edge, numbers=NUMBERS, **suspect):
    persons = [{"scheme": "CCCD", "number": number} for number in numbers]
    return {"suspicion": suspicion(edge, **suspect), "persons": persons, "nonce": NONCE}


async def first_asks(edge, wanted, signer="auditor"):
    return await ask(edge, "/admin/impact/ask-names", {"request": wanted, "reason": "a stolen key"}, signer=signer)


async def second_signs(edge, wanted, asked, signer="second"):
    return await ask(edge, "/admin/impact/name", {"request": wanted, "asked": asked}, signer=signer)


async def test_two_officers_learn_whom_of_a_list_it_reached(edge):
    await send(edge, 1, NUMBERS[2])
    await send(edge, 2, NUMBERS[0])
    wanted = request(edge)
    asked = (await first_asks(edge, wanted)).members["asked"]
    assert (await second_signs(edge, wanted, asked)).members == {"places": [0, 2], "next": None}
    first, second = [each for each in await entries(edge) if each["ev"].startswith("admin.persons")]
    assert (first["seq"], first["by"], first["reason"]) == (asked, AUDITOR, "a stolen key")
    assert (second["ev"], second["by"], second["obj"]) == ("admin.persons.named", SECOND, str(asked))
    assert first["hash"] == second["hash"]
    log = json.dumps(await entries(edge))
    assert all(number not in log for number in NUMBERS)


async def test_two_officers_learn_whom_of_a_list_an_officer_read_for_evidence(edge, answered):
    await read_bodies(edge, answered[0])
    wanted = request(edge, suspect="officer", name=AUDITOR)
    asked = (await first_asks(edge, wanted)).members["asked"]
    assert (await second_signs(edge, wanted, asked)).members["places"] == [1]


async def test_persons_of_an_older_key_are_named_too(edge):
    await send(edge, 1, NUMBERS[1])
    edge.bus.persons.keys.add(bytes([5]) * 32)
    wanted = request(edge)
    asked = (await first_asks(edge, wanted)).members["asked"]
    assert (await second_signs(edge, wanted, asked)).members["places"] == [1]


async def test_nobody_names_persons_alone(edge):
    await send(edge)
    wanted = request(edge)
    asked = (await first_asks(edge, wanted)).members["asked"]
    answer = await second_signs(edge, wanted, asked, signer="auditor")
    assert (answer.status, answer.members["code"]) == (403, "not_agreed")
    assert "admin.persons.named" not in {entry["ev"] for entry in await entries(edge)}


@pytest.mark.parametrize("change", ["numbers", "nonce", "suspicion", "entry"])
async def test_the_second_officer_signs_what_the_first_one_did_and_nothing_else(edge, change):
    wanted = request(edge, NUMBERS[:1])
    asked = (await first_asks(edge, wanted)).members["asked"]
    other = {
        "numbers": request(edge),
        "nonce": wanted | {"nonce": base64url.encode(bytes([9]) * 32)},
        "suspicion": wanted | {"suspicion": suspicion(edge, "system", NDXP)},
        "entry": wanted,
    }[change]
    answer = await second_signs(edge, other, asked if change != "entry" else asked - 1)
    assert (answer.status, answer.members["code"]) == (403, "not_agreed")
    assert (await second_signs(edge, wanted, 10**6)).members["code"] == "not_agreed"


async def test_the_first_signature_lasts_seventy_two_hours(edge):
    wanted = request(edge)
    asked = (await first_asks(edge, wanted)).members["asked"]
    edge.bus.clock.advance(breaches.AGREED_WITHIN.total_seconds())
    assert (await second_signs(edge, wanted, asked)).status == 200
    edge.bus.clock.advance(1)
    assert (await second_signs(edge, wanted, asked)).members["code"] == "not_agreed"


async def test_a_first_officer_who_has_lost_the_role_agrees_to_nothing(edge):
    wanted = request(edge)
    asked = (await first_asks(edge, wanted)).members["asked"]
    records = [record for record in edge.bus.registry.current.officers.values() if record.id == AUDITOR]
    assert records[0].roles == ("auditor",)
    signer = edge.world.signers["second"]
    changes = {AUDITOR: {"roles": ["viewer"]}}
    prev = edge.bus.registry.current.hash
    await publish(edge.bus, World.make(version=2, prev=prev, changes=changes, added=added(signer)))
    assert (await second_signs(edge, wanted, asked)).members["code"] == "not_agreed"


async def test_the_owner_of_the_data_folder_is_no_officer(edge):
    naming = breaches.Naming(breach=None, persons=(), nonce="")
    with pytest.raises(breaches.Refusal) as refused:
        await edge.bus.persons.breach.ask_names(naming, by="local", reason="alone at the machine")
    assert refused.value.code == "not_agreed"
