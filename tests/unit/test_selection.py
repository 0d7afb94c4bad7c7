"""Which entries are asked for is decided on their bytes as it would be on their members."""

import pytest

from lgsp.domain import strictjson
from lgsp.domain.entries import draft
from lgsp.domain.mentions import Business, business, cause_in, env_in
from lgsp.domain.selection import Selection, manifest_by, member, tells_manifest, time_in
from lgsp.testing.samples import NOW
from lgsp.testing.world import BUS, FISHERIES, GATEWAY, NDXP, OFFICER, POPULATION, VERIFY

ENV = "sha-256:" + "A" * 43
CAUSE = "sha-256:" + "B" * 43
FISHERY = "urn:lgsp:agency:H01.12"


def entry(event="msg.accepted", **members):
    return draft(event, at=NOW, bus=GATEWAY, **members).numbered(7)


ACCEPTED = entry(env=ENV, id="1", src=FISHERIES, aud=POPULATION, type=VERIFY, cause=CAUSE)
DELIVERED = entry("msg.delivered", env=ENV, id="1", to=NDXP, attempt=1)
REASONED = entry(
    "admin.parked.read", env=ENV, to=NDXP, by=OFFICER, reason=f'he said ,"code":"no_grant","env":"{CAUSE}","ev":"x"'
)
MANIFEST = {"type": VERIFY, "source": FISHERIES, "audience": POPULATION}


def test_members_are_found_where_they_stand_and_never_inside_of_a_text():
    assert (env_in(ACCEPTED), cause_in(ACCEPTED)) == (ENV, CAUSE)
    assert (member(b"src", ACCEPTED), member(b"to", ACCEPTED)) == (FISHERIES, "")
    assert time_in(ACCEPTED) == strictjson.parse_object(ACCEPTED)["ts"]
    assert (env_in(REASONED), member(b"code", REASONED), member(b"ev", REASONED)) == (ENV, "", "admin.parked.read")
    assert env_in(entry("log.opened", by=BUS, obj="x")) == ""


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        ({}, True),
        ({"event": "msg.accepted"}, True),
        ({"event": "msg.acked"}, False),
        ({"env": ENV}, True),
        ({"env": CAUSE}, False),
        ({"code": "no_grant"}, False),
        ({"since": "2026-11-22T00:16:31.207Z"}, True),
        ({"since": "2026-11-22T00:16:31.208Z"}, False),
        ({"until": "2026-11-22T00:16:31.207Z"}, False),
        ({"until": "2026-11-22T00:16:31.208Z"}, True),
    ],
)
def test_what_an_entry_says_itself(selection, found):
    assert Selection(**selection).takes_entry(ACCEPTED) is found


def test_a_reason_that_looks_like_members_is_a_reason():
    assert not Selection(code="no_grant").takes_entry(REASONED)
    assert not Selection(env=CAUSE).takes_entry(REASONED)
    assert not Selection(event="x").takes_entry(REASONED)


@pytest.mark.parametrize("said", [ACCEPTED, DELIVERED], ids=["accepted", "delivered"])
@pytest.mark.parametrize(
    ("selection", "found"),
    [
        ({"type": VERIFY}, True),
        ({"type": "vn.lgsp.other.v1"}, False),
        ({"system": FISHERIES}, True),
        ({"system": POPULATION}, True),
        ({"system": "urn:lgsp:agency:H01.12:sys:other"}, False),
        ({"agency": FISHERY}, True),
        ({"agency": "urn:lgsp:agency:H01"}, False),
        ({"agency": FISHERY, "system": POPULATION, "type": VERIFY}, True),
        ({"agency": FISHERY, "system": "urn:lgsp:agency:H01.12:sys:other"}, False),
    ],
)
def test_parties_and_type_are_the_entrys_or_its_envelopes(said, selection, found):
    assert Selection(**selection).takes_parties(said, MANIFEST) is found


def test_whoever_acted_is_a_party_and_so_is_the_inbox():
    assert Selection(system=NDXP).takes_parties(DELIVERED, MANIFEST)
    assert Selection(agency="urn:lgsp:agency:" + OFFICER.split(":")[3]).takes_parties(REASONED, {})
    assert tells_manifest(ACCEPTED)
    assert not tells_manifest(DELIVERED)


def test_business_is_the_manifests_or_that_of_the_request_which_is_answered():
    asked = {"casefile": "case-1", "procedure": "1.004359", "authid": "7f3a91"}
    assert business({"procedure": "2.0"}, asked) == Business(casefile="case-1", procedure="2.0", officer="7f3a91")
    assert Selection(casefile="case-1", officer="7f3a91").takes_business(business({}, asked))
    assert not Selection(casefile="case-2").takes_business(business(asked))
    assert not Selection(casefile="case-1").takes_business(business())


def test_what_leaves_least_is_asked_of_the_catalogue():
    assert Selection(procedure="1", env=ENV).indexed() == ("env", ENV)
    assert Selection(procedure="1", officer="a").indexed() == ("officer", "a")
    assert Selection(type=VERIFY).indexed() is None


def test_what_was_asked_is_told_without_a_persons_pseudonym_as_it_is_kept():
    asked = Selection(since="a", person=(b"\x01" * 32, b"\x02" * 32), casefile="case-1")
    assert asked.members() == {"from": "a", "casefile": "case-1", "person": "AQEB" * 10 + "AQE"}
    assert "\\x01" not in repr(asked)


def test_the_entry_that_accepted_an_envelope_tells_the_parties_and_the_type_of_those_that_do_not():
    assert manifest_by(ACCEPTED) == MANIFEST
    assert Selection(system=POPULATION, type=VERIFY).takes_parties(DELIVERED, manifest_by(ACCEPTED))


@pytest.mark.parametrize(
    ("selection", "business", "parties"),
    [
        ({}, False, False),
        ({"event": "msg.accepted", "code": "no_grant", "env": ENV, "since": "a"}, False, False),
        ({"casefile": "case-1"}, True, False),
        ({"procedure": "1.004359"}, True, False),
        ({"officer": "7f3a91"}, True, False),
        ({"agency": FISHERY}, False, True),
        ({"system": FISHERIES}, False, True),
        ({"type": VERIFY}, False, True),
        ({"type": VERIFY, "officer": "7f3a91"}, True, True),
    ],
)
def test_what_has_to_be_read_beside_the_entry_follows_from_what_is_asked(selection, business, parties):
    asked = Selection(**selection)
    assert (asked.asks_business, asked.asks_parties) == (business, parties)
