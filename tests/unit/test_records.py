from datetime import date

import pytest

from lgsp.domain import records, strictjson
from lgsp.errors import Refusal
from lgsp.testing.world import (
    BUS,
    FISHERIES,
    OFFICER,
    OWNERS,
    POLICE,
    POPULATION,
    VERIFY,
    VERIFY_SCHEMA,
    key_record,
    province,
    signer_named,
)

SIGNER = signer_named("records")
SAMPLES = {
    "bus": {"kind": "bus", "id": BUS, "name": "An Giang", "name_vi": "An Giang", "log": "lgsp.example.vn/91/2026"},
    "agency": {
        "kind": "agency", "id": "urn:lgsp:agency:H01.12", "name": "Department", "valid_from": "2025-07-01", "valid_to": "2026-12-31",
        "successors": ["urn:lgsp:agency:H01.13"],
    },
    "system": {"kind": "system", "id": FISHERIES, "status": "suspended", "consumes": ["vn.lgsp.fisheries.*", VERIFY]},
    "officer": {"kind": "officer", "id": OFFICER, "roles": ["auditor", "viewer"]},
    "key": key_record(SIGNER, FISHERIES, since=2, until=9),
    "service": {
        "kind": "service", "id": VERIFY, "schemas": [VERIFY_SCHEMA], "reply_schemas": [VERIFY_SCHEMA], "reply_within": 30, "max_life": 60,
        "requires": ["purpose", "casefile"], "lane": "bulk", "max_body": 1024, "subjects": [{"pointer": "/rows/*/a_b", "scheme": "BHXH"}],
        "archive_days": 36_525,
    },
    "schema": {"kind": "schema", "id": VERIFY_SCHEMA, "hash": "sha-256:" + "A" * 43},
    "grant": {
        "kind": "grant", "id": "g-1", "grantee": FISHERIES, "type": VERIFY, "audience": POPULATION, "purposes": ["dpv:X"], "legalbases": ["dpv:Y"],
        "procedures": ["1.004359"], "officers": ["7f3a91"], "quota_per_day": 5, "lane": "event", "valid_from": "2026-01-01", "valid_to": "2026-12-31",
        "since": 1, "until": 4, "basis": "Decree",
    },
    "subscription": {"kind": "subscription", "id": "s-1", "subscriber": POLICE, "type": VERIFY, "since": 1},
    "delegation": {
        "kind": "delegation", "id": "d-1", "principal": POPULATION, "bridge": POLICE, "types": ["vn.lgsp.population.*"], "since": 2,
        "basis": "Decree",
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_record_is_written_as_it_was_read(kind):
    data = strictjson.compact(SAMPLES[kind])
    assert records.parse(data).encoded() == data


def test_every_kind_of_record_has_a_sample():
    assert {record.model_fields["kind"].annotation.__args__[0] for record in records.KINDS} == SAMPLES.keys()


def test_every_record_of_the_made_up_province_is_written_as_it_was_read():
    for stated in province(dict.fromkeys(OWNERS, SIGNER)):
        assert strictjson.parse_object(records.from_members(stated).encoded()) == stated


BROKEN = [
    ("bus", {"id": "urn:lgsp:bus:9"}),
    ("bus", {"id": "urn:lgsp:bus:91\n"}),
    ("bus", {"log": "LGSP"}),
    ("agency", {"id": FISHERIES}),
    ("agency", {"id": "urn:lgsp:agency:H٠١"}),
    ("agency", {"valid_from": "2025-02-30"}),
    ("agency", {"valid_from": "01/07/2025"}),
    ("agency", {"valid_from": 0}),
    ("agency", {"valid_from": "1751328000"}),
    ("agency", {"valid_from": "2025-07-01T00:00:00"}),
    ("agency", {"valid_from": "2025-07-01 "}),
    ("agency", {"successors": "urn:lgsp:agency:H01.13"}),
    ("agency", {"successors": [FISHERIES]}),
    ("agency", {"name": ""}),
    ("system", {"id": "urn:lgsp:agency:H01.12"}),
    ("system", {"status": "asleep"}),
    ("system", {"consumes": ["vn.lgsp.*.*"]}),
    ("system", {"consumes": ["*"]}),
    ("system", {"consumes": ["vn.lgsp.*"]}),
    ("officer", {"roles": ["king"]}),
    ("officer", {"id": FISHERIES}),
    ("key", {"id": "short"}),
    ("key", {"role": "witness"}),
    ("key", {"owner": "urn:lgsp:agency:H01.12"}),
    ("key", {"since": 0}),
    ("key", {"since": "2"}),
    ("key", {"since": True}),
    ("key", {"since": 2.0}),
    ("key", {"since": None}),
    ("key", {"until": 0}),
    ("key", {"jwk": {"kty": 5}}),
    ("key", {"jwk": "x"}),
    ("service", {"id": "vn.lgsp.population.*"}),
    ("service", {"schemas": ["https://example.vn/schema"]}),
    ("service", {"reply_within": 0}),
    ("service", {"max_life": 366 * 86_400 + 1}),
    ("service", {"max_body": 16 * 1024 * 1024 + 1}),
    ("service", {"archive_days": 0}),
    ("service", {"archive_days": 36_526}),
    ("service", {"archive_days": "30"}),
    ("service", {"requires": ["mood"]}),
    ("service", {"lane": "fast"}),
    ("service", {"subjects": [{"pointer": "personalNumber", "scheme": "CCCD"}]}),
    ("service", {"subjects": [{"pointer": "/a", "scheme": "PASSPORT"}]}),
    ("service", {"subjects": [{"pointer": "/a", "scheme": "CCCD", "more": 1}]}),
    ("schema", {"hash": "sha-1:x"}),
    ("grant", {"id": "G 1"}),
    ("grant", {"audience": BUS}),
    ("grant", {"type": "vn.lgsp.population.*"}),
    ("grant", {"quota_per_day": 0}),
    ("grant", {"quota_per_day": "5"}),
    ("grant", {"purposes": ["a b"]}),
    ("grant", {"purposes": "dpv:X"}),
    ("grant", {"officers": ["OFFICER"]}),
    ("grant", {"basis": ""}),
    ("subscription", {"subscriber": "urn:lgsp:agency:H01.12"}),
    ("delegation", {"types": ["*"]}),
    ("delegation", {"principal": "urn:lgsp:agency:G01.02"}),
    *((kind, {"unknown": 1}) for kind in SAMPLES),
    *((kind, {"kind": "agencies"}) for kind in SAMPLES),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change"), BROKEN)
def test_a_record_outside_its_form_is_refused(kind, change):
    with pytest.raises(Refusal) as caught:
        records.from_members(SAMPLES[kind] | change)
    assert caught.value.code == "directory_invalid"


REQUIRED_MEMBERS = [
    (kind, name)
    for kind, model in zip(SAMPLES, records.KINDS, strict=True)
    for name, field in model.model_fields.items()
    if field.is_required()
]


@pytest.mark.parametrize(("kind", "name"), REQUIRED_MEMBERS)
def test_a_required_member_cannot_be_left_out(kind, name):
    with pytest.raises(Refusal) as caught:
        records.from_members({key: value for key, value in SAMPLES[kind].items() if key != name})
    assert caught.value.code == "directory_invalid"


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"kind":"bus","kind":"bus","id":"urn:lgsp:bus:91"}', b'{"kind":["bus"]}', b"\xff"]
)
def test_bytes_that_are_no_record_are_refused(data):
    with pytest.raises(Refusal) as caught:
        records.parse(data)
    assert caught.value.code == "directory_invalid"


def test_a_refusal_names_every_problem_of_the_record():
    with pytest.raises(Refusal) as caught:
        records.from_members(SAMPLES["grant"] | {"quota_per_day": 0, "basis": "", "lane": "fast"})
    assert caught.value.detail.startswith("grant g-1: ")
    assert all(name in caught.value.detail for name in ("quota_per_day", "basis", "lane"))


def test_members_may_be_days_as_well_as_texts_of_days():
    read = records.from_members(SAMPLES["agency"] | {"valid_from": date(2025, 7, 1)})
    assert read == records.from_members(SAMPLES["agency"])


VERSIONS = [
    (1, None, 1, True),
    (2, None, 1, False),
    (2, 5, 2, True),
    (2, 5, 4, True),
    (2, 5, 5, False),
    (2, 2, 2, False),
    (3, 2, 2, False),
]


@pytest.mark.parametrize(("since", "until", "version", "holds"), VERSIONS)
def test_a_record_holds_from_its_first_version_up_to_its_last_and_not_in_it(since, until, version, holds):
    record = records.from_members(SAMPLES["delegation"] | {"since": since, "until": until})
    assert isinstance(record, records.DelegationRecord)
    assert record.holds_at(version) is holds


DAYS = [
    ({}, "1999-01-01", True),
    ({"valid_from": "2026-11-22"}, "2026-11-21", False),
    ({"valid_from": "2026-11-22"}, "2026-11-22", True),
    ({"valid_to": "2026-11-22"}, "2026-11-22", True),
    ({"valid_to": "2026-11-22"}, "2026-11-23", False),
    ({"valid_from": "2026-11-23", "valid_to": "2026-11-22"}, "2026-11-22", False),
]


@pytest.mark.parametrize(("dates", "day", "exists"), DAYS)
def test_dates_include_both_their_ends(dates, day, exists):
    plain = {"valid_from": None, "valid_to": None}
    agency = records.from_members({name: value for name, value in (SAMPLES["agency"] | plain | dates).items() if value})
    grant = records.from_members({name: value for name, value in (SAMPLES["grant"] | plain | dates).items() if value})
    assert isinstance(agency, records.AgencyRecord)
    assert isinstance(grant, records.GrantRecord)
    assert agency.exists_on(date.fromisoformat(day)) is exists
    assert grant.in_force_on(date.fromisoformat(day)) is exists
