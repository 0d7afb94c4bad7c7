"""Who used a person's data, withholding, erasure and keys, asked of a running gateway by officers who sign."""

import json
import re
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.domain import base64url, envelope, jws, strictjson, subjects
from lgsp.testing.bus import SECRET
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import AUDITOR, FISHERIES, OFFICER, OWNERS, POPULATION, VERIFY, World

NUMBER = "099185000017"
"""Whom the made-up world's questions are about, from the range that no place uses."""
ANOTHER = "099185000024"
DAY = timedelta(days=1)


@asynccontextmanager
async def edge_of(world, store=None):
    clock = ManualClock(world.now)
    async with running_edge(world, store or MemoryLedger(), clock=clock, entropy=SeededEntropy(1)) as edge:
        yield edge


@pytest.fixture
def world():
    return World.make(changes={OFFICER: {"roles": ["operator"]}})


@pytest.fixture
async def edge(world):
    async with edge_of(world) as running:
        yield running


async def ask(edge, path, members=None, *, signer="auditor", method="POST"):
    body = b"" if members is None else strictjson.compact(members)
    return await edge.call(method, path, signer=signer, body=body)


def inquiry(number=NUMBER, **members):
    return {"scheme": "CCCD", "number": number, **members}


async def uses_of(edge, number=NUMBER, **members):
    return (await ask(edge, "/v1/usages", inquiry(number, **members))).members


async def entries(edge):
    return [json.loads(entry) for entry in await edge.bus.ledger.entries(0, await edge.bus.ledger.size())]


async def send(edge, number=1, person=NUMBER, **attributes):
    body = {"personalNumber": person, "fullName": "Nguyễn Văn Mẫu", "birthDate": "1985"}
    wire = edge.world.envelope(number=number, body=body, **attributes)
    await edge.bus.ingress.submit(wire, peer="test")
    return wire


async def test_a_use_is_told_with_time_parties_purpose_and_the_place_of_its_proof(edge):
    wire = await send(edge)
    answer = await uses_of(edge)
    [usage] = answer["findUsage"]
    manifest = envelope.manifest_of(wire.compact)
    told = {name: usage[name] for name in ("action", "sender", "receiver", "env")}
    assert told == {"action": VERIFY, "sender": FISHERIES, "receiver": POPULATION, "env": wire.hash}
    for name in ("purpose", "legalbasis", "procedure", "casefile"):
        assert usage[name] == manifest.text(name) != ""
    assert usage["officer"] == manifest.text("authid")
    entry = (await entries(edge))[usage["index"]]
    assert (entry["env"], entry["ts"], entry["sc"]) == (wire.hash, usage["logtime"], [usage["commitment"]])
    assert (await edge.client.get(edge.running.url + usage["proof"])).status == 200
    assert answer["usagePeriod"]["from"] == (await entries(edge))[0]["ts"]
    assert answer["next"] is None
    assert (await uses_of(edge, ANOTHER))["findUsage"] == []


async def test_the_entry_of_a_question_hashes_a_commitment_in_the_persons_place(edge):
    await send(edge)
    answer = await uses_of(edge, limit=5)
    entry = next(each for each in await entries(edge) if each["ev"] == "audit.read")
    members = {"after": [-2, ""], "limit": 5, "view": "person", "subject": answer["asked"]["commitment"]}
    assert (entry["by"], entry["obj"], entry["hash"]) == (AUDITOR, "usages", jws.hash_of(strictjson.compact(members)))
    pseudonym = subjects.pseudonym(SECRET, "CCCD", NUMBER)
    salt = base64url.decode(answer["asked"]["salt"])
    assert subjects.commitment(salt, pseudonym) == answer["asked"]["commitment"]
    again = await uses_of(edge, limit=5)
    assert again["asked"] != answer["asked"]


async def test_pages_follow_one_another(edge):
    sent = [(await send(edge, number)).hash for number in range(1, 6)]
    await send(edge, 6, ANOTHER)
    found, after = [], {}
    while True:
        page = await uses_of(edge, limit=2, **after)
        found += [usage["env"] for usage in page["findUsage"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert found == sent


async def test_forgotten_exchanges_are_uses_still(edge):
    wire = await send(edge)
    before = (await uses_of(edge))["findUsage"]
    for _ in range(3):
        edge.bus.clock.advance((40 * DAY).total_seconds())
        await edge.bus.sweep.once()
    assert await edge.bus.ledger.exchange_of(wire.hash) is None
    assert (await uses_of(edge))["findUsage"] == before


# Who may ask


@pytest.mark.parametrize("signer", ["officer", "fisheries", "police"])
async def test_whoever_is_no_auditor_learns_nothing_and_the_attempt_is_an_entry(edge, signer):
    await send(edge)
    answer = await ask(edge, "/v1/usages", inquiry(), signer=signer)
    assert (answer.status, answer.members["code"]) == (403, "forbidden")
    last = (await entries(edge))[-1]
    assert (last["ev"], last["code"], last["obj"]) == ("audit.read", "forbidden", "/v1/usages")
    assert last["by"] == OWNERS[signer][0]


async def test_an_unsigned_question_is_refused_without_an_entry(edge):
    size = await edge.bus.ledger.size()
    async with edge.client.post(edge.running.url + "/v1/usages", data=strictjson.compact(inquiry())) as answer:
        assert answer.status == 401
    assert await edge.bus.ledger.size() == size


@pytest.mark.parametrize(
    "members",
    [
        inquiry("09918500001"),
        inquiry("099185000017 "),
        inquiry(scheme="PASSPORT"),
        inquiry(limit=0),
        inquiry(limit=100_000),
        inquiry(after="99185000017"),
        inquiry(view="all"),
        {"scheme": "CCCD", "number": 99185000017},
    ],
)
async def test_a_wrong_question_is_refused_without_saying_the_number(edge, members):
    answer = await ask(edge, "/v1/usages", members)
    assert (answer.status, answer.members["code"]) == (400, "bad_request")
    assert "99185" not in answer.body.decode()


async def test_the_number_is_in_no_entry_and_no_figure(edge):
    await send(edge)
    await uses_of(edge)
    rule = {"casefile": "VA-1", "basis": "law", "until": "2027-11-22T00:00:00Z", "reason": "a case"}
    await ask(edge, "/admin/withholding", rule)
    await ask(edge, "/admin/subject/erase", inquiry(reason="asked for by the person"))
    async with edge.client.get(edge.running.url + "/metrics") as answer:
        figures = await answer.text()
    log = b"\n".join(await edge.bus.ledger.entries(0, await edge.bus.ledger.size())).decode()
    assert "subject.erased" in log
    assert NUMBER not in figures + log
    assert subjects.pseudonym(SECRET, "CCCD", NUMBER).hex() not in log


# Withholding


async def withhold(edge, **members):
    given = {"basis": "Criminal Procedure Code, made-up", "until": "2027-11-22T00:00:00Z", "reason": "a case is open"}
    return await ask(edge, "/admin/withholding", given | members)


@pytest.mark.parametrize(
    "selector",
    [
        {"system": FISHERIES},
        {"system": "urn:lgsp:agency:H01.12"},
        {"system": POPULATION},
        {"type": VERIFY},
        {"casefile": "AG-90002-TS"},
        {"system": FISHERIES, "type": VERIFY, "casefile": "AG-90002-TS"},
    ],
)
async def test_what_is_withheld_is_shown_to_auditors_and_in_the_log_and_not_to_the_person(edge, selector):
    wire = await send(edge, casefile="AG-90002-TS")
    assert (await withhold(edge, **selector)).status == 200
    assert (await uses_of(edge))["findUsage"] == []
    assert [usage["env"] for usage in (await uses_of(edge, view="auditor"))["findUsage"]] == [wire.hash]
    assert wire.hash in {entry.get("env") for entry in await entries(edge)}


@pytest.mark.parametrize(
    "selector", [{"casefile": "AG-1-TS"}, {"system": FISHERIES, "casefile": "AG-1-TS"}, {"type": VERIFY + "2"}]
)
async def test_what_a_rule_does_not_name_is_shown(edge, selector):
    await send(edge, casefile="AG-90002-TS")
    await withhold(edge, **selector)
    assert len((await uses_of(edge))["findUsage"]) == 1


async def test_an_answer_to_the_person_looks_the_same_whether_something_is_withheld_or_not(edge):
    sent = [(await send(edge, number, casefile=f"AG-9000{number}-TS")).hash for number in range(1, 7)]
    clean = await uses_of(edge, ANOTHER)
    await withhold(edge, casefile="AG-90002-TS")
    await withhold(edge, casefile="AG-90003-TS")
    first = await uses_of(edge, limit=2)
    assert first["note"] == clean["note"]
    assert "note" not in await uses_of(edge, view="auditor")
    second = await uses_of(edge, limit=2, after=first["next"])
    shown = [usage["env"] for page in (first, second) for usage in page["findUsage"]]
    assert shown == [sent[0], sent[3], sent[4], sent[5]]
    assert second["next"] is None


async def test_a_rule_ends_by_itself_at_its_date(edge):
    await send(edge)
    until = envelope.format_time(edge.bus.clock.now() + DAY)
    await withhold(edge, type=VERIFY, until=until)
    assert (await uses_of(edge))["findUsage"] == []
    edge.bus.clock.advance(DAY.total_seconds())
    assert len((await uses_of(edge))["findUsage"]) == 1


async def test_a_rule_is_made_and_ended_with_a_reason_and_each_is_an_entry(edge):
    await send(edge)
    made = (await withhold(edge, type=VERIFY)).members
    listed = (await ask(edge, "/admin/withholding", method="GET")).members["rules"]
    assert [(rule["id"], rule["holds"], rule["type"]) for rule in listed] == [(made["id"], True, VERIFY)]
    ended = await ask(edge, "/admin/withholding/end", {"id": made["id"], "reason": "the case is closed"})
    assert len((await uses_of(edge))["findUsage"]) == 1
    first, second = [entry for entry in await entries(edge) if entry["ev"].startswith("admin.withholding")]
    assert (first["seq"], first["by"], first["obj"], first["reason"]) == (
        made["index"],
        AUDITOR,
        made["id"],
        "a case is open",
    )
    assert first["hash"].startswith("sha-256:")
    assert (second["seq"], second["obj"], second["reason"]) == (
        ended.members["index"],
        made["id"],
        "the case is closed",
    )
    again = await ask(edge, "/admin/withholding/end", {"id": made["id"], "reason": "the case is closed"})
    assert again.members["code"] == "not_found"


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"type": "x"},
        {"system": "fisheries"},
        {"casefile": "a b"},
        {"type": VERIFY, "until": "2020-01-01T00:00:00Z"},
        {"type": VERIFY, "until": "tomorrow"},
        {"type": VERIFY, "reason": f"because of {NUMBER}"},
        {"type": VERIFY, "basis": f"law about {NUMBER}"},
        {"type": VERIFY, "basis": ""},
    ],
)
async def test_a_rule_that_is_not_sound_is_refused(edge, wrong):
    answer = await withhold(edge, **wrong)
    assert (answer.status, answer.members["code"]) == (400, "bad_request")
    assert (await ask(edge, "/admin/withholding", method="GET")).members["rules"] == []


# Erasure


async def test_an_erased_person_is_not_found_and_the_log_stands_as_it_was(edge):
    await send(edge, 1)
    await send(edge, 2, ANOTHER)
    before = await edge.bus.ledger.entries(0, await edge.bus.ledger.size())
    others = (await uses_of(edge, ANOTHER))["findUsage"]
    erased = await ask(edge, "/admin/subject/erase", inquiry(reason="asked for by the person"))
    assert (await uses_of(edge))["findUsage"] == []
    assert (await uses_of(edge, ANOTHER))["findUsage"] == others
    assert (await edge.bus.ledger.entries(0, len(before))) == before
    entry = (await entries(edge))[erased.members["index"]]
    assert (entry["ev"], entry["by"], entry["reason"]) == ("subject.erased", AUDITOR, "asked for by the person")
    await edge.bus.auditor.keep()
    await edge.bus.auditor.check()


async def test_a_person_whom_the_index_does_not_know_is_not_erased(edge):
    answer = await ask(edge, "/admin/subject/erase", inquiry(reason="asked for by the person"))
    assert (answer.status, answer.members["code"]) == (404, "not_found")
    assert "subject.erased" not in {entry["ev"] for entry in await entries(edge)}


async def test_a_person_is_found_again_only_by_what_comes_after_the_erasure(edge):
    await send(edge, 1)
    await ask(edge, "/admin/subject/erase", inquiry(reason="asked for by the person"))
    later = await send(edge, 2)
    assert [usage["env"] for usage in (await uses_of(edge))["findUsage"]] == [later.hash]


# Keys


async def rotate(edge, verb="rotate", signer="officer"):
    return await ask(edge, f"/admin/subject/keys/{verb}", {"reason": "once a year"}, signer=signer)


async def test_after_a_rotation_all_uses_are_found_and_new_ones_have_other_pseudonyms(edge):
    old = await send(edge, 1)
    names = (await rotate(edge)).members["keys"]
    new = await send(edge, 2)
    assert [usage["env"] for usage in (await uses_of(edge))["findUsage"]] == [old.hash, new.hash]
    known = await edge.bus.ledger.persons_of([old.hash, new.hash])
    assert known[old.hash][0].pseudonym != known[new.hash][0].pseudonym
    for wire in (old, new):
        [link] = known[wire.hash]
        [entry] = [each for each in await entries(edge) if each.get("env") == wire.hash]
        assert entry["sc"] == [subjects.commitment(link.salt, link.pseudonym)]
    rotated = next(each for each in await entries(edge) if each["ev"] == "key.rotated")
    assert (rotated["by"], rotated["obj"], rotated["reason"]) == (OFFICER, names[0], "once a year")


async def test_a_search_by_person_finds_what_every_key_has_named(edge):
    sent = [(await send(edge, 1)).hash]
    await rotate(edge)
    sent.append((await send(edge, 2)).hash)
    query = {"person": {"scheme": "CCCD", "number": NUMBER}, "event": "msg.accepted"}
    found = (await ask(edge, "/v1/audit/entries", query)).members["entries"]
    assert [json.loads(entry)["env"] for entry in found] == sent
    await ask(edge, "/admin/subject/erase", inquiry(reason="asked for by the person"))
    assert (await ask(edge, "/v1/audit/entries", query)).members["entries"] == []


async def test_retiring_the_oldest_key_makes_its_pseudonyms_unfindable(edge):
    await send(edge, 1)
    [_, oldest] = (await rotate(edge)).members["keys"]
    new = await send(edge, 2)
    size = await edge.bus.ledger.size()
    before = await edge.bus.ledger.entries(0, size)
    assert (await rotate(edge, "retire")).members["retired"] == oldest
    assert [usage["env"] for usage in (await uses_of(edge))["findUsage"]] == [new.hash]
    assert await edge.bus.ledger.entries(0, size) == before
    retired = next(each for each in await entries(edge) if each["ev"] == "admin.subject.key.retired")
    assert retired["obj"] == oldest
    assert (await rotate(edge, "retire")).members["code"] == "last_key"


async def test_erasing_takes_the_pseudonyms_of_every_key(edge):
    await send(edge, 1)
    await rotate(edge)
    await send(edge, 2)
    await ask(edge, "/admin/subject/erase", inquiry(reason="asked for by the person"))
    assert (await uses_of(edge))["findUsage"] == []


async def test_keys_are_turned_by_operators_alone(edge):
    for signer in ("auditor", "fisheries"):
        assert (await rotate(edge, signer=signer)).status == 403


def test_no_text_of_a_person_shows_the_number():
    person = subjects.person("CCCD", NUMBER)
    assert not re.search("[0-9]{9}", f"{person!r} {person}")


async def test_a_gateway_that_lacks_a_key_of_the_bus_answers_nothing_rather_than_half(edge):
    await send(edge, 1)
    await rotate(edge)
    newest = edge.bus.persons.keys._keys.pop(0)
    for path, members in (("/v1/usages", inquiry()), ("/admin/subject/erase", inquiry(reason="asked for"))):
        answer = await ask(edge, path, members)
        assert (answer.status, answer.members["code"]) == (503, "subject_keys_differ")
    edge.bus.persons.keys.add(newest)
    assert len((await uses_of(edge))["findUsage"]) == 1


async def test_a_gateway_does_not_start_on_a_newest_key_that_was_retired_elsewhere(world):
    store = MemoryLedger()
    async with edge_of(world, store) as edge:
        await rotate(edge)
        await rotate(edge, "retire")
    with pytest.raises(ExceptionGroup) as group:
        async with edge_of(world, store):
            pass
    assert group.value.exceptions[0].code == "subject_keys_differ"


async def test_a_withheld_request_keeps_its_reply_from_the_person_too(edge):
    wire = await send(edge, casefile="AG-90002-TS")
    reply = edge.world.reply(wire)
    await edge.bus.courier.pull("urn:lgsp:agency:H01.05:sys:ndxp", limit=1, wait=0)
    await edge.bus.ingress.submit(reply, peer="test")
    # As if the service declared that its replies name the person: the row that such a reply would have.
    [link] = (await edge.bus.ledger.persons_of([wire.hash]))[wire.hash]
    rows = edge.bus.ledger._tables.rows
    rows.subjects[reply.hash] = (link,)
    rows.indexes[reply.hash] = await edge.bus.ledger.size() - 1
    assert [(usage["env"], usage["casefile"]) for usage in (await uses_of(edge))["findUsage"]] == [
        (wire.hash, "AG-90002-TS"),
        (reply.hash, "AG-90002-TS"),
    ]
    await withhold(edge, casefile="AG-90002-TS")
    assert (await uses_of(edge))["findUsage"] == []
    assert len((await uses_of(edge, view="auditor"))["findUsage"]) == 2
