from datetime import UTC, date, datetime

import pytest

from lgsp.domain import base64url, directory, jws, merkle, statements, strictjson
from lgsp.errors import Refusal
from lgsp.testing.world import (
    AUDITOR,
    BUS,
    FISHERIES,
    NDXP,
    NOW,
    ONE_STOP,
    OWNER_LIST,
    POLICE,
    POPULATION,
    VERIFY,
    VERIFY_SCHEMA,
    World,
    key_record,
    signer_named,
)

REGISTRAR = signer_named("registrar")
RECORDS = [b'{"kind":"bus","id":"urn:lgsp:bus:91"}', b'{"kind":"agency","id":"urn:lgsp:agency:H01.12"}']
TOPIC_TYPE = "vn.lgsp.fisheries.vessel.changed.v1"
TOPIC = f"urn:lgsp:topic:{TOPIC_TYPE}"


def root_of(records: list[bytes]) -> str:
    leaves = [merkle.leaf_hash(record) for record in sorted(records)]
    return "sha-256:" + base64url.encode(merkle.root(leaves))


def statement(
    records: list[bytes] = RECORDS, *, signer=REGISTRAR, typ=statements.DIRECTORY, **changes: object
) -> bytes:
    stated = {
        "bus": BUS, "version": 1, "prev": "", "ts": "2026-11-22T00:00:00Z", "size": len(records), "root": root_of(records),
    } | changes  # fmt: skip
    payload = strictjson.compact({name: value for name, value in stated.items() if value is not None})
    return jws.sign(payload, typ=typ, signer=signer)


def opened(data: bytes, records: list[bytes] = RECORDS) -> directory.Directory:
    return directory.open_directory(data, records, REGISTRAR.public, bus=BUS)


def test_a_signed_directory_opens_whatever_order_its_records_come_in():
    for records in (RECORDS, RECORDS[::-1]):
        found = opened(statement(), records)
        assert (found.bus, found.version, found.at) == (BUS, 1, datetime(2026, 11, 22, tzinfo=UTC))
        assert found.encoded == tuple(sorted(RECORDS))
        assert list(found.agencies) == ["urn:lgsp:agency:H01.12"]


TWICE = [*RECORDS, RECORDS[0]]
AGAIN = [*RECORDS, b'{"kind":"agency","id":"urn:lgsp:agency:H01.12","name":"Again"}']
BROKEN = {
    "no statement": (lambda: b"", RECORDS),
    "junk": (lambda: b"a.b.c", RECORDS),
    "another typ": (lambda: statement(typ=statements.RECEIPT), RECORDS),
    "another registrar": (lambda: statement(signer=signer_named("gateway")), RECORDS),
    "a signature that was altered": (lambda: statement()[:-4] + b"AAAA", RECORDS),
    "another bus": (lambda: statement(bus="urn:lgsp:bus:92"), RECORDS),
    "no bus": (lambda: statement(bus=None), RECORDS),
    "no version": (lambda: statement(version=None), RECORDS),
    "version 0": (lambda: statement(version=0), RECORDS),
    "version a text": (lambda: statement(version="1"), RECORDS),
    "version true": (lambda: statement(version=True), RECORDS),
    "another size": (lambda: statement(size=3), RECORDS),
    "no size": (lambda: statement(size=None), RECORDS),
    "another root": (lambda: statement(root=root_of([])), RECORDS),
    "no root": (lambda: statement(root=None), RECORDS),
    "no time": (lambda: statement(ts=None), RECORDS),
    "a time that is none": (lambda: statement(ts="yesterday"), RECORDS),
    "a time without zone": (lambda: statement(ts="2026-11-22T00:00:00"), RECORDS),
    "a payload that is no object": (lambda: jws.sign(b"[]", typ=statements.DIRECTORY, signer=REGISTRAR), RECORDS),
    "a record too few": (statement, RECORDS[:1]),
    "a record too many": (statement, AGAIN),
    "no records": (statement, []),
    "a record that was altered": (statement, [RECORDS[0].replace(b"91", b"92"), RECORDS[1]]),
    "a record that stands twice": (lambda: statement(TWICE), TWICE),
    "two records of one kind and id": (lambda: statement(AGAIN), AGAIN),
    "a record that is none": (lambda: statement([b"{}"]), [b"{}"]),
    "a record that is no JSON": (lambda: statement([b"x"]), [b"x"]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_directory_that_is_not_as_signed_does_not_open(name):
    make, records = BROKEN[name]
    with pytest.raises(Refusal) as caught:
        opened(make(), records)
    assert caught.value.code == "directory_invalid"


def test_the_hash_of_a_statement_is_the_prev_of_the_next():
    first = opened(statement())
    second = statement(version=2, prev=first.hash)
    assert directory.previous_of(second) == first.hash
    assert directory.previous_of(statement()) == ""


def test_version_0_knows_nobody():
    nobody = directory.empty_directory(BUS)
    assert nobody.version == 0
    with pytest.raises(Refusal) as caught:
        nobody.key(REGISTRAR.kid, statements.DIRECTORY)
    assert caught.value.code == "kid_unknown"
    assert nobody.keys_of(BUS) == []


KEYS = {
    "not a thumbprint": (key_record(signer_named("a"), FISHERIES) | {"id": "A" * 43}, "thumbprint"),
    "a point of low order": (
        {"kind": "key", "id": "A" * 43, "owner": FISHERIES, "role": "system", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}, "since": 1},
        "low order",
    ),
    "a private key": (
        key_record(signer_named("a"), FISHERIES) | {"jwk": signer_named("a").public.jwk | {"d": "AA"}}, "private",
    ),
    "a role that does not fit": (key_record(signer_named("a"), FISHERIES, "gateway"), "role"),
}  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
def test_a_directory_with_a_bad_key_does_not_open(name):
    record, words = KEYS[name]
    with pytest.raises(Refusal, match=words) as caught:
        World.make(added=[record])
    assert caught.value.code == "directory_invalid"


def test_a_key_is_found_by_its_id_and_only_while_it_holds():
    old = signer_named("old")
    for version, valid in ((2, False), (3, True), (4, True), (5, False)):
        world = World.make(version=version, added=[key_record(old, FISHERIES, since=3, until=5)])
        found = {key.record.id for key in world.directory.keys_of(FISHERIES)}
        assert (old.kid in found) is valid
        assert world.signers["fisheries"].kid in found


LINKS = {
    "agency of a system": (dict.fromkeys(["urn:lgsp:agency:H01.12"]), (), "system urn:lgsp:agency:H01.12:sys:vnfishbase: its agency"),
    "agency of an officer": (dict.fromkeys(["urn:lgsp:agency:H01.05"]), (), f"officer {AUDITOR}: the agency"),
    "owner of a system's key": (dict.fromkeys([POLICE]), (), "its owner is not registered"),
    "owner of an officer's key": (dict.fromkeys([AUDITOR]), (), "its owner is not registered"),
    "owner of a foreign gateway's key": (
        {}, [key_record(signer_named("foreign"), "urn:lgsp:bus:92:gw:a", "gateway")], "its owner is not registered",
    ),
    "successor": ({"urn:lgsp:agency:H01.12": {"successors": ["urn:lgsp:agency:H09"]}}, (), "successor urn:lgsp:agency:H09"),
    "schema of a service": (dict.fromkeys([VERIFY_SCHEMA]), (), f"service {VERIFY}: schema {VERIFY_SCHEMA}"),
    "reply schema of a service": (
        {OWNER_LIST: {"reply_schemas": ["urn:lgsp:schema:a:b:1.0.0"]}}, (), f"service {OWNER_LIST}: schema urn:lgsp:schema:a:b:1.0.0",
    ),
    "document of a schema": (
        {}, [{"kind": "schema", "id": "urn:lgsp:schema:a:b:1.0.0", "hash": jws.hash_of(b"")}], "its document is missing",
    ),
    "grantee": ({"g-verify": {"grantee": "urn:lgsp:agency:H09:sys:x"}}, (), "grant g-verify: urn:lgsp:agency:H09:sys:x"),
    "audience of a grant": ({"g-verify": {"audience": "urn:lgsp:agency:H09"}}, (), "grant g-verify: urn:lgsp:agency:H09"),
    "type of a grant": ({"g-verify": {"type": TOPIC_TYPE}}, (), f"grant g-verify: service {TOPIC_TYPE}"),
    "bridge": ({"d-population": {"bridge": "urn:lgsp:agency:H09:sys:x"}}, (), "delegation d-population: urn:lgsp:agency:H09:sys:x"),
    "principal": ({"d-population": {"principal": "urn:lgsp:agency:H09:sys:x"}}, (), "delegation d-population: urn:lgsp:agency:H09:sys:x"),
    "subscriber": (
        {}, [{"kind": "subscription", "id": "s-1", "subscriber": "urn:lgsp:agency:H09:sys:x", "type": VERIFY, "since": 1}],
        "subscription s-1: urn:lgsp:agency:H09:sys:x",
    ),
    "type of a subscription": (
        {}, [{"kind": "subscription", "id": "s-1", "subscriber": POLICE, "type": TOPIC_TYPE, "since": 1}], f"subscription s-1: service {TOPIC_TYPE}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LINKS)
def test_a_link_that_points_nowhere_is_told(name):
    changes, added, words = LINKS[name]
    world = World.make(changes=changes, added=added)
    assert any(words in found for found in directory.broken_links(world.directory, world.documents))


def test_a_topic_needs_no_record_of_its_own():
    world = World.make(changes={"g-verify": {"audience": f"urn:lgsp:topic:{VERIFY}"}})
    assert directory.broken_links(world.directory, world.documents) == []


def subscription(subscriber: str, **members: object) -> dict[str, object]:
    return {"kind": "subscription", "id": "s-1", "subscriber": subscriber, "type": TOPIC_TYPE, "since": 1} | members


HEIR = {"urn:lgsp:agency:H01.21": {"valid_to": "2026-11-21", "successors": ["urn:lgsp:agency:H01.31"]}}
AUDIENCES = {
    "itself": ({}, (), FISHERIES, FISHERIES, VERIFY, True),
    "its agency": ({}, (), FISHERIES, "urn:lgsp:agency:H01.12", VERIFY, True),
    "another system": ({}, (), FISHERIES, POLICE, VERIFY, False),
    "another agency": ({}, (), FISHERIES, "urn:lgsp:agency:H01.21", VERIFY, False),
    "its principal": ({}, (), NDXP, POPULATION, VERIFY, True),
    "its principal's agency": ({}, (), NDXP, "urn:lgsp:agency:G01.02", VERIFY, True),
    "its principal for another type": ({}, (), NDXP, POPULATION, OWNER_LIST, False),
    "its principal after the delegation": ({"d-population": {"until": 1}}, (), NDXP, POPULATION, VERIFY, False),
    "its bridge": ({}, (), POPULATION, NDXP, VERIFY, False),
    "a topic it subscribes to": ({}, [subscription(POLICE)], POLICE, TOPIC, TOPIC_TYPE, True),
    "a topic that another subscribes to": ({}, [subscription(POLICE)], ONE_STOP, TOPIC, TOPIC_TYPE, False),
    "a topic after the subscription": ({}, [subscription(POLICE, until=1)], POLICE, TOPIC, TOPIC_TYPE, False),
    "a topic its principal subscribes to": (
        {"d-population": {"types": [TOPIC_TYPE]}}, [subscription(POPULATION)], NDXP, TOPIC, TOPIC_TYPE, True,
    ),
    "an agency it inherited": (HEIR, (), ONE_STOP, "urn:lgsp:agency:H01.21", OWNER_LIST, True),
    "a system of an agency it inherited": (HEIR, (), ONE_STOP, POLICE, OWNER_LIST, True),
    "an agency that another inherited": (HEIR, (), FISHERIES, "urn:lgsp:agency:H01.21", OWNER_LIST, False),
    "the bus": ({}, (), FISHERIES, BUS, VERIFY, False),
    "nobody": ({}, (), FISHERIES, "", VERIFY, False),
}  # fmt: skip


@pytest.mark.parametrize("name", AUDIENCES)
def test_a_system_receives_for_itself_and_for_whom_it_stands(name):
    changes, added, system, audience, message_type, expected = AUDIENCES[name]
    found = World.make(changes=changes, added=added).directory
    assert found.stands_for(system, audience, message_type) is expected


BRIDGES = [
    ({}, VERIFY, NDXP),
    ({}, "vn.lgsp.population.citizen.verify.reply.v1", NDXP),
    ({}, OWNER_LIST, None),
    ({"d-population": {"since": 2}}, VERIFY, None),
    ({"d-population": {"until": 1}}, VERIFY, None),
    ({"d-population": None}, VERIFY, None),
]


@pytest.mark.parametrize(("changes", "message_type", "bridge"), BRIDGES)
def test_a_bridge_stands_for_its_principal_for_the_listed_types(changes, message_type, bridge):
    assert World.make(changes=changes).directory.bridge_for(POPULATION, message_type) == bridge
    assert World.make(changes=changes).directory.bridge_for(FISHERIES, message_type) is None


def test_bridges_and_principals_find_each_other_while_the_delegation_holds():
    for version, since, until, bridges in ((2, 2, 3, {NDXP}), (1, 2, 3, set()), (3, 2, 3, set())):
        found = World.make(version=version, changes={"d-population": {"since": since, "until": until}}).directory
        assert found.bridges_of(POPULATION) == bridges
        assert found.principals_of(NDXP) == ({POPULATION} if bridges else set())
        assert found.bridges_of(NDXP) == found.principals_of(POPULATION) == set()


def test_a_day_is_that_of_the_bus_s_zone():
    assert directory.day_of(NOW) == date(2026, 11, 22)
    assert directory.day_of(datetime(2026, 11, 22, 16, 59, 59, tzinfo=UTC)) == date(2026, 11, 22)
    assert directory.day_of(datetime(2026, 11, 22, 17, 0, tzinfo=UTC)) == date(2026, 11, 23)


def test_a_subscription_counts_while_it_holds_and_by_its_own_id():
    world = World.make(version=2, added=[subscription(POLICE), subscription(ONE_STOP, id="s-over", until=2)])
    [held] = world.directory.subscriptions[TOPIC_TYPE]
    assert world.directory.is_subscribed(["s-none", held.id])
    assert not world.directory.is_subscribed(["s-none", "s-over"])
    assert not world.directory.is_subscribed([])
