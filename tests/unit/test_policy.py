"""Grants and routes as a table of named situations: what is changed in the made-up province, what is stated, and what comes of it.

Each is a signed envelope that goes through all checks on arrival. What becomes of replies is in `test_replies`.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lgsp.domain import admission, policy
from lgsp.errors import Refusal
from lgsp.testing.world import (
    BODY,
    FISHERIES,
    IOC,
    NDXP,
    NOW,
    ONE_STOP,
    OWNER_LIST,
    OWNER_LIST_SCHEMA,
    OWNERS,
    POLICE,
    POPULATION,
    VERIFY,
    World,
    manifest_of,
)

FISHERIES_AGENCY = "urn:lgsp:agency:H01.12"
POLICE_AGENCY = "urn:lgsp:agency:H01.21"
POPULATION_AGENCY = "urn:lgsp:agency:G01.02"
ONE_STOP_AGENCY = "urn:lgsp:agency:H01.31"
CHANGED = "vn.lgsp.fisheries.vessel.changed.v1"
TOPIC = f"urn:lgsp:topic:{CHANGED}"
CHANGED_SCHEMA = "urn:lgsp:schema:fisheries:vessel-linked:1.0.0"
EVENT: dict[str, Any] = {
    "type": CHANGED, "audience": TOPIC, "dataschema": CHANGED_SCHEMA, "legalbasis": None, "procedure": None, "authid": None,
}  # fmt: skip
SERVICE = {"kind": "service", "id": CHANGED, "schemas": [CHANGED_SCHEMA], "lane": "event"}
BODIES: dict[str, dict[str, Any]] = {
    OWNER_LIST: {
        "listId": "20261122-30742-001", "asOf": "2026-11-22", "orgcat": "2025-07",
        "rows": [{"registration": "AG-00012-TS", "ownerName": "DANH SÀ RƯƠL", "communeCode": "30742"}],
    },
    CHANGED: {
        "registration": "AG-00012-TS", "communeCode": "30742", "orgcat": "2025-07", "linkedOn": "2026-11-22", "lengthClass": "under12",
    },
}  # fmt: skip
"""By type; anything else has that of a verification."""
SIGNERS = {urn: name for name, (urn, _) in OWNERS.items()} | {POPULATION: "ndxp"}
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
    """`expected` is the rule that allows it, or the code that refuses it; it is signed by the source unless another is named."""

    expected: str
    stated: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    added: tuple[dict[str, Any], ...] = ()
    used: dict[str, int] = field(default_factory=dict)
    version: int = 1
    now: datetime = NOW
    signer: str = ""
    inboxes: tuple[str, ...] | None = None
    pointer: str | None = None


LISTS = {
    "type": OWNER_LIST,
    "audience": POLICE,
    "dataschema": OWNER_LIST_SCHEMA,
    "legalbasis": None,
    "procedure": None,
    "authid": None,
    "casefile": None,
}
FOR_A_PRINCIPAL = LISTS | {"source": POPULATION}
PRINCIPAL_MAY = {"g-list-police": {"grantee": POPULATION}, "d-population": {"types": ["vn.lgsp.fisheries.*"]}}
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
    "one of several legal bases": Situation(
        changes={"g-verify": {"legalbases": ["dpv:Consent", "dpv:LegalObligation"]}}, expected="g-verify",
    ),
    "one of several procedures": Situation(changes={"g-verify": {"procedures": ["1.000001", "1.004359"]}}, expected="g-verify"),
    "one of several officers": Situation(changes={"g-verify": {"officers": ["5e12c0", "7f3a91"]}}, expected="g-verify"),
    "no officer granted": Situation(changes={"g-verify": {"officers": None}}, expected="officer_not_granted"),
    "a legal basis that is neither asked for nor granted": Situation(
        changes={VERIFY: {"requires": ["purpose"]}, "g-verify": {"legalbases": None}}, expected="legalbasis_not_granted",
    ),
    "nothing asked for, nothing granted, nothing stated": Situation(
        stated=dict.fromkeys(("purpose", "legalbasis", "procedure", "casefile", "authid")),
        changes={VERIFY: {"requires": None}, "g-verify": dict.fromkeys(("purposes", "legalbases", "procedures", "officers"))},
        expected="g-verify",
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
    "in the last moment before its first day at home": Situation(
        changes={"g-verify": {"valid_from": "2026-11-22"}}, now=datetime.fromisoformat("2026-11-21T16:59:59.999Z"), expected="grant_ended",
    ),
    "in the first moment of its first day at home": Situation(
        changes={"g-verify": {"valid_from": "2026-11-22"}}, now=datetime.fromisoformat("2026-11-21T17:00:00Z"), expected="g-verify",
    ),
    "on the one day that is its first and its last": Situation(
        changes={"g-verify": {"valid_from": "2026-11-22", "valid_to": "2026-11-22"}}, expected="g-verify",
    ),
    "a last day before the first": Situation(
        changes={"g-verify": {"valid_from": "2026-11-23", "valid_to": "2026-11-21"}}, expected="grant_ended",
    ),
    "on the 29th of February": Situation(
        changes={"g-verify": {"valid_from": "2028-02-29", "valid_to": "2028-02-29"}}, now=datetime.fromisoformat("2028-02-28T18:00:00Z"),
        expected="g-verify",
    ),
    "in a version that begins and ends it": Situation(changes={"g-verify": {"since": 3, "until": 3}}, version=3, expected="grant_ended"),
    "by its days in force and by its versions ended": Situation(
        changes={"g-verify": {"valid_to": "2026-12-31", "until": 2}}, version=2, expected="grant_ended",
    ),
    "by its versions in force and by its days ended": Situation(
        changes={"g-verify": {"valid_to": "2026-11-21", "until": 9}}, version=2, expected="grant_ended",
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
    "none allows: a quota used up is further than another officer": Situation(
        changes={"g-verify": {"quota_per_day": 1}}, used={"g-verify": 1}, added=(SECOND | {"officers": ["ffffff"]},), expected="quota_exceeded",
    ),
    "two halves make no grant": Situation(
        stated={"procedure": "1.001193"}, added=(SECOND | {"procedures": ["1.001193"], "officers": ["5e12c0"]},), expected="officer_not_granted",
    ),
    "a missing case file whatever the grants": Situation(
        stated={"casefile": None}, changes={VERIFY: {"requires": ["casefile"]}}, added=(SECOND,), expected="manifest",
    ),
    "none allows: a missing case file is further than another officer": Situation(
        stated={"casefile": None}, changes={VERIFY: {"requires": ["casefile"]}, "g-verify": {"officers": ["ffffff"]}}, added=(SECOND,),
        expected="manifest",
    ),
    "two that have ended": Situation(changes={"g-verify": {"until": 1}}, added=(SECOND | {"valid_to": "2026-11-21"},), expected="grant_ended"),
    "one for another audience says nothing": Situation(
        changes={"g-verify": {"purposes": ["dpv:Other"]}}, added=(SECOND | {"audience": POLICE, "officers": ["ffffff"]},),
        expected="purpose_not_granted",
    ),
    "one to another system of the agency says nothing": Situation(
        changes={"g-verify": None}, added=(SECOND | {"grantee": f"{FISHERIES_AGENCY}:sys:second"},), expected="no_grant",
    ),
    "one to the system and one to its agency: the first by id": Situation(
        added=(SECOND | {"id": "g-a-agency", "grantee": FISHERIES_AGENCY},), expected="g-a-agency",
    ),
    "the system's used up: its agency's": Situation(
        changes={"g-verify": {"quota_per_day": 1}}, used={"g-verify": 1}, added=(SECOND | {"grantee": FISHERIES_AGENCY},),
        expected="g-z-second",
    ),
    "one for the system addressed and one for its agency: the first by id": Situation(
        added=(SECOND | {"id": "g-a-agency", "audience": POPULATION_AGENCY},), expected="g-a-agency",
    ),
    "each with a quota of its own": Situation(
        changes={"g-verify": {"quota_per_day": 1}}, used={"g-verify": 1, "g-z-second": 1}, added=(SECOND | {"quota_per_day": 2},),
        expected="g-z-second",
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
    # by who signs
    "another system signs for the source": Situation(signer="police", expected="source_not_owned", pointer="/source"),
    "a bridge asks for its principal": Situation(stated=FOR_A_PRINCIPAL, changes=PRINCIPAL_MAY, expected="g-list-police", inboxes=(POLICE,)),
    "a bridge asks for its principal under a grant to itself": Situation(
        stated=FOR_A_PRINCIPAL, changes=PRINCIPAL_MAY | {"g-list-police": {"grantee": NDXP}}, expected="no_grant",
    ),
    "a bridge asks in its own name under its principal's grant": Situation(
        stated=FOR_A_PRINCIPAL | {"source": NDXP}, changes=PRINCIPAL_MAY, expected="no_grant",
    ),
    "a bridge asks for its principal by another type than delegated": Situation(
        stated=FOR_A_PRINCIPAL, changes={"g-list-police": {"grantee": POPULATION}}, expected="source_not_owned",
    ),
    "a bridge asks before its delegation": Situation(
        stated=FOR_A_PRINCIPAL, changes=PRINCIPAL_MAY | {"d-population": {"types": [OWNER_LIST], "since": 3}}, version=2,
        expected="source_not_owned",
    ),
    "a bridge asks in the version that ended its delegation": Situation(
        stated=FOR_A_PRINCIPAL, changes=PRINCIPAL_MAY | {"d-population": {"types": [OWNER_LIST], "until": 3}}, version=3,
        expected="source_not_owned",
    ),
    "a suspended bridge asks for its principal": Situation(
        stated=FOR_A_PRINCIPAL, changes=PRINCIPAL_MAY | {NDXP: {"status": "suspended"}}, expected="sender_suspended",
    ),
    "a bridge asks for a suspended principal": Situation(
        stated=FOR_A_PRINCIPAL, changes=PRINCIPAL_MAY | {POPULATION: {"status": "suspended"}}, expected="sender_suspended",
    ),
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
    "a delegation that has ended": Situation(
        changes={"d-population": {"until": 2}}, version=2, expected="g-verify", inboxes=(POPULATION,),
    ),
    "of two delegations the one for the type": Situation(
        changes={"d-population": {"types": ["vn.lgsp.health.*"]}},
        added=({"kind": "delegation", "id": "d-z", "principal": POPULATION, "bridge": IOC, "types": [VERIFY], "since": 1, "basis": "Decree"},),
        expected="g-verify", inboxes=(IOC,),
    ),
    "a suspended bridge of a system that is not": Situation(changes={NDXP: {"status": "suspended"}}, expected="g-verify", inboxes=(NDXP,)),
    "an agency that begins tomorrow": Situation(
        stated=LISTS, changes={POLICE_AGENCY: {"valid_from": "2026-11-23"}}, expected="audience_dissolved",
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
    "a dissolved agency addressed as such, with one successor": Situation(
        stated=LISTS | {"audience": POLICE_AGENCY},
        changes={"g-list-police": {"audience": POLICE_AGENCY}, POLICE_AGENCY: {"valid_to": "2026-11-21", "successors": [ONE_STOP_AGENCY]}},
        expected="g-list-police", inboxes=(ONE_STOP,),
    ),
    "a dissolved agency of whose successor two systems take the type": Situation(
        stated=LISTS, changes={POLICE_AGENCY: {"valid_to": "2026-11-21", "successors": [ONE_STOP_AGENCY]}},
        added=(second_system(ONE_STOP_AGENCY),), expected="route",
    ),
    "a dissolved agency whose successor begins tomorrow": Situation(
        stated=LISTS,
        changes={
            POLICE_AGENCY: {"valid_to": "2026-11-21", "successors": [ONE_STOP_AGENCY]}, ONE_STOP_AGENCY: {"valid_from": "2026-11-23"},
        },
        expected="audience_dissolved",
    ),
    "a grant for a dissolved agency is none for its successor by name": Situation(
        stated=LISTS | {"audience": ONE_STOP},
        changes={"g-list-communes": None, POLICE_AGENCY: {"valid_to": "2026-11-21", "successors": [ONE_STOP_AGENCY]}}, expected="no_grant",
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
    "a topic one of whose subscribers is suspended": Situation(
        stated=EVENT, added=(SERVICE, EVENT_GRANT, subscriber("s-1", POLICE), subscriber("s-2", ONE_STOP)),
        changes={POLICE: {"status": "suspended"}}, expected="g-event", inboxes=(ONE_STOP,),
    ),
    "a topic whose subscriber is of an agency that is no more": Situation(
        stated=EVENT, added=(SERVICE, EVENT_GRANT, subscriber("s-1", POLICE), subscriber("s-2", ONE_STOP)),
        changes={POLICE_AGENCY: {"valid_to": "2026-11-21", "successors": [ONE_STOP_AGENCY]}}, expected="g-event", inboxes=(ONE_STOP,),
    ),
    "a topic on the last day of a subscriber's agency": Situation(
        stated=EVENT, added=(SERVICE, EVENT_GRANT, subscriber("s-1", POLICE)), changes={POLICE_AGENCY: {"valid_to": "2026-11-22"}},
        expected="g-event", inboxes=(POLICE,),
    ),
    "a topic whose subscription has not begun": Situation(
        stated=EVENT, added=(SERVICE, EVENT_GRANT, subscriber("s-1", POLICE, since=3)), version=2, expected="g-event", inboxes=(),
    ),
    "a topic with a subscriber to another one": Situation(
        stated=EVENT, added=(SERVICE, EVENT_GRANT, subscriber("s-1", POLICE, type=VERIFY)), expected="g-event", inboxes=(),
    ),
    "a topic for which the agency has the grant": Situation(
        stated=EVENT, added=(SERVICE, EVENT_GRANT | {"grantee": FISHERIES_AGENCY}, subscriber("s-1", POLICE)), expected="g-event",
        inboxes=(POLICE,),
    ),
    "a topic by a suspended sender": Situation(
        stated=EVENT, added=(SERVICE, EVENT_GRANT), changes={FISHERIES: {"status": "suspended"}}, expected="sender_suspended",
    ),
    "an event for another purpose": Situation(stated=EVENT | {"purpose": "dpv:Other"}, added=(SERVICE, EVENT_GRANT), expected="purpose_not_granted"),
    "an event without a purpose, where none is asked for": Situation(
        stated=EVENT | {"purpose": None}, added=(SERVICE, EVENT_GRANT), expected="g-event",
    ),
    "a topic of another type": Situation(stated=EVENT | {"audience": f"urn:lgsp:topic:{VERIFY}"}, added=(SERVICE, EVENT_GRANT), expected="route"),
    "a topic without grant": Situation(stated=EVENT, added=(SERVICE,), expected="no_grant"),
    "a grant for the topic is none for a subscriber": Situation(
        stated=EVENT | {"audience": POLICE}, changes={POLICE: {"consumes": [CHANGED]}}, added=(SERVICE, EVENT_GRANT), expected="no_grant",
    ),
}  # fmt: skip


def world_of(situation: Situation) -> World:
    return World.make(version=situation.version, now=situation.now, changes=situation.changes, added=situation.added)


def judge(situation: Situation, world: World | None = None) -> admission.Accepted | admission.Refused:
    world = world or world_of(situation)
    attributes = world.attributes(**situation.stated)
    body = BODIES.get(attributes["type"], BODY)
    signer = situation.signer or SIGNERS[attributes["source"]]
    read = world.read(world.envelope(body=body, signer=signer, **situation.stated))
    if isinstance(read, admission.Refused):
        return read
    return admission.judge(
        read,
        directory=world.directory,
        held=world.contracts,
        now=situation.now,
        request=None,
        used=lambda grant: situation.used.get(grant, 0),
    )


def decide(situation: Situation) -> policy.Leave:
    judged = judge(situation)
    assert isinstance(judged, admission.Accepted), judged
    return judged.leave


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_situation_is_decided_as_the_table_says(name):
    situation = SITUATIONS[name]
    judged = judge(situation)
    if isinstance(judged, admission.Refused):
        assert judged.refusal.code == situation.expected
        assert situation.pointer in {None, judged.refusal.pointer}
    else:
        assert judged.leave.rule == situation.expected
        assert situation.inboxes in {None, tuple(target.inbox for target in judged.leave.targets)}


SAID = {
    "a suspended sender": ("/source", "the system is not active"),
    "a sender that is not registered": ("/source", "the system is not active"),
    "a sender whose agency is not registered": ("/source", "the agency opens no new exchanges"),
    "a sender whose agency is dissolved": ("/source", "the agency opens no new exchanges"),
    "a topic of another type": ("/audience", "a topic takes the type it is named after"),
    "an agency with two systems that take the type": ("/audience", "none or several systems of the agency take this type"),
    "an agency without a system that takes the type": ("/audience", "none or several systems of the agency take this type"),
    "an agency that is not registered": ("/audience", "the agency is not registered"),
    "a system that does not take the type": ("/audience", "the system does not take this type"),
    "a missing case file that the service asks for": ("/casefile", "the service asks for a case file"),
    "no grant at all in the directory": ("", ""),
    "after its last day": ("", ""),
}  # fmt: skip
"""By situation: where the refusal points, and what it says."""


@pytest.mark.parametrize("name", SAID)
def test_a_refusal_says_where_the_trouble_is_and_which_it_is(name):
    judged = judge(SITUATIONS[name])
    assert isinstance(judged, admission.Refused)
    assert (judged.refusal.pointer, judged.refusal.detail) == SAID[name]


def test_who_writes_to_a_dissolved_agency_is_told_its_successors():
    for name, successors in (
        ("a dissolved agency without successor", []),
        ("a dissolved agency with two successors", [ONE_STOP_AGENCY, FISHERIES_AGENCY]),
    ):
        judged = judge(SITUATIONS[name])
        assert isinstance(judged, admission.Refused)
        assert judged.refusal.facts == {"successors": successors}


def test_the_table_names_at_least_sixty_situations_of_which_many_are_allowed_and_many_refused():
    allowed = {name for name, situation in SITUATIONS.items() if situation.expected.startswith("g-")}
    assert len(SITUATIONS) >= 60
    assert min(len(allowed), len(SITUATIONS) - len(allowed)) >= 30


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
    judged = judge(
        Situation(changes={"g-verify": {"quota_per_day": 1}}, used={"g-verify": 1}, now=now, expected="quota_exceeded")
    )
    assert isinstance(judged, admission.Refused)
    assert judged.refusal.facts == {"retry_after": seconds}


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


def test_each_target_of_an_event_names_the_subscription_that_makes_it():
    targets = decide(SITUATIONS["a topic with two subscribers"]).targets
    assert [(target.receiver, target.subscription) for target in targets] == [(POLICE, "s-1"), (ONE_STOP, "s-2")]
    [target] = decide(SITUATIONS["as granted"]).targets
    assert target.subscription == ""


def test_what_goes_to_subscribers_is_an_event_and_what_goes_to_one_system_is_none():
    assert decide(SITUATIONS["a topic with two subscribers"]).is_event
    assert not decide(SITUATIONS["a topic without subscribers"]).is_event
    assert not decide(SITUATIONS["as granted"]).is_event


def rule_or_code(judged: admission.Accepted | admission.Refused) -> str:
    return judged.leave.rule if isinstance(judged, admission.Accepted) else judged.refusal.code


def test_what_was_decided_before_changes_no_decision():
    """All situations of one directory, one after the other and then in reverse, are decided as if each were the first."""
    alike: defaultdict[str, list[Situation]] = defaultdict(list)
    for situation in SITUATIONS.values():
        alike[repr((situation.now, situation.version, situation.changes, situation.added))].append(situation)
    assert max(map(len, alike.values())) > 20
    for group in alike.values():
        world = world_of(group[0])
        for situation in (*group, *reversed(group)):
            assert rule_or_code(judge(situation, world)) == rule_or_code(judge(situation))


def test_what_was_allowed_one_day_is_decided_anew_the_next():
    world = World.make(changes={"g-verify": {"valid_to": "2026-11-22"}})
    manifest = manifest_of(world.envelope())
    midnight = datetime(2026, 11, 22, 17, tzinfo=UTC)
    for now, allowed in ((midnight - timedelta(seconds=1), True), (midnight, False)):
        if allowed:
            assert policy.allow_request(world.directory, manifest, now=now, used=never_used).rule == "g-verify"
        else:
            with pytest.raises(Refusal, match="grant_ended"):
                policy.allow_request(world.directory, manifest, now=now, used=never_used)


def test_a_use_that_a_quota_counts_is_decided_anew_each_time():
    world = World.make(changes={"g-verify": {"quota_per_day": 3}})
    manifest = manifest_of(world.envelope())
    assert policy.allow_request(world.directory, manifest, now=NOW, used=never_used).rule == "g-verify"
    with pytest.raises(Refusal, match="quota_exceeded"):
        policy.allow_request(world.directory, manifest, now=NOW, used=lambda grant: 3)


def test_what_was_decided_is_not_found_out_again(monkeypatch):
    world = World.make()
    first, second = (manifest_of(world.envelope(number=number)) for number in (1, 2))
    decided = policy.allow_request(world.directory, first, now=NOW, used=never_used)
    monkeypatch.setattr(policy, "route", None)
    assert policy.allow_request(world.directory, second, now=NOW, used=never_used) == decided


def test_decisions_are_remembered_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(policy, "DECIDED_MOST", 3)
    world = World.make()
    manifest = manifest_of(world.envelope())
    for day in range(7):
        policy.allow_request(world.directory, manifest, now=NOW + timedelta(days=day), used=never_used)
        assert len(world.directory.decided) == day % 3 + 1


def test_what_was_allowed_of_one_type_is_decided_anew_of_another():
    world = World.make(changes={POLICE: {"consumes": [OWNER_LIST, VERIFY]}, "g-verify": {"audience": POLICE}})
    allowed, other = (world.envelope(audience=POLICE, type=type_) for type_ in (VERIFY, OWNER_LIST))
    assert policy.allow_request(world.directory, manifest_of(allowed), now=NOW, used=never_used).rule == "g-verify"
    with pytest.raises(Refusal):
        policy.allow_request(world.directory, manifest_of(other), now=NOW, used=never_used)


def test_what_goes_to_many_is_not_remembered():
    situation = SITUATIONS["a topic with two subscribers"]
    world = world_of(situation)
    assert isinstance(judge(situation, world), admission.Accepted)
    assert not world.directory.decided
    policy.allow_request(world.directory, manifest_of(world.envelope()), now=NOW, used=never_used)
    assert len(world.directory.decided) == 1


def never_used(grant: str) -> int:
    return 0


def test_a_request_is_counted_when_a_grant_that_may_allow_it_states_a_quota():
    for quota, is_counted in ((None, False), (3, True)):
        world = World.make(changes={"g-verify": {"quota_per_day": quota}})
        manifest = manifest_of(world.envelope())
        assert policy.is_counted(world.directory, manifest) is is_counted
        assert not policy.is_counted(world.directory, manifest_of(world.envelope(source=ONE_STOP)))
