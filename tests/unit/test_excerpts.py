"""An excerpt of the directory: a few records, each with the proof that the registrar's statement is over it, and nothing else believed."""

from dataclasses import replace

import pytest

from lgsp.domain import directory, jws, statements, strictjson
from lgsp.errors import Refusal
from lgsp.testing.world import BUS, FISHERIES, VERIFY, World

WANTED = [("grant", "g-verify"), ("system", FISHERIES), ("system", "urn:lgsp:agency:H01.99:sys:nobody")]


@pytest.fixture(scope="module")
def world():
    return World.make(version=4)


@pytest.fixture(scope="module")
def placed(world):
    return directory.place(world.directory, WANTED)


def opened(world, placed, statement=None, *, bus=BUS, registrar="registrar"):
    return directory.open_excerpt(
        statement or world.directory.statement, placed, world.signers[registrar].public, bus=bus
    )


def stated(world, **changes):
    """Return a statement by the registrar with some of its members changed."""
    payload = jws.parse(world.directory.statement, typ=statements.DIRECTORY).payload
    members = strictjson.parse_object(payload) | changes
    return jws.sign(strictjson.compact(members), typ=statements.DIRECTORY, signer=world.signers["registrar"])


def test_what_is_wanted_and_there_is_placed_and_opens_with_the_version_it_is_of(world, placed):
    excerpt = opened(world, placed)
    assert len(placed) == 2
    assert (excerpt.version, list(excerpt.systems)) == (4, [FISHERIES])
    assert [grant.id for grant in excerpt.grants[FISHERIES, VERIFY]] == ["g-verify"]


def test_an_excerpt_of_nothing_says_nothing(world):
    assert opened(world, ()).systems == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda first, second: replace(first, record=second.record),
        lambda first, second: replace(first, record=first.record.replace(b'"since":1', b'"since":2')),
        lambda first, second: replace(first, pos=second.pos),
        lambda first, second: replace(first, path=second.path),
        lambda first, second: replace(first, path=first.path[:-1]),
        lambda first, second: replace(first, pos=-1),
        lambda first, second: replace(first, pos=10_000),
    ],
)
def test_a_record_that_is_not_the_statement_s_does_not_open(world, placed, change):
    with pytest.raises(Refusal) as caught:
        opened(world, [change(*placed), placed[1]])
    assert caught.value.code == "directory_invalid"


@pytest.mark.parametrize(
    "changes",
    [
        {"bus": "urn:lgsp:bus:92"},
        {"version": 0},
        {"version": True},
        {"version": "4"},
        {"size": "9"},
        {"root": None},
        {"root": "sha-1:AAAA"},
        {"root": "sha-256:" + "A" * 42 + "B"},
        {"root": "sha-256:" + "A" * 43},
        {"ts": "yesterday"},
    ],
)
def test_a_statement_outside_its_form_opens_no_excerpt(world, placed, changes):
    with pytest.raises(Refusal) as caught:
        opened(world, placed, stated(world, **changes))
    assert caught.value.code == "directory_invalid"


def test_an_excerpt_opens_for_its_own_bus_and_registrar_alone(world, placed):
    for others in ({"bus": "urn:lgsp:bus:92"}, {"registrar": "gateway"}):
        with pytest.raises(Refusal) as caught:
            opened(world, placed, **others)
        assert caught.value.code == "directory_invalid"
