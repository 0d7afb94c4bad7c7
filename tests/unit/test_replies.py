"""Replies as a table of named situations: a request was accepted, the province has changed since, and somebody answers.

A reply has no grant of its own: its request is. So whatever became of the grant, what was asked may be answered.
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from lgsp.domain import admission, policy
from lgsp.domain.exchange import Exchange
from lgsp.testing.world import (
    FISHERIES,
    NDXP,
    NOW,
    ONE_STOP,
    OWNER_LIST,
    POLICE,
    POPULATION,
    VERIFY,
    VERIFY_REPLY,
    World,
    key_record,
    made_up_id,
    signer_named,
)

FISHERIES_AGENCY = "urn:lgsp:agency:H01.12"
POPULATION_AGENCY = "urn:lgsp:agency:G01.02"
ONE_STOP_AGENCY = "urn:lgsp:agency:H01.31"
POLICE_AGENCY = "urn:lgsp:agency:H01.21"
OWN = signer_named("population")
BY_AN_HEIR: dict[str, Any] = {"source": ONE_STOP}
ENDED = {"valid_to": "2026-11-21"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What has changed since the request, what the reply states and who signs it; `expected` is the code that refuses it, "" when it is taken."""

    expected: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    stated: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    signer: str = "ndxp"
    version: int = 1
    seconds: float = 1.0
    pointer: str | None = None
    inbox: str = FISHERIES
    lane: str = "request"


SITUATIONS: dict[str, Answered] = {
    # what was asked may be answered
    "by the bridge of who was asked": Answered(),
    "after the grant was withdrawn": Answered(changes=dict.fromkeys(["g-verify", "g-applicants"])),
    "after the last day of the grant": Answered(changes={"g-verify": ENDED}),
    "after the grant ended with a version": Answered(changes={"g-verify": {"until": 2}}, version=2),
    "with a purpose that nobody granted": Answered(stated={"purpose": "dpv:Marketing"}),
    "to an asker who is suspended meanwhile": Answered(changes={FISHERIES: {"status": "suspended"}}),
    "to an asker whose agency is dissolved meanwhile": Answered(changes={FISHERIES_AGENCY: ENDED}),
    "to an asker who has a bridge by now": Answered(
        changes={"d-population": {"principal": FISHERIES, "types": ["vn.lgsp.population.*"]}},
        stated={"source": NDXP}, request={"receivers": (NDXP,)}, inbox=NDXP,
    ),
    "in the lane that its grant sets": Answered(changes={"g-verify": {"lane": "bulk"}}, lane="bulk"),
    "in the lane of the service once the grant is gone": Answered(changes={"g-verify": None, VERIFY: {"lane": "event"}}, lane="event"),
    # by whom
    "by the asker itself": Answered(signer="fisheries", expected="source_not_owned"),
    "by the asker in its own name": Answered(signer="fisheries", stated={"source": FISHERIES}, expected="reply_source", pointer="/source"),
    "by the bridge in its own name": Answered(stated={"source": NDXP}, expected="reply_source"),
    "by another system": Answered(signer="police", stated={"source": POLICE}, expected="reply_source"),
    "by another system, when the agency that was asked is gone": Answered(
        changes={POPULATION_AGENCY: None}, signer="police", stated={"source": POLICE}, expected="reply_source",
    ),
    "by the bridge after its delegation": Answered(changes={"d-population": {"until": 2}}, version=2, expected="source_not_owned"),
    "by the bridge without the type of the reply": Answered(
        changes={"d-population": {"types": [VERIFY]}}, expected="source_not_owned",
    ),
    "by who was asked, with a key of its own": Answered(signer="population"),
    "by who was asked, suspended": Answered(changes={POPULATION: {"status": "suspended"}}, expected="sender_suspended"),
    "by a suspended bridge": Answered(changes={NDXP: {"status": "suspended"}}, expected="sender_suspended"),
    "by who was asked, whose agency is dissolved": Answered(changes={POPULATION_AGENCY: ENDED}),
    "by an heir of the agency that was asked": Answered(
        changes={POPULATION_AGENCY: ENDED | {"successors": [ONE_STOP_AGENCY]}}, signer="one-stop", stated=BY_AN_HEIR,
    ),
    "by one of two heirs": Answered(
        changes={POPULATION_AGENCY: ENDED | {"successors": [POLICE_AGENCY, ONE_STOP_AGENCY]}}, signer="one-stop", stated=BY_AN_HEIR,
    ),
    "by a named heir while the agency still exists": Answered(
        changes={POPULATION_AGENCY: {"valid_to": "2026-11-22", "successors": [ONE_STOP_AGENCY]}}, signer="one-stop", stated=BY_AN_HEIR,
        expected="reply_source",
    ),
    "by a suspended heir": Answered(
        changes={POPULATION_AGENCY: ENDED | {"successors": [ONE_STOP_AGENCY]}, ONE_STOP: {"status": "suspended"}}, signer="one-stop",
        stated=BY_AN_HEIR, expected="sender_suspended",
    ),
    # when, and to what
    "in the last moment": Answered(seconds=60),
    "a millisecond after it": Answered(seconds=60.001, expected="reply_late", pointer="/causationid"),
    "a second time": Answered(request={"reply": "sha-256:x"}, expected="reply_duplicate", pointer="/causationid"),
    "a second time, and too late": Answered(request={"reply": "sha-256:x"}, seconds=61, expected="reply_duplicate"),
    "to what awaits no answer": Answered(request={"reply_until": None}, expected="reply_unasked"),
    "to a request of another type": Answered(request={"type": OWNER_LIST}, expected="reply_unasked", pointer="/causationid"),
    "to a service that is withdrawn": Answered(changes={VERIFY: None}, expected="type_unknown", pointer="/type"),
    "to a service that is answered no more": Answered(changes={VERIFY: {"reply_schemas": None}}, expected="type_unknown"),
    "under the schema of the question": Answered(
        stated={"dataschema": "urn:lgsp:schema:population:citizen-verify-request:1.0.0"}, expected="schema_unknown", pointer="/dataschema",
    ),
}  # fmt: skip


def accepted(**changes: Any) -> Exchange:
    """The verification as it was accepted before anything changed."""
    world = World.make()
    return replace(world.exchange(world.envelope()), **changes)


def judge(situation: Answered, request: Exchange | None) -> admission.Accepted | admission.Refused:
    world = World.make(
        version=situation.version,
        changes=situation.changes,
        added=[key_record(OWN, POPULATION)],
        signers={"population": OWN},
    )
    wire = world.reply(world.envelope(), signer=situation.signer, **situation.stated)
    return world.judge(wire, request=request, now=NOW + timedelta(seconds=situation.seconds))


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_reply_is_taken_or_refused_as_the_table_says(name):
    situation = SITUATIONS[name]
    judged = judge(situation, accepted(**situation.request))
    if isinstance(judged, admission.Refused):
        assert judged.refusal.code == situation.expected
        assert situation.pointer in {None, judged.refusal.pointer}
        return
    leave = judged.leave
    assert situation.expected == ""
    assert (leave.rule, leave.lane, leave.reply_until) == ("", situation.lane, None)
    assert [(target.receiver, target.inbox) for target in leave.targets] == [(FISHERIES, situation.inbox)]


def test_a_reply_that_answers_nothing_is_refused():
    judged = judge(Answered(), None)
    assert isinstance(judged, admission.Refused)
    assert judged.refusal.code == "reply_unasked"


def test_a_reply_to_a_principal_goes_to_its_bridge():
    world = World.make(changes={"d-population": {"types": ["vn.lgsp.fisheries.*"]}})
    reply = f"{OWNER_LIST.removesuffix('.v1')}.reply.v1"
    assert policy._target(world.directory, POPULATION, reply).inbox == NDXP
    assert policy._target(world.directory, POPULATION, VERIFY_REPLY).inbox == POPULATION


def test_what_has_to_be_looked_up_is_the_exchange_itself_and_for_a_reply_its_request_too():
    world = World.make()
    asked = world.envelope(number=7)
    request, reply = world.read(asked), world.read(world.reply(asked, number=8))
    assert (request.exchange_key, request.request_key) == ((FISHERIES, made_up_id(7)), None)
    assert (reply.exchange_key, reply.request_key) == ((POPULATION, made_up_id(8)), (FISHERIES, made_up_id(7)))
