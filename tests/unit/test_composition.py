"""What a client signs: in whose name it answers, what it does not answer, and how long it remembers."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lgsp.domain import names
from lgsp.sdk import Refused, Reject, Retry
from lgsp.sdk.composition import Composer, author, published
from lgsp.sdk.message import Effect
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import (
    FISHERIES,
    NDXP,
    OWNER_LIST,
    OWNER_LIST_SCHEMA,
    POLICE,
    POPULATION,
    VERIFICATION,
    VERIFY,
    World,
    manifest_of,
)


@pytest.fixture(scope="module")
def world():
    return World.make()


def composer(world, system, signer):
    clock = ManualClock(world.now)
    return Composer(system=system, signer=world.signers[signer], clock=clock, entropy=SeededEntropy(1, clock))


@pytest.mark.parametrize(
    ("system", "audience", "name"),
    [
        (NDXP, POPULATION, POPULATION),
        (NDXP, names.agency_of(POPULATION), POPULATION),
        (POLICE, names.agency_of(POLICE), POLICE),
        (POLICE, names.agency_of(POPULATION), POLICE),
    ],
    ids=["the principal asked", "a principal of the agency asked", "of its own agency", "with no principal there"],
)
def test_whoever_was_asked_answers(world, system, audience, name):
    request = manifest_of(world.envelope(audience=audience))
    assert author(world.directory, system, request) == name


def test_what_nobody_awaits_is_not_answered(world):
    event = manifest_of(world.envelope(type="vn.lgsp.fisheries.vessel.linked.v1"))
    with pytest.raises(Refused) as caught:
        composer(world, POLICE, "police").reply(event, {}, world.directory)
    assert caught.value.code == "reply_unasked"


def test_the_body_of_an_event_is_kept_until_it_expires_and_that_of_a_request_until_its_reply(world):
    made, stated = composer(world, FISHERIES, "fisheries"), {"schema": OWNER_LIST_SCHEMA, "body": {}}
    event = made.letter(OWNER_LIST, published(OWNER_LIST, stated), world.directory)
    request = made.letter(VERIFY, VERIFICATION, world.directory)
    assert (event.audience, event.keeps, request.keeps) == (names.topic_urn(OWNER_LIST), "expiry", "reply")


def test_an_answer_is_remembered_for_its_own_life_alone(world):
    asked = manifest_of(world.envelope())
    reply = composer(world, NDXP, "ndxp").reply(asked, {"result": "match"}, world.directory)
    service = world.directory.services[VERIFY]
    life = timedelta(seconds=max(service.max_life, service.reply_within))
    assert (reply.source, reply.keeps, reply.until) == (POPULATION, "outcome", world.now + life)


class Letters:
    """Signs nothing."""


def test_a_rejection_takes_the_place_of_all_else():
    effect = Effect(compose=Letters(), request=None)
    effect.execute("DELETE FROM answers")
    effect.reject("owner_unknown", "/fullName")
    assert (effect.steps, effect.letters) == ([], [])
    assert (effect.outcome, effect.code, effect.pointer) == ("rejected", "owner_unknown", "/fullName")


@pytest.mark.parametrize(
    "raised",
    [
        lambda: Reject("Tuyết"),
        lambda: Reject("owner_unknown", "/rows/NGUYỄN THỊ ÁNH TUYẾT"),
        lambda: Retry(code="not yet"),
    ],
)
def test_no_word_of_a_body_leaves_as_a_code_or_pointer(raised):
    with pytest.raises(ValueError, match="a code"):
        raised()
