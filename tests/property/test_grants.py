"""What holds for the grants of every directory, tried on many: each gives what it states, and none takes anything away."""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lgsp.domain import policy, statements, strictjson
from lgsp.domain.directory import Directory, open_directory
from lgsp.domain.envelope import Manifest
from lgsp.errors import Refusal
from lgsp.testing.world import (
    BUS,
    FISHERIES,
    NOW,
    ONE_STOP,
    OWNER_LIST,
    OWNERS,
    POLICE,
    POPULATION,
    VERIFY,
    World,
    manifest_of,
    province,
    signer_named,
)

quick = settings(max_examples=40, deadline=None)
FISHERIES_AGENCY = "urn:lgsp:agency:H01.12"
POLICE_AGENCY = "urn:lgsp:agency:H01.21"
ONE_STOP_AGENCY = "urn:lgsp:agency:H01.31"
POPULATION_AGENCY = "urn:lgsp:agency:G01.02"
LINKED = "vn.lgsp.fisheries.vessel.linked.v1"
TOPIC = f"urn:lgsp:topic:{LINKED}"
PURPOSES = ["dpv:IdentityVerification", "dpv:Other"]
REGISTRAR = signer_named("registrar")
PROVINCE = [
    record
    for record in province({name: signer_named(name) for name in OWNERS})
    if record["kind"] in {"bus", "agency", "system", "service", "delegation"}
]
"""All that decides who may send what to whom, but the grants."""
IDS = ("g-1", "g-2", "g-3", "g-4")

WHOLE: list[dict[str, Any]] = [
    {"type": VERIFY, "audience": POPULATION},
    {"type": VERIFY, "audience": POPULATION},
    {"type": OWNER_LIST, "audience": POLICE},
    {"type": LINKED, "audience": TOPIC},
]
"""What a grant is for; the first is the likeliest, so that several for the same meet."""
OTHERWISE: list[dict[str, Any]] = [
    {},
    {},
    {"grantee": FISHERIES_AGENCY},
    {"grantee": ONE_STOP},
    {"audience": POPULATION_AGENCY},
    {"purposes": PURPOSES[1:]},
    {"purposes": PURPOSES},
    {"purposes": []},
    {"legalbases": []},
    {"procedures": []},
    {"officers": ["5e12c0"]},
    {"officers": ["5e12c0", "7f3a91"]},
    {"since": 3},
    {"until": 2},
    {"valid_from": "2026-11-23"},
    {"valid_to": "2026-11-21"},
    {"valid_from": "2026-11-22", "valid_to": "2026-11-22"},
    {"quota_per_day": 1},
    {"quota_per_day": 2},
    {"lane": "bulk"},
]
"""In what a grant may differ from one that allows its request: mostly in one thing, or two grants would hardly ever meet in a request."""


def _grant(what: dict[str, Any], *differences: dict[str, Any]) -> dict[str, Any]:
    found = {
        "kind": "grant",
        "grantee": FISHERIES,
        "since": 1,
        "basis": "Decree",
        "purposes": PURPOSES[:1],
        "legalbases": ["dpv:LegalObligation"],
        "procedures": ["1.004359"],
        "officers": ["7f3a91"],
    } | what
    for difference in differences:
        found |= difference
    return found


grants = st.builds(
    _grant, st.sampled_from(WHOLE), st.sampled_from(OTHERWISE), st.sampled_from(OTHERWISE[:5] + OTHERWISE[-3:])
)
statuses = st.sampled_from(["active"] * 5 + ["suspended"])
lives = st.sampled_from([{}] * 6 + [{"valid_to": "2026-11-21"}, {"valid_from": "2026-11-23"}])
places = st.fixed_dictionaries(
    {
        FISHERIES: st.builds(dict, status=statuses),
        POLICE: st.builds(lambda status: {"status": status, "consumes": [OWNER_LIST, VERIFY]}, statuses),
        FISHERIES_AGENCY: lives,
        POLICE_AGENCY: st.builds(
            lambda life, heirs: life | {"successors": heirs}, lives, st.sampled_from([[], [ONE_STOP_AGENCY]])
        ),
        VERIFY: st.builds(
            dict, requires=st.lists(st.sampled_from(["purpose", "legalbasis", "procedure", "authid"]), unique=True)
        ),
        "d-population": st.builds(dict, until=st.sampled_from([None, 2])),
    }
)
subscriptions = st.lists(st.sampled_from([POLICE, ONE_STOP]), unique=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """All of a directory but its grants, and how often each was used today."""

    version: int
    places: dict[str, Any]
    subscribers: list[str]
    used: dict[str, int]

    def with_grants(self, held: list[dict[str, Any]]) -> Directory:
        service = {"kind": "service", "id": LINKED, "schemas": ["urn:lgsp:schema:fisheries:vessel-linked:1.0.0"]}
        taken = [
            {"kind": "subscription", "id": f"s-{place}", "subscriber": urn, "type": LINKED, "since": 1}
            for place, urn in enumerate(self.subscribers)
        ]
        standing = [_without_none(record | self.places.get(record["id"], {})) for record in PROVINCE]
        encoded = [strictjson.compact(record) for record in (*standing, service, *taken, *held)]
        statement = statements.sign_directory(encoded, signer=REGISTRAR, bus=BUS, version=self.version, prev="", at=NOW)
        return open_directory(statement, encoded, REGISTRAR.public, bus=BUS)


def _without_none(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value is not None}


around = st.builds(
    Surroundings,
    version=st.integers(1, 3),
    places=places,
    subscribers=subscriptions,
    used=st.fixed_dictionaries(dict.fromkeys(IDS, st.integers(0, 3))),
)
named = st.builds(
    lambda held, ids: [grant | {"id": name} for grant, name in zip(held, ids, strict=False)],
    st.lists(grants, min_size=2, max_size=4),
    st.permutations(IDS),
)


@cache
def requests() -> list[Manifest]:
    world = World.make()
    bare = dict.fromkeys(("legalbasis", "procedure", "authid"))
    lists = {"type": OWNER_LIST, **bare}
    stated = [
        {"source": source, "purpose": purpose, **rest}
        for source in (FISHERIES, ONE_STOP)
        for purpose in PURPOSES
        for rest in (
            {"authid": "7f3a91"},
            {"authid": "5e12c0"},
            {"procedure": None, "authid": None},
            {"audience": POPULATION_AGENCY},
            {"audience": POLICE},
            lists | {"audience": POLICE},
            {"type": LINKED, "audience": TOPIC, **bare},
        )
    ]
    return [manifest_of(world.forged(world.manifest(**one))) for one in stated]


def accesses(surroundings: Surroundings, held: list[dict[str, Any]]) -> dict[int, tuple[policy.Target, ...]]:
    """Which of the requests a directory with these grants allows, and where each goes."""
    directory, used = surroundings.with_grants(held), Counter(surroundings.used)
    found = {}
    for place, manifest in enumerate(requests()):
        try:
            leave = policy.allow_request(directory, manifest, now=NOW, used=lambda grant: used[grant])
        except Refusal:
            continue
        found[place] = leave.targets
    return found


@quick
@given(around, named)
def test_a_grant_more_never_takes_an_access_and_a_grant_less_never_gives_one(surroundings, held):
    whole = accesses(surroundings, held)
    for place in range(len(held)):
        fewer = accesses(surroundings, held[:place] + held[place + 1 :])
        assert fewer.items() <= whole.items(), "what is allowed goes where it went"


@quick
@given(around, named)
def test_an_access_is_allowed_by_one_grant_that_would_allow_it_alone(surroundings, held):
    alone = accesses(surroundings, [])
    assert alone == {}, "without a grant nothing is allowed"
    for grant in held:
        alone |= accesses(surroundings, [grant])
    assert accesses(surroundings, held) == alone


WIDER: dict[str, dict[str, Any]] = {
    "one more purpose": {"purposes": PURPOSES},
    "one more officer": {"officers": ["5e12c0", "7f3a91"]},
    "a procedure": {"procedures": ["1.004359"]},
    "no quota": {"quota_per_day": None},
    "no last day": {"valid_to": None},
    "no first day": {"valid_from": None},
    "no last version": {"until": None},
    "an earlier version": {"since": 1},
}


@quick
@given(around, named, st.sampled_from(sorted(WIDER)))
def test_a_wider_grant_allows_all_that_the_narrower_one_did(surroundings, held, how):
    first, *others = held
    wider = {name: value for name, value in (first | WIDER[how]).items() if value is not None}
    assert accesses(surroundings, held).items() <= accesses(surroundings, [wider, *others]).items()


@quick
@given(around, named)
def test_a_use_more_never_gives_an_access(surroundings, held):
    more = Surroundings(
        version=surroundings.version,
        places=surroundings.places,
        subscribers=surroundings.subscribers,
        used={name: count + 1 for name, count in surroundings.used.items()},
    )
    assert accesses(more, held).items() <= accesses(surroundings, held).items()


def test_the_requests_that_are_tried_are_not_all_of_one_kind():
    allowed = accesses(
        Surroundings(version=1, places={}, subscribers=[POLICE], used={}),
        [_grant(what) | {"id": name} for what, name in zip(WHOLE, IDS, strict=True)],
    )
    assert {requests()[place].type for place in allowed} == {VERIFY, OWNER_LIST, LINKED}
    assert 0 < len(allowed) < len(requests())
