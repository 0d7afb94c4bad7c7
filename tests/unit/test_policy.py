"""Grants and routes as a table of named situations: what is changed in the made-up province, what is stated, and what comes of it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from lgsp.domain import policy
from lgsp.errors import Refusal
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
    manifest_of,
)

FISHERIES_AGENCY = "urn:lgsp:agency:H01.12"
POLICE_AGENCY = "urn:lgsp:agency:H01.21"
POPULATION_AGENCY = "urn:lgsp:agency:G01.02"
ONE_STOP_AGENCY = "urn:lgsp:agency:H01.31"
CHANGED = "vn.lgsp.fisheries.vessel.changed.v1"
TOPIC = f"urn:lgsp:topic:{CHANGED}"
EVENT: dict[str, Any] = {
    "type": CHANGED, "audience": TOPIC, "legalbasis": None, "procedure": None, "authid": None,
}  # fmt: skip
SERVICE = {"kind": "service", "id": CHANGED, "schemas": ["urn:lgsp:schema:fisheries:vessel:1.0.0"], "lane": "event"}
EVENT_GRANT = {
    "kind": "grant", "id": "g-event", "grantee": FISHERIES, "type": CHANGED, "audience": TOPIC, "since": 1, "basis": "Decree",
    "purposes": ["dpv:IdentityVerification"],
}  # fmt: skip
SECOND = {
    "kind": "grant", "id": "g-z-second", "grantee": FISHERIES, "type": VERIFY, "audience": POPULATION, "since": 1, "basis": "Decree",
    "purposes": ["dpv:IdentityVerification"], "legalbases": ["dpv:LegalObligation"], "procedures": ["1.004359"], "officers": ["7f3a91"],
}  # fmt: skip

COLLEAGUES = SECOND | {"officers": ["0a1b2c"]}


def subscriber(name: str, system: str, **members: object) -> dict[str, object]:
    return {"kind": "subscription", "id": name, "subscriber": system, "type": CHANGED, "since": 1} | members


def second_system(agency: str, **members: object) -> dict[str, object]:
    return {"kind": "system", "id": f"{agency}:sys:second", "consumes": ["vn.lgsp.population.*", OWNER_LIST]} | members


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """`expected` is the rule that allows it, or the code that refuses it."""

    expected: str
    stated: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    added: tuple[dict[str, Any], ...] = ()
    used: dict[str, int] = field(default_factory=dict)
    version: int = 1
    now: datetime = NOW
    inboxes: tuple[str, ...] | None = None
    pointer: str | None = None


LISTS = {
    "type": OWNER_LIST,
    "audience": POLICE,
    "legalbasis": None,
    "procedure": None,
    "authid": None,
    "casefile": None,
}
ONE_STOP_ASKS = {"source": ONE_STOP, "procedure": "1.001193", "authid": "5e12c0"}
SITUATIONS: dict[str, Situation] = {
    # who may send what to whom
    "as granted": Situation(expected="g-verify", inboxes=(NDXP,)),
    "another system by its own grant": Situation(stated=ONE_STOP_ASKS, expected="g-applicants", inboxes=(NDXP,)),
    "a system without any grant": Situation(stated={"source": POLICE}, expected="no_grant"),
    "a granted system to another audience": Situation(
        stated=LISTS | {"audience": ONE_STOP}, changes={"g-list-communes": None}, expected="no_grant",
    ),
    "a grant for another type": Situation(stated=LISTS | {"source": ONE_STOP}, expected="no_grant"),
    "no grant at all in the directory": Situation(
        changes=dict.fromkeys(["g-verify", "g-applicants", "g-list-police", "g-list-communes"]), expected="no_grant",
    ),
    "a grant to the agency serves its system": Situation(changes={"g-verify": {"grantee": FISHERIES_AGENCY}}, expected="g-verify"),
    "a grant to a longer agency code": Situation(changes={"g-verify": {"grantee": "urn:lgsp:agency:H01.120"}}, expected="no_grant"),
    "a grant to a shorter agency code": Situation(changes={"g-verify": {"grantee": "urn:lgsp:agency:H01"}}, expected="no_grant"),
    "a grant for the audience's agency": Situation(changes={"g-verify": {"audience": POPULATION_AGENCY}}, expected="g-verify"),
    "a grant for a system while the agency is addressed": Situation(stated={"audience": POPULATION_AGENCY}, expected="no_grant"),
    "a grant for the agency while the agency is addressed": Situation(
        stated={"audience": POPULATION_AGENCY}, changes={"g-verify": {"audience": POPULATION_AGENCY}}, expected="g-verify", inboxes=(NDXP,),
    ),
    "a grant for the bridge is none for its principal": Situation(changes={"g-verify": {"audience": NDXP}}, expected="no_grant"),
    # what must be stated
    "another purpose": Situation(stated={"purpose": "dpv:Marketing"}, expected="purpose_not_granted", pointer="/purpose"),
    "a purpose in another case": Situation(stated={"purpose": "dpv:identityverification"}, expected="purpose_not_granted"),
    "a longer purpose": Situation(stated={"purpose": "dpv:IdentityVerificationX"}, expected="purpose_not_granted"),
    "a required purpose left out": Situation(stated={"purpose": None}, expected="purpose_not_granted", pointer="/purpose"),
    "no purpose granted": Situation(changes={"g-verify": {"purposes": None}}, expected="purpose_not_granted"),
    "an empty list of purposes": Situation(changes={"g-verify": {"purposes": []}}, expected="purpose_not_granted"),
    "one of several purposes": Situation(
        changes={"g-verify": {"purposes": ["dpv:Other", "dpv:IdentityVerification"]}}, expected="g-verify",
    ),
    "another legal basis": Situation(stated={"legalbasis": "dpv:Consent"}, expected="legalbasis_not_granted", pointer="/legalbasis"),
    "a required legal basis left out": Situation(stated={"legalbasis": None}, expected="legalbasis_not_granted"),
    "another procedure": Situation(stated={"procedure": "1.004360"}, expected="procedure_not_granted", pointer="/procedure"),
    "a required procedure left out": Situation(stated={"procedure": None}, expected="procedure_not_granted"),
    "another officer": Situation(stated={"authid": "5e12c0"}, expected="officer_not_granted", pointer="/authid"),
    "a required officer left out": Situation(stated={"authid": None}, expected="officer_not_granted"),
    "what is not asked for may be left out": Situation(
        stated={"procedure": None, "authid": None}, changes={VERIFY: {"requires": ["purpose"]}}, expected="g-verify",
    ),
    "what is not asked for and stated is still checked": Situation(
        stated={"procedure": "1.004360"}, changes={VERIFY: {"requires": []}}, expected="procedure_not_granted",
    ),
    "a case file that the service asks for": Situation(changes={VERIFY: {"requires": ["casefile"]}}, expected="g-verify"),
    "a missing case file that the service asks for": Situation(
        stated={"casefile": None}, changes={VERIFY: {"requires": ["casefile"]}}, expected="manifest", pointer="/casefile",
    ),
    # until when
    "before its first day": Situation(changes={"g-verify": {"valid_from": "2026-11-23"}}, expected="grant_ended"),
    "on its first day": Situation(changes={"g-verify": {"valid_from": "2026-11-22"}}, expected="g-verify"),
    "on its last day": Situation(changes={"g-verify": {"valid_to": "2026-11-22"}}, expected="g-verify"),
    "after its last day": Situation(changes={"g-verify": {"valid_to": "2026-11-21"}}, expected="grant_ended"),
    "in the last hour of its last day at home": Situation(
        changes={"g-verify": {"valid_to": "2026-11-21"}}, now=datetime.fromisoformat("2026-11-21T16:59:59Z"), expected="g-verify",
    ),
    "in the first hour after its last day at home": Situation(
        changes={"g-verify": {"valid_to": "2026-11-21"}}, now=datetime.fromisoformat("2026-11-21T17:00:00Z"), expected="grant_ended",
    ),
    "in the version before it": Situation(changes={"g-verify": {"since": 3}}, version=2, expected="grant_ended"),
    "in its first version": Situation(changes={"g-verify": {"since": 3}}, version=3, expected="g-verify"),
    "in its last version": Situation(changes={"g-verify": {"until": 4}}, version=3, expected="g-verify"),
    "in the version that ended it": Situation(changes={"g-verify": {"until": 4}}, version=4, expected="grant_ended"),
    # how often
    "the first of a quota": Situation(changes={"g-verify": {"quota_per_day": 1}}, expected="g-verify"),
    "one over a quota": Situation(changes={"g-verify": {"quota_per_day": 1}}, used={"g-verify": 1}, expected="quota_exceeded"),
    "far over a quota": Situation(changes={"g-verify": {"quota_per_day": 1}}, used={"g-verify": 99}, expected="quota_exceeded"),
    "another grant's use": Situation(changes={"g-verify": {"quota_per_day": 1}}, used={"g-applicants": 9}, expected="g-verify"),
    "much used without a quota": Situation(used={"g-verify": 10**9}, expected="g-verify"),
    "an officer whose own quota is used up": Situation(
        changes={"g-verify": {"quota_per_day": 1}}, added=(COLLEAGUES | {"quota_per_day": 1},), used={"g-verify": 1},
        expected="quota_exceeded",
    ),
    "a colleague of theirs, who has a quota of their own": Situation(
        stated={"authid": "0a1b2c"}, changes={"g-verify": {"quota_per_day": 1}}, added=(COLLEAGUES | {"quota_per_day": 1},),
        used={"g-verify": 1}, expected="g-z-second",
    ),
    # with several grants
    "two that allow: the first by id": Situation(added=(SECOND,), expected="g-verify"),
    "the first without the purpose: the second": Situation(
        changes={"g-verify": {"purposes": ["dpv:Other"]}}, added=(SECOND,), expected="g-z-second",
    ),
    "the first used up: the second": Situation(
        changes={"g-verify": {"quota_per_day": 1}}, used={"g-verify": 1}, added=(SECOND,), expected="g-z-second",
    ),
    "the first ended: the second": Situation(changes={"g-verify": {"until": 1}}, added=(SECOND,), expected="g-z-second"),
    "none allows: the one that came furthest is named": Situation(
        changes={"g-verify": {"purposes": ["dpv:Other"]}}, added=(SECOND | {"officers": ["ffffff"]},), expected="officer_not_granted",
    ),
    "none allows: furthest, whatever the order": Situation(
        changes={"g-verify": {"officers": ["ffffff"]}}, added=(SECOND | {"purposes": ["dpv:Other"]},), expected="officer_not_granted",
    ),
    "an ended grant says less than one for another purpose": Situation(
        changes={"g-verify": {"until": 1}}, added=(SECOND | {"purposes": ["dpv:Other"]},), expected="purpose_not_granted",
    ),
    # by type
    "a type that nobody offers": Situation(stated={"type": "vn.lgsp.population.citizen.erase.v1"}, expected="type_unknown", pointer="/type"),
    "a later version of the type": Situation(stated={"type": "vn.lgsp.population.citizen.verify.v2"}, expected="type_unknown"),
    # by sender
    "a suspended sender": Situation(changes={FISHERIES: {"status": "suspended"}}, expected="sender_suspended", pointer="/source"),
    "a sender that is not registered": Situation(changes={FISHERIES: None}, expected="sender_suspended"),
    "a sender whose agency is not registered": Situation(changes={FISHERIES_AGENCY: None}, expected="sender_suspended"),
    "a sender whose agency is dissolved": Situation(changes={FISHERIES_AGENCY: {"valid_to": "2026-11-21"}}, expected="sender_suspended"),
    "a sender on its agency's last day": Situation(changes={FISHERIES_AGENCY: {"valid_to": "2026-11-22"}}, expected="g-verify"),
    "a sender before its agency's first day": Situation(changes={FISHERIES_AGENCY: {"valid_from": "2026-11-23"}}, expected="sender_suspended"),
    "a suspended neighbour": Situation(changes={POLICE: {"status": "suspended"}}, expected="g-verify"),
    # by audience
    "a system without bridge": Situation(stated=LISTS, expected="g-list-police", inboxes=(POLICE,)),
    "a system that does not take the type": Situation(
        stated={"audience": POLICE}, changes={"g-verify": {"audience": POLICE}}, expected="route", pointer="/audience",
    ),
    "a system that is not registered": Situation(changes={POPULATION: None}, expected="route"),
    "a system of an agency that is not registered": Situation(changes={POPULATION_AGENCY: None}, expected="route"),
    "a suspended system": Situation(changes={POPULATION: {"status": "suspended"}}, expected="route"),
    "the bridge without delegation": Situation(changes={"d-population": None}, expected="g-verify", inboxes=(POPULATION,)),
    "a delegation for other types": Situation(
        changes={"d-population": {"types": ["vn.lgsp.health.*"]}}, expected="g-verify", inboxes=(POPULATION,),
    ),
    "an agency with one system that takes the type": Situation(
        stated=LISTS | {"audience": POLICE_AGENCY}, changes={"g-list-police": {"audience": POLICE_AGENCY}}, expected="g-list-police",
        inboxes=(POLICE,),
    ),
    "an agency with two systems that take the type": Situation(
        stated=LISTS | {"audience": POLICE_AGENCY}, changes={"g-list-police": {"audience": POLICE_AGENCY}},
        added=(second_system(POLICE_AGENCY),), expected="route",
    ),
    "an agency of whose two systems one is suspended": Situation(
        stated=LISTS | {"audience": POLICE_AGENCY}, changes={"g-list-police": {"audience": POLICE_AGENCY}},
        added=(second_system(POLICE_AGENCY, status="suspended"),), expected="g-list-police", inboxes=(POLICE,),
    ),
    "an agency without a system that takes the type": Situation(stated={"audience": POLICE_AGENCY}, expected="route"),
    "an agency that is not registered": Situation(stated={"audience": "urn:lgsp:agency:H09"}, expected="route"),
    "one of two systems, addressed by itself": Situation(
        stated=LISTS, added=(second_system(POLICE_AGENCY),), expected="g-list-police", inboxes=(POLICE,),
    ),
    "a dissolved agency with one successor": Situation(
        stated=LISTS, changes={POLICE_AGENCY: {"valid_to": "2026-11-21", "successors": [ONE_STOP_AGENCY]}}, expected="g-list-police",
        inboxes=(ONE_STOP,),
    ),
    "an agency that names its successor and still exists": Situation(
        stated=LISTS, changes={POLICE_AGENCY: {"valid_to": "2026-11-22", "successors": [ONE_STOP_AGENCY]}}, expected="g-list-police",
        inboxes=(POLICE,),
    ),
    "a dissolved agency without successor": Situation(
        stated=LISTS, changes={POLICE_AGENCY: {"valid_to": "2026-11-21"}}, expected="audience_dissolved", pointer="/audience",
    ),
    "a dissolved agency with two successors": Situation(
        stated=LISTS, changes={POLICE_AGENCY: {"valid_to": "2026-11-21", "successors": [ONE_STOP_AGENCY, FISHERIES_AGENCY]}},
        expected="audience_dissolved",
    ),
    "a dissolved agency whose successor is dissolved": Situation(
        stated=LISTS,
        changes={
            POLICE_AGENCY: {"valid_to": "2026-11-20", "successors": [ONE_STOP_AGENCY]},
            ONE_STOP_AGENCY: {"valid_to": "2026-11-21", "successors": [FISHERIES_AGENCY]},
        },
        expected="audience_dissolved",
    ),
    "a dissolved agency whose successor takes no such type": Situation(
        stated=LISTS, changes={POLICE_AGENCY: {"valid_to": "2026-11-21", "successors": [FISHERIES_AGENCY]}}, expected="route",
    ),
    # by topic
    "a topic with two subscribers": Situation(
        stated=EVENT, added=(SERVICE, EVENT_GRANT, subscriber("s-1", POLICE), subscriber("s-2", ONE_STOP)), expected="g-event",
        inboxes=(POLICE, ONE_STOP),
    ),
    "a topic without subscribers": Situation(stated=EVENT, added=(SERVICE, EVENT_GRANT), expected="g-event", inboxes=()),
    "a topic whose subscription has ended": Situation(
        stated=EVENT, added=(SERVICE, EVENT_GRANT, subscriber("s-1", POLICE, until=3), subscriber("s-2", ONE_STOP)), version=3,
        expected="g-event", inboxes=(ONE_STOP,),
    ),
    "a topic whose subscriber is behind a bridge": Situation(
        stated=EVENT, added=(SERVICE, EVENT_GRANT, subscriber("s-1", POPULATION)), changes={"d-population": {"types": [CHANGED]}},
        expected="g-event", inboxes=(NDXP,),
    ),
    "a topic of another type": Situation(stated=EVENT | {"audience": f"urn:lgsp:topic:{VERIFY}"}, added=(SERVICE, EVENT_GRANT), expected="route"),
    "a topic without grant": Situation(stated=EVENT, added=(SERVICE,), expected="no_grant"),
    "a grant for the topic is none for a subscriber": Situation(
        stated=EVENT | {"audience": POLICE}, changes={POLICE: {"consumes": [CHANGED]}}, added=(SERVICE, EVENT_GRANT), expected="no_grant",
    ),
}  # fmt: skip


def decide(situation: Situation) -> policy.Leave:
    world = World.make(version=situation.version, now=situation.now, changes=situation.changes, added=situation.added)
    manifest = manifest_of(world.forged(world.manifest(**situation.stated)))
    return policy.allow_request(
        world.directory, manifest, now=situation.now, used=lambda grant: situation.used.get(grant, 0)
    )


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_situation_is_decided_as_the_table_says(name):
    situation = SITUATIONS[name]
    found = outcome_of(situation)
    if isinstance(found, Refusal):
        assert found.code == situation.expected
        assert situation.pointer in {None, found.pointer}
    else:
        assert found.rule == situation.expected
        assert situation.inboxes in {None, tuple(target.inbox for target in found.targets)}


def outcome_of(situation: Situation) -> policy.Leave | Refusal:
    try:
        return decide(situation)
    except Refusal as refusal:
        return refusal


def test_the_table_names_at_least_forty_situations():
    assert len(SITUATIONS) >= 40


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        ("2026-11-21T17:00:00Z", 86_400),
        ("2026-11-22T16:59:59Z", 1),
        ("2026-11-22T16:59:59.999Z", 1),
        ("2026-11-22T05:00:00Z", 43_200),
    ],
)
def test_whose_quota_is_used_up_is_told_when_the_next_day_begins_at_home(moment, seconds):
    now = datetime.fromisoformat(moment)
    refused = outcome_of(
        Situation(changes={"g-verify": {"quota_per_day": 1}}, used={"g-verify": 1}, now=now, expected="quota_exceeded")
    )
    assert refused.facts == {"retry_after": seconds}


def test_a_delivery_keeps_apart_who_is_meant_and_whose_inbox_it_is():
    [target] = decide(SITUATIONS["as granted"]).targets
    assert (target.receiver, target.inbox) == (POPULATION, NDXP)


def test_the_lane_is_the_service_s_unless_the_grant_has_one():
    assert decide(Situation(stated=LISTS, expected="")).lane == "bulk"
    assert decide(Situation(stated=LISTS, changes={"g-list-police": {"lane": "event"}}, expected="")).lane == "event"


def test_an_answer_is_awaited_for_as_long_as_the_service_says_and_to_requests_only():
    assert decide(Situation(expected="")).reply_until == NOW + timedelta(seconds=60)
    assert decide(Situation(stated=LISTS, expected="")).reply_until == NOW + timedelta(days=5)
    event = decide(SITUATIONS["a topic with two subscribers"])
    assert event.reply_until is None
    assert event.lane == "event"


def test_a_reply_to_a_type_that_knows_none_is_of_no_type():
    world = World.make(changes={VERIFY: {"reply_schemas": None}})
    manifest = manifest_of(world.forged(world.manifest(type=VERIFY_REPLY)))
    with pytest.raises(Refusal) as caught:
        policy.service_of(world.directory, manifest)
    assert caught.value.code == "type_unknown"


def test_a_reply_needs_no_grant_and_names_no_rule():
    world = World.make()
    request = world.envelope()
    bare = World.make(changes=dict.fromkeys(["g-verify", "g-applicants"]))
    leave = policy.allow_reply(bare.directory, manifest_of(world.reply(request)), world.exchange(request), now=NOW)
    assert (leave.rule, leave.reply_until, leave.lane) == ("", None, "request")
    assert [target.inbox for target in leave.targets] == [FISHERIES]


def test_a_reply_to_a_principal_goes_to_its_bridge():
    asks = {
        "source": POPULATION,
        "audience": POLICE,
        "type": OWNER_LIST,
        **dict.fromkeys(("procedure", "authid", "legalbasis")),
    }
    world = World.make(
        changes={"g-list-police": {"grantee": POPULATION}, "d-population": {"types": ["vn.lgsp.fisheries.*"]}}
    )
    request = manifest_of(world.forged(world.manifest(**asks)))
    leave = policy.allow_request(world.directory, request, now=NOW, used=lambda _: 0)
    assert leave.targets[0].inbox == POLICE
    assert policy._target(world.directory, POPULATION, f"{OWNER_LIST[:-3]}.reply.v1").inbox == NDXP
