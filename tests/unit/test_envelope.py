from datetime import UTC, datetime, timedelta, timezone

import pytest

from lgsp.domain import envelope, jws, strictjson
from lgsp.errors import Refusal
from lgsp.testing.world import BODY, FISHERIES, POPULATION, VERIFY, World, made_up_id, manifest_of

WORLD = World.make()
HASH = jws.hash_of(strictjson.compact(BODY))

GOOD = {
    "id": ["0199a1f2-7b1c-7f53-9a0e-0c8b7d6f1a22", "0199a1f2-7b1c-7f53-bfff-0c8b7d6f1a22"],
    "source": [FISHERIES, "urn:lgsp:agency:H01:sys:a"],
    "type": [VERIFY, "vn.lgsp.population.citizen.verify.reply.v1"],
    "time": ["2026-11-22T00:16:31Z", "2026-11-22T00:16:31.123Z", "2024-02-29T23:59:59.999Z", "1970-01-01T00:00:00Z"],
    "audience": [POPULATION, "urn:lgsp:agency:H01.12", "urn:lgsp:topic:vn.lgsp.fisheries.vessel.changed.v1"],
    "datacontenttype": ["application/json"],
    "dataschema": ["urn:lgsp:schema:population:citizen-verify-request:10.20.30"],
    "datahash": [HASH],
    "datasize": [0, 93, 2**31 - 1],
    "correlationid": [made_up_id(5)],
    "causationid": [made_up_id(5)],
    "sequence": ["0000000000000000", "0000000000000042"],
    "partitionkey": [
        "H01.12-20261122-0000001",
        "a",
        "000.00.12.H01-261122-0001",
        "12345678",
        "12345678901",
        "1234567890123",
    ],
    "purpose": ["dpv:IdentityVerification", "x" * 96],
    "legalbasis": ["dpv:LegalObligation"],
    "procedure": ["1.004359", "1.001193.000.00.00.H01"],
    "casefile": ["H01.12-20261122-0000001", "000.00.19.H26-240901-0001"],
    "authid": ["7f3a91", "abcd", "a" * 32],
    "orgcat": ["2025-07"],
    "traceparent": ["00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01"],
    "dataclassification": ["public", "internal", "restricted", "secret"],
    "extension1": ["text", "", "x" * 256, 0, -(2**31), 2**31 - 1, True, False, "Ễ"],
    "a" * 20: ["x"],
}
NO_UUID7 = [
    "0199A1F2-7B1C-7F53-9A0E-0C8B7D6F1A22", "0199a1f2-7b1c-4f53-9a0e-0c8b7d6f1a22", "0199a1f2-7b1c-7f53-7a0e-0c8b7d6f1a22",
    "0199a1f27b1c7f539a0e0c8b7d6f1a22", "{0199a1f2-7b1c-7f53-9a0e-0c8b7d6f1a22}", "0199a1f2-7b1c-7f53-9a0e-0c8b7d6f1a22\n", "", 5, None,
]  # fmt: skip
NO_TIME = [
    "2026-11-22T00:16:31", "2026-11-22T00:16:31+00:00", "2026-11-22T07:16:31+07:00", "2026-11-22 00:16:31Z", "2026-11-22T00:16:31z",
    "2026-11-22T00:16:31.1Z", "2026-11-22T00:16:31.123456Z", "2026-11-22T00:16Z", "2026-11-22", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z",
    "2026-11-22T24:00:00Z", "2026-11-22T23:59:60Z", "0000-01-01T00:00:00Z", "2026-11-22T00:16:3١Z", "20261122T001631Z", "2026-W47-7T00:00:00Z",
    "2026-11-22T00:16:31Z\n", "", 1795306591, None,
]  # fmt: skip
NO_CODE = ["", " ", "a b", "-a", "ễ", "a\n", "x" * 97, 5, True, None, ["a"], {}]
BAD = {
    "specversion": ["1.1", "1", 1.0, "", None],
    "id": NO_UUID7,
    "source": ["urn:lgsp:agency:H01.12", "urn:lgsp:bus:91:gw:a", "urn:lgsp:agency:H01.12:officer:7f3a91", "H01.12/vnfishbase", f"{FISHERIES} ", "", 5],
    "type": ["vn.lgsp.population.*", "vn.lgsp.population.citizen.verify", "", 5],
    "time": NO_TIME,
    "recordedtime": NO_TIME,
    "expirytime": NO_TIME,
    "audience": ["urn:lgsp:bus:91", "urn:lgsp:agency:H01.12:officer:7f3a91", [POPULATION], "", "urn:lgsp:topic:all", f"{POPULATION},{FISHERIES}", None],
    "dataschema": ["urn:lgsp:schema:population:citizen-verify-request:1", "https://example.vn/schema", "", None],
    "datahash": ["sha-1:2jmj7l5rSw0yVb_vlWAYkK_YBwk", "SHA-256:" + "A" * 43, "sha-256:" + "A" * 42, f"{HASH}=", "", None],
    "datasize": [-1, 2**31, 93.0, "93", True, None],
    "correlationid": NO_UUID7,
    "causationid": NO_UUID7,
    "sequence": ["1", "00000000000000001", "000000000000000٤", 42],
    "partitionkey": ["099185000017", "990000123", "9900001234", *NO_CODE],
    "casefile": ["099185000017", "990000123", "9900001234", *NO_CODE],
    "authid": ["7f3", "7F3A91", "a" * 33, "7f3a91 ", "099185000017", "990000123", 5],
    "purpose": NO_CODE,
    "legalbasis": NO_CODE,
    "procedure": NO_CODE,
    "orgcat": ["", "2025/07", "x" * 33],
    "traceparent": ["00-0AF7651916CD43DD8448EB211C80319C-b9c7c989f97918e1-01", "01-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01", ""],
    "dataclassification": ["Public", "top", "", None],
    "subject": ["099185000017", ""],
    "data": [{}, "x"],
    "data_base64": ["e30"],
    "extension1": [None, 1.5, [], {}, "x" * 257, 2**31, -(2**31) - 1, 10**40, "a\nb", "a\x00", "\x7f"],
    "Extension": ["x"],
    "ext_1": ["x"],
    "ext-1": ["x"],
    "a" * 21: ["x"],
    "": ["x"],
    "tên": ["x"],
}  # fmt: skip
UNSUPPORTED = {
    "dataref": ["https://example.vn/body", None],
    "datacontenttype": [
        "application/jose",
        "text/plain",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "",
        None,
        5,
    ],
}


def rows(table):
    return [pytest.param(name, value, id=f"{name}={value!r:.40}") for name, values in table.items() for value in values]


def payload(name, value):
    """The manifest with one attribute as it is, None included."""
    stated = WORLD.attributes() | {"datahash": HASH, "datasize": 93} | {name: value}
    return strictjson.compact(stated)


@pytest.mark.parametrize(("name", "value"), rows(GOOD))
def test_an_attribute_within_its_rule_is_taken_and_kept(name, value):
    assert envelope.parse_manifest(payload(name, value)).attributes[name] == value


@pytest.mark.parametrize(("name", "value"), rows(BAD))
def test_an_attribute_outside_its_rule_is_refused(name, value):
    with pytest.raises(Refusal) as caught:
        envelope.parse_manifest(payload(name, value))
    assert caught.value.code == "manifest"
    assert caught.value.pointer in {f"/{name}", ""}


@pytest.mark.parametrize(("name", "value"), rows(UNSUPPORTED))
def test_what_is_reserved_is_refused_as_unsupported(name, value):
    with pytest.raises(Refusal) as caught:
        envelope.parse_manifest(payload(name, value))
    assert caught.value.code == "unsupported"


def test_every_known_attribute_stands_in_the_tables():
    known = envelope.TEXT_RULES.keys() | envelope.SPECIAL_RULES.keys() | set(envelope.REQUIRED)
    assert known <= BAD.keys() | UNSUPPORTED.keys()
    assert known - envelope.REFUSED - envelope.RESERVED <= GOOD.keys() | {"specversion", "recordedtime", "expirytime"}


@pytest.mark.parametrize("name", envelope.REQUIRED)
def test_a_required_attribute_cannot_be_left_out(name):
    with pytest.raises(Refusal) as caught:
        envelope.parse_manifest(WORLD.manifest(**{name: None}))
    assert (caught.value.code, caught.value.pointer) == ("manifest", f"/{name}")


@pytest.mark.parametrize("name", sorted(set(WORLD.attributes()) - set(envelope.REQUIRED)))
def test_an_optional_attribute_may_be_left_out(name):
    manifest = envelope.parse_manifest(WORLD.manifest(**{name: None}))
    assert manifest.text(name) == ""


@pytest.mark.parametrize("name", sorted(envelope.TEXT_RULES))
def test_a_refusal_of_an_attribute_never_repeats_its_value(name):
    with pytest.raises(Refusal) as caught:
        envelope.parse_manifest(payload(name, "NGUYỄN THỊ ÁNH TUYẾT 099185000017"))
    assert "099185000017" not in f"{caught.value} {caught.value.problem()}"


@pytest.mark.parametrize("data", [b"[]", b'"x"', b"{", b'{"id":"a","id":"b"}', b"", b"null"])
def test_a_payload_that_is_no_strict_object_is_refused(data):
    with pytest.raises(Refusal) as caught:
        envelope.parse_manifest(data)
    assert caught.value.code == "json"


def test_members_may_stand_in_any_order():
    turned = strictjson.compact(dict(reversed(strictjson.parse_object(WORLD.manifest()).items())))
    assert envelope.parse_manifest(turned) == envelope.parse_manifest(WORLD.manifest())


def test_a_manifest_knows_whether_it_is_a_reply():
    request = WORLD.envelope()
    assert not manifest_of(request).is_reply
    assert manifest_of(WORLD.reply(request)).is_reply


def test_signing_adds_hash_and_size_of_the_body_last_and_keeps_the_order():
    manifest = manifest_of(WORLD.envelope())
    assert list(manifest.attributes) == [*WORLD.attributes(), "datahash", "datasize"]
    assert (manifest.body_hash, manifest.body_size) == (HASH, 93)


def test_signing_refuses_what_the_bus_would_refuse():
    with pytest.raises(Refusal) as caught:
        WORLD.envelope(audience="everybody")
    assert (caught.value.code, caught.value.pointer) == ("manifest", "/audience")


def test_a_stated_hash_of_another_body_is_overwritten_when_signing():
    assert manifest_of(WORLD.envelope(datahash=jws.hash_of(b"other"), datasize=5)).body_hash == HASH


TIMES = [
    (datetime(2026, 11, 22, 0, 16, 31, 123_999, tzinfo=UTC), "2026-11-22T00:16:31.123Z"),
    (datetime(2026, 11, 22, 0, 16, 31, tzinfo=UTC), "2026-11-22T00:16:31.000Z"),
    (datetime(2026, 11, 22, 7, 16, 31, tzinfo=timezone(timedelta(hours=7))), "2026-11-22T00:16:31.000Z"),
    (datetime(2026, 1, 1, 6, 0, tzinfo=timezone(timedelta(hours=7))), "2025-12-31T23:00:00.000Z"),
    (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
    (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "9999-12-31T23:59:59.999Z"),
]


@pytest.mark.parametrize(("moment", "text"), TIMES)
def test_a_time_is_written_in_utc_with_milliseconds(moment, text):
    assert envelope.format_time(moment) == text
    assert envelope.parse_time(text) == moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def test_a_time_that_was_read_is_aware():
    assert envelope.parse_time("2026-11-22T00:16:31Z").utcoffset() == timedelta(0)


def test_the_body_is_checked_by_size_first_and_then_by_hash():
    manifest = manifest_of(WORLD.envelope())
    body = WORLD.envelope().body
    envelope.check_body(manifest, body)
    for other, pointer in ((body + b" ", "/datasize"), (body.replace(b"1985", b"1986"), "/datahash")):
        with pytest.raises(Refusal) as caught:
            envelope.check_body(manifest, other)
        assert (caught.value.code, caught.value.pointer) == ("datahash", pointer)


@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"{}", b"x" * 1000])
def test_the_structured_form_holds_any_body(body):
    wire = WORLD.envelope(body=body)
    assert envelope.from_structured(wire.structured()) == wire
    assert envelope.parse_structured(strictjson.compact(wire.structured())) == wire


@pytest.mark.parametrize("value", [None, [], "x", 5, {}, {"protected": "a", "payload": "b", "signature": "c"}])
def test_anything_else_is_no_structured_form(value):
    with pytest.raises(Refusal) as caught:
        envelope.from_structured(value)
    assert caught.value.code == "structured"


@pytest.mark.parametrize("name", ["protected", "payload", "signature", "data"])
@pytest.mark.parametrize("value", [None, 5, ["a"], {}, b"bytes", "é", True])
def test_each_member_of_the_structured_form_is_an_ascii_text(name, value):
    with pytest.raises(Refusal) as caught:
        envelope.from_structured(WORLD.envelope().structured() | {name: value})
    assert caught.value.code == "structured"


@pytest.mark.parametrize("name", ["protected", "payload", "signature"])
def test_a_part_of_the_structured_form_holds_no_dot(name):
    whole = WORLD.envelope().structured()
    with pytest.raises(Refusal) as caught:
        envelope.from_structured(whole | {name: f"{whole[name]}.e30"})
    assert caught.value.code == "structured"


@pytest.mark.parametrize("data", [b"", b"{", b"null", b'{"protected":"a","protected":"a"}', b"[[[[]]]]", b"\xff"])
def test_bytes_that_are_no_strict_json_of_four_members_are_no_structured_form(data):
    with pytest.raises(Refusal) as caught:
        envelope.parse_structured(data)
    assert caught.value.code == "structured"
