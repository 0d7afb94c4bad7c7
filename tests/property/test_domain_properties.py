"""What holds for every envelope, statement, time and directory, tried on many."""

import json
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgsp.domain import admission, base64url, envelope, jws, keys, names, statements, strictjson
from lgsp.domain.envelope import Wire
from lgsp.errors import Refusal
from lgsp.testing.world import (
    BODY,
    FISHERIES,
    NOW,
    POLICE,
    POPULATION,
    VERIFY,
    World,
    key_record,
    made_up_id,
    signer_named,
)

quick = settings(max_examples=50, deadline=None)
ES256 = keys.p256_from_scalar(9_110_026)
ACK_SIGNER = signer_named("acks")


@cache
def world() -> World:
    return World.make(added=[key_record(ES256, FISHERIES)], signers={"es256": ES256})


codes = st.from_regex(envelope.CODE_FORM, fullmatch=True).filter(
    lambda text: envelope.NUMBER_OF_A_PERSON.fullmatch(text) is None
)
moments = st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - the zone is the third
texts = st.text(st.characters(codec="utf-8"), max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
attributes = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(0, 2**48 - 1).map(made_up_id),
        "time": moments.map(envelope.format_time),
        "purpose": codes,
        "procedure": codes,
        "casefile": codes,
        "partitionkey": codes,
        "sequence": st.integers(0, 10**16 - 1).map(lambda number: f"{number:016d}"),
        "orgcat": st.from_regex(r"\A[0-9A-Za-z.-]{1,32}\Z"),
        "correlationid": st.integers(0, 2**48 - 1).map(made_up_id),
        "audience": st.sampled_from([POPULATION, POLICE, "urn:lgsp:agency:H01.21", f"urn:lgsp:topic:{VERIFY}"]),
        "extension": st.integers(-(2**31), 2**31 - 1) | st.booleans() | codes,
    },
)


@quick
@given(attributes, st.binary(max_size=300), st.sampled_from(["fisheries", "es256"]))
def test_any_envelope_that_is_signed_is_read_as_it_was_meant(stated, body, signer):
    wire = world().envelope(body=body, signer=signer, **stated)
    found = world().read(wire)
    assert isinstance(found, admission.Read)
    assert stated.items() <= found.manifest.attributes.items()
    assert found.wire.body == body
    assert found.env == jws.hash_of(wire.compact)


@quick
@given(attributes, st.binary(max_size=300))
def test_both_wire_forms_say_the_same(stated, body):
    wire = world().envelope(body=body, **stated)
    assert envelope.parse_structured(strictjson.compact(wire.structured())) == wire
    assert envelope.from_structured(wire.structured()).hash == wire.hash


@quick
@given(values)
def test_what_the_bus_writes_it_reads(value):
    assert strictjson.parse(strictjson.compact(value)) == value


PLAIN = st.text(st.characters(codec="utf-8"), max_size=8) | st.integers() | st.booleans()
STRANGE = (
    st.floats() | st.binary(max_size=4) | st.none() | st.text(st.characters(categories=["Cs"]), min_size=1, max_size=2)
)
MEMBERS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=4),
    st.recursive(PLAIN | STRANGE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2), max_leaves=6),
    max_size=5,
)  # fmt: skip


def written(write, members):
    """Return what is written, or that it is refused."""
    try:
        return write(members)
    except (TypeError, ValueError):
        return None


@given(MEMBERS)
def test_members_are_written_the_quick_way_as_they_are_the_other_way_or_refused_by_both(members):
    found = written(strictjson.compact_members, members)
    assert found == written(strictjson.compact, members)
    if found is not None:
        assert strictjson.parse(found, depth=100) == members


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), b"bytes", ["x", b"y"], [float("nan")], {"in": float("nan")}]
)
def test_what_is_no_json_is_refused_the_quick_way_too(value):
    with pytest.raises((TypeError, ValueError)):
        strictjson.compact_members({"plain": "x", "strange": value})


@quick
@given(st.binary(max_size=200))
def test_bytes_come_back_from_base64url(data):
    assert base64url.decode(base64url.encode(data)) == data


@quick
@given(st.text("ABCab019-_=+/. \n", max_size=12))
def test_base64url_has_one_spelling(text):
    try:
        data = base64url.decode(text)
    except ValueError:
        return
    assert base64url.encode(data) == text


@quick
@given(moments)
def test_a_time_comes_back_to_the_millisecond(moment):
    text = envelope.format_time(moment)
    assert envelope.parse_time(text) == moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert envelope.format_time(envelope.parse_time(text)) == text


@quick
@given(st.text(max_size=30))
def test_a_text_that_is_a_time_has_one_reading(text):
    try:
        moment = envelope.parse_time(text)
    except ValueError:
        return
    assert text in {envelope.format_time(moment), envelope.format_time(moment).replace(".000Z", "Z")}


@quick
@given(st.from_regex(names.LEGACY_CODE_FORM, fullmatch=True))
def test_a_legacy_code_comes_back_from_its_canonical_one(legacy):
    canonical = names.agency_code(legacy)
    assert names.AGENCY_CODE_FORM.fullmatch(canonical)
    assert names.legacy_agency_code(canonical) == legacy


@quick
@given(st.from_regex(names.AGENCY_CODE_FORM, fullmatch=True))
def test_a_code_either_comes_back_from_its_legacy_spelling_or_has_none(code):
    try:
        legacy = names.legacy_agency_code(code)
    except Refusal:
        return
    assert names.agency_code(legacy) == code


@quick
@given(st.from_regex(names.TYPE_FORM, fullmatch=True))
def test_every_type_is_a_request_or_the_reply_to_one(message_type):
    if not names.is_reply_type(message_type):
        assert names.request_type(message_type) == message_type
        assert names.request_type(names.reply_type(message_type)) == message_type


def changed_bytes(data: bytes, bits: int) -> list[bytes]:
    """The data with each byte changed in turn."""
    return [data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :] for place in range(len(data))]


@pytest.mark.parametrize("signer", ["fisheries", "es256"])
@pytest.mark.parametrize("bits", [0x01, 0x20, 0x80])
def test_any_changed_byte_of_an_envelope_is_refused(signer, bits):
    wire = world().envelope(signer=signer)
    altered = [Wire(compact=compact, body=wire.body) for compact in changed_bytes(wire.compact, bits)]
    altered += [Wire(compact=wire.compact, body=body) for body in changed_bytes(wire.body, bits)]
    assert len(altered) == len(wire.compact) + len(wire.body)
    assert [one for one in altered if isinstance(world().read(one), admission.Read)] == []


@pytest.mark.parametrize("place", ["compact", "body"])
def test_an_envelope_that_lost_or_gained_a_byte_anywhere_is_refused(place):
    wire = world().envelope()
    data: bytes = getattr(wire, place)
    altered = [data[:at] + data[at + 1 :] for at in range(len(data))]
    altered += [data[:at] + b"A" + data[at:] for at in range(len(data) + 1)]
    changed = [Wire(**({"compact": wire.compact, "body": wire.body} | {place: one})) for one in altered]
    assert [one for one in changed if isinstance(world().read(one), admission.Read)] == []


@quick
@given(attributes, st.binary(min_size=1, max_size=100), st.data())
def test_any_changed_byte_of_any_envelope_is_refused(stated, body, data):
    wire = world().envelope(body=body, **stated)
    part = data.draw(st.sampled_from(["compact", "body"]))
    original: bytes = getattr(wire, part)
    at = data.draw(st.integers(0, len(original) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != original[at]))
    changed = original[:at] + bytes([byte]) + original[at + 1 :]
    twin = Wire(**({"compact": wire.compact, "body": wire.body} | {part: changed}))
    assert isinstance(world().read(twin), admission.Refused)


@quick
@given(st.binary(max_size=400), st.binary(max_size=50))
def test_any_bytes_at_all_are_read_or_refused_and_nothing_else(compact, body):
    assert isinstance(world().read(Wire(compact=compact, body=body)), admission.Refused)


@quick
@given(st.binary(max_size=300))
def test_any_signed_payload_at_all_is_read_or_refused_and_nothing_else(payload):
    assert isinstance(world().read(world().forged(payload)), admission.Refused)


@quick
@given(
    st.dictionaries(
        st.sampled_from([*world().attributes(), "datahash", "datasize", "dataref", "x"]), values, max_size=4
    )
)
def test_any_value_of_any_attribute_is_taken_or_refused_and_nothing_else(changes):
    stated = world().attributes() | {"datahash": jws.hash_of(b""), "datasize": 0} | changes
    try:
        taken = envelope.parse_manifest(strictjson.compact(stated))
    except Refusal as refusal:
        assert refusal.code in {"manifest", "unsupported"}  # noqa: PT017 - either outcome is good
    else:
        assert taken.attributes == stated


@quick
@given(values)
def test_any_body_at_all_is_judged(body):
    found = world().judge(world().envelope(body=body))
    assert isinstance(found, admission.Refused)
    assert found.refusal.code in {"schema", "body_nfc"}


batches = st.lists(
    st.binary(max_size=20).map(lambda data: strictjson.compact({"env": jws.hash_of(data)})), min_size=1, max_size=20
)


def signed(statement: statements.Statement) -> statements.Signed:
    return statements.verify_signature(statement.jws, ACK_SIGNER.public, typ=statements.ACK)


@quick
@given(batches)
def test_every_statement_of_a_batch_opens_and_comes_back_from_its_text(items):
    made = statements.sign_batch(
        items, statements.ack_head(system=POLICE, at=NOW), typ=statements.ACK, signer=ACK_SIGNER
    )
    for statement, item in zip(made, items, strict=True):
        assert statements.from_text(statement.text()) == statement
        assert strictjson.compact(statements.open_item(statement, signed(statement))) == item


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_any_changed_byte_of_a_statement_is_refused(count):
    items = [statements.ack_item(jws.hash_of(b"%d" % number), "accepted") for number in range(count)]
    made = statements.sign_batch(
        items, statements.ack_head(system=POLICE, at=NOW), typ=statements.ACK, signer=ACK_SIGNER
    )
    for statement in made:
        proven = signed(statement)
        for changed in altered_statements(statement):
            with pytest.raises(Refusal) as caught:
                statements.open_item(changed, proven)
            assert caught.value.code in {"signature", "base64"}
    for compact in changed_bytes(made[0].jws.encode(), 1):
        with pytest.raises(Refusal):
            statements.verify_signature(compact.decode(), ACK_SIGNER.public, typ=statements.ACK)


def altered_statements(statement: statements.Statement) -> list[statements.Statement]:
    wire = statement.wire()
    found = [wire | {"item": item.decode()} for item in changed_bytes(statement.item.encode(), 1)]
    found += [wire | {"pos": pos} for pos in range(9) if pos != statement.pos]
    for place, step in enumerate(statement.path):
        for other in changed_bytes(step.encode(), 1):
            found.append(wire | {"path": [*statement.path[:place], other.decode(), *statement.path[place + 1 :]]})
    found += [wire | {"path": [*statement.path, "A" * 43]}]
    if statement.path:
        found += [wire | {"path": list(statement.path[:-1])}]
    return [statements.from_wire(one) for one in found]


@quick
@given(
    st.timedeltas(timedelta(days=-400), timedelta(days=400)), st.timedeltas(timedelta(seconds=1), timedelta(days=400))
)
def test_an_envelope_is_in_time_exactly_while_it_lives(offset, life):
    recorded = (NOW + offset).replace(microsecond=0)
    attributes = {"recordedtime": envelope.format_time(recorded), "expirytime": envelope.format_time(recorded + life)}
    found = world().judge(world().envelope(body=BODY, **attributes))
    expires = envelope.parse_time(attributes["expirytime"])
    in_time = recorded <= NOW + timedelta(seconds=60) and expires > NOW and expires - recorded <= timedelta(days=1)
    assert isinstance(found, admission.Accepted) is in_time


marked = st.text(
    st.sampled_from('aAnN"\\/\n\u0301\u0303\u0327\u0338\u00c1\u1ea4\u1100\u1161\u11a8\uac00=<>'), max_size=8
)


@given(
    value=st.recursive(
        marked, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(marked, inner, max_size=3), max_leaves=6
    ),
    ascii_only=st.booleans(),
)
def test_json_as_a_whole_tells_whether_its_texts_are_in_nfc(value, ascii_only):
    data = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert strictjson.is_nfc(data, value) is (strictjson.first_not_nfc(value) is None)
