"""The order of the checks: where two things are wrong, the earlier step's code wins."""

import dataclasses
from collections.abc import Callable
from datetime import timedelta

import pytest

from lgsp.domain import admission, base64url, envelope, keys, strictjson
from lgsp.domain.contracts import Contracts
from lgsp.domain.envelope import Wire, format_time
from lgsp.domain.limits import Limits
from lgsp.testing.world import (
    BODY,
    FISHERIES,
    NOW,
    OWNER_LIST,
    OWNER_LIST_SCHEMA,
    POLICE,
    VERIFY,
    VERIFY_REPLY_SCHEMA,
    World,
    key_record,
    made_up_id,
    manifest_of,
    signer_named,
)

EXPIRED_KEY = signer_named("expired")
FOREIGN = signer_named("foreign")
WORLD = World.make(
    version=3,
    added=[key_record(EXPIRED_KEY, FISHERIES, until=3)],
    signers={"expired": EXPIRED_KEY, "foreign": FOREIGN, "es256": keys.p256_from_scalar(3)},
    changes={"g-verify": {"quota_per_day": 5}, VERIFY: {"max_life": 600}},
)
NFD = {**BODY, "fullName": "NGUYE\u0302N A"}


def spoiled(wire: Wire) -> Wire:
    """The same envelope with one bit of the signature turned."""
    head, _, signature = wire.compact.rpartition(b".")
    raw = bytearray(base64url.decode(signature))
    raw[0] ^= 1
    return Wire(compact=head + b"." + base64url.encode(bytes(raw)).encode(), body=wire.body)


def padded(wire: Wire) -> Wire:
    return Wire(compact=wire.compact + b"=", body=wire.body)


def as_typ(typ: str, signer: str = "fisheries") -> Wire:
    from lgsp.domain import jws

    return Wire(compact=jws.sign(WORLD.manifest(), typ=typ, signer=WORLD.signers[signer]), body=b"")


def other_alg(signer: str, alg: str = "ES256") -> Wire:
    found = WORLD.signers[signer]
    header = f'{{"alg":"{alg}","kid":"{found.kid}","typ":"{envelope.TYP}"}}'.encode()
    signing_input = f"{base64url.encode(header)}.{base64url.encode(WORLD.manifest())}".encode()
    return Wire(compact=signing_input + b"." + base64url.encode(bytes(64)).encode(), body=b"")


def forged(*, body: object = BODY, signer: str = "fisheries", sent: bytes | None = None, **changes: object) -> Wire:
    wire = WORLD.forged(WORLD.manifest(body=body, **changes), body=body, signer=signer)
    return wire if sent is None else Wire(compact=wire.compact, body=sent)


AHEAD = {
    "recordedtime": format_time(NOW + timedelta(minutes=10)),
    "expirytime": format_time(NOW + timedelta(minutes=15)),
}
PAST = {"recordedtime": format_time(NOW - timedelta(minutes=9)), "expirytime": format_time(NOW)}
LONG = {"expirytime": format_time(NOW + timedelta(seconds=601))}
NOBODY = {"audience": "urn:lgsp:agency:H09"}
NO_GRANT = {"purpose": "dpv:Marketing"}

ORDER: list[tuple[str, str, Callable[[], Wire]]] = [
    ("size of the JWS, parts", "too_large", lambda: Wire(compact=b"a" * 7_169, body=b"")),
    ("size of the body, parts", "too_large", lambda: Wire(compact=b"a", body=bytes(65_537))),
    ("size of the body, signature", "too_large", lambda: Wire(compact=spoiled(forged()).compact, body=bytes(65_537))),
    ("parts, base64url", "compact", lambda: Wire(compact=b"=.=", body=b"")),
    ("base64url of the signature, header", "base64", lambda: Wire(compact=b"e30.e30.=", body=b"")),
    ("base64url of the payload, header", "base64", lambda: Wire(compact=b"e30.=.AA", body=b"")),
    ("base64url, unknown key", "base64", lambda: padded(forged(signer="foreign"))),
    ("header, unknown key", "header_template", lambda: Wire(compact=b"e30.e30.AA", body=b"")),
    ("typ, unknown key", "typ", lambda: as_typ("lgsp-ack.v1+jws", "foreign")),
    ("typ, role", "typ", lambda: as_typ("lgsp-rcpt.v1+jws", "gateway")),
    ("unknown key, signature", "kid_unknown", lambda: spoiled(forged(signer="foreign"))),
    ("unknown key, algorithm", "kid_unknown", lambda: other_alg("foreign")),
    ("role, signature", "key_role", lambda: spoiled(forged(signer="gateway"))),
    ("role, algorithm", "key_role", lambda: other_alg("officer")),
    ("validity of the key, signature", "key_not_valid", lambda: spoiled(forged(signer="expired"))),
    ("validity of the key, algorithm", "key_not_valid", lambda: other_alg("expired")),
    ("algorithm, signature", "alg_mismatch", lambda: other_alg("fisheries")),
    ("signature, manifest", "signature", lambda: spoiled(WORLD.forged(b"{"))),
    ("signature, source", "signature", lambda: spoiled(forged(source=POLICE))),
    ("signature, body", "signature", lambda: Wire(compact=spoiled(forged()).compact, body=b"x")),
    ("strict JSON, attributes", "json", lambda: WORLD.forged(b'{"id":1,"id":2}')),
    ("a missing attribute, a wrong one", "manifest", lambda: forged(id=None, datacontenttype="text/plain")),
    ("attributes, source", "manifest", lambda: forged(source=POLICE, sequence="1")),
    ("reserved attribute, source", "unsupported", lambda: forged(source=POLICE, dataref="x")),
    ("attributes, body", "manifest", lambda: forged(authid="X", sent=b"x")),
    ("source, body", "source_not_owned", lambda: forged(source=POLICE, sent=b"x")),
    ("source, times", "source_not_owned", lambda: forged(source=POLICE, **AHEAD)),
    ("body, times", "datahash", lambda: forged(sent=b"x", **AHEAD)),
    ("clock, expiry", "clock_ahead", lambda: forged(recordedtime=AHEAD["recordedtime"], expirytime=format_time(NOW))),
    ("clock, life", "clock_ahead", lambda: forged(recordedtime=AHEAD["recordedtime"], expirytime=format_time(NOW + timedelta(days=9)))),
    ("clock, type", "clock_ahead", lambda: forged(type="vn.lgsp.a.b.c.v1", **AHEAD)),
    ("expiry, life", "expired", lambda: forged(recordedtime=format_time(NOW - timedelta(days=9)), expirytime=format_time(NOW))),
    ("expiry, grant", "expired", lambda: forged(**PAST, **NO_GRANT)),
    ("life, route", "life_too_long", lambda: forged(**LONG, **NOBODY)),
    ("life, grant", "life_too_long", lambda: forged(**LONG, **NO_GRANT)),
    ("life, schema", "life_too_long", lambda: forged(**LONG, body={})),
    ("type, route", "type_unknown", lambda: forged(type="vn.lgsp.a.b.c.v1", **NOBODY)),
    ("route, grant", "route", lambda: forged(**NOBODY, **NO_GRANT)),
    ("route, body", "route", lambda: forged(**NOBODY, body=b"x")),
    ("purpose, officer", "purpose_not_granted", lambda: forged(**NO_GRANT, authid="ffffff")),
    ("grant, schema's name", "purpose_not_granted", lambda: forged(**NO_GRANT, dataschema=OWNER_LIST_SCHEMA)),
    ("grant, body", "purpose_not_granted", lambda: forged(**NO_GRANT, body=b"x")),
    ("schema's name, body", "schema_unknown", lambda: forged(dataschema=OWNER_LIST_SCHEMA, body=b"x")),
    ("a reply's schema for a request", "schema_unknown", lambda: forged(dataschema=VERIFY_REPLY_SCHEMA, body={"result": "match"})),
    ("strict JSON of the body, NFC", "body_json", lambda: forged(body=b'{"a":"A\xcc\x81","a":1}')),
    ("strict JSON of the body, schema", "body_json", lambda: forged(body=b'{"a":NaN}')),
    ("NFC, schema", "body_nfc", lambda: forged(body={"fullName": NFD["fullName"]})),
    ("schema at last", "schema", lambda: forged(body={})),
]  # fmt: skip


@pytest.mark.parametrize(("name", "code", "make"), ORDER, ids=[row[0] for row in ORDER])
def test_the_earlier_of_two_checks_names_the_refusal(name, code, make):
    found = WORLD.judge(make())
    assert isinstance(found, admission.Refused), name
    assert found.refusal.code == code


def test_nothing_is_wrong_with_what_these_are_made_of():
    assert isinstance(WORLD.judge(forged()), admission.Accepted)


def test_quota_comes_after_the_grant_and_before_the_body():
    for changes, code in (({}, "quota_exceeded"), (NO_GRANT, "purpose_not_granted"), ({"body": {}}, "quota_exceeded")):
        found = WORLD.judge(forged(**changes), used=5)
        assert isinstance(found, admission.Refused)
        assert found.refusal.code == code


@pytest.mark.parametrize(("seconds", "code"), [(600, ""), (600.001, "life_too_long")])
def test_life_is_bounded_by_the_service(seconds, code):
    found = WORLD.judge(forged(expirytime=format_time(NOW + timedelta(seconds=seconds))))
    assert (found.refusal.code if isinstance(found, admission.Refused) else "") == code


def test_a_request_may_not_live_as_long_as_its_reply_is_awaited():
    world = World.make(changes={VERIFY: {"max_life": 600, "reply_within": 900}})
    found = world.judge(world.envelope(expirytime=format_time(NOW + timedelta(seconds=601))))
    assert isinstance(found, admission.Refused)
    assert found.refusal.code == "life_too_long"


@pytest.mark.parametrize(("seconds", "code"), [(900, ""), (901, "life_too_long")])
def test_a_reply_may_live_as_long_as_it_is_awaited(seconds, code):
    world = World.make(changes={VERIFY: {"max_life": 600, "reply_within": 900}})
    request = world.envelope()
    reply = world.reply(request, expirytime=format_time(NOW + timedelta(seconds=seconds)))
    found = world.judge(reply, request=world.exchange(request))
    assert (found.refusal.code if isinstance(found, admission.Refused) else "") == code


def test_a_reply_is_held_against_the_reply_s_schema():
    world = World.make()
    request = world.envelope()
    for body, code in (({"result": "maybe"}, "schema"), (b"{", "body_json")):
        found = world.judge(world.reply(request, body=body), request=world.exchange(request))
        assert isinstance(found, admission.Refused)
        assert found.refusal.code == code


def test_a_schema_whose_document_is_not_held_is_trouble_of_the_bus_and_no_crash():
    found = dataclasses.replace(WORLD, contracts=Contracts({})).judge(forged())
    assert isinstance(found, admission.Refused)
    assert (found.refusal.code, found.refusal.entry.family) == ("schema_unusable", "operator")


def test_persons_in_a_request_are_found_by_the_request_s_pointers():
    found = WORLD.judge(forged())
    assert isinstance(found, admission.Accepted)
    assert found.leave.service.reply_subjects == ()
    assert found.subjects == (("CCCD", BODY["personalNumber"]),)


def test_persons_in_a_reply_are_found_by_the_reply_s_pointers():
    world = World.make()
    asks = dict.fromkeys(("legalbasis", "procedure", "authid", "casefile"))
    rows = [{"registration": "AG-00012-TS", "ownerName": "DANH SÀ RƯƠL", "communeCode": "30742"}]
    request = world.envelope(
        type=OWNER_LIST, audience=POLICE, dataschema=OWNER_LIST_SCHEMA,
        body={"listId": "20261122-30742-001", "asOf": "2026-11-22", "orgcat": "2025-07", "rows": rows}, **asks,
    )  # fmt: skip
    reply = world.reply(
        request, source=POLICE, signer="police", type="vn.lgsp.fisheries.owner-list.complete.reply.v1",
        dataschema="urn:lgsp:schema:fisheries:owner-list-reply:1.0.0",
        body={"listId": "20261122-30742-001", "rows": [{"registration": "AG-00012-TS", "status": "found", "personalNumber": "099158000123"}]},
    )  # fmt: skip
    asked, answered = world.judge(request), world.judge(reply, request=world.exchange(request))
    assert isinstance(asked, admission.Accepted)
    assert isinstance(answered, admission.Accepted)
    assert asked.subjects == ()
    assert answered.subjects == (("CCCD", "099158000123"),)
    assert answered.cause == world.exchange(request)
    assert answered.leave.targets[0].receiver == FISHERIES


def test_a_service_may_allow_a_larger_body_and_another_not():
    rows = [{"registration": "AG-00012-TS", "ownerName": "A" * 100, "communeCode": "30742"}] * 100
    big = {"listId": "20261122-30742-001", "asOf": "2026-11-22", "orgcat": "2025-07", "rows": rows}
    assert len(strictjson.compact(big)) > 10_000
    asks = {"type": OWNER_LIST, "audience": POLICE, "dataschema": OWNER_LIST_SCHEMA} | dict.fromkeys(
        ("legalbasis", "procedure", "authid", "casefile")
    )
    for allowed, code in ((10_000, "too_large"), (20_000, "")):
        world = World.make(changes={VERIFY: {"max_body": 100_000}, OWNER_LIST: {"max_body": allowed}})
        found = world.judge(world.envelope(body=big, **asks))
        assert (found.refusal.code if isinstance(found, admission.Refused) else "") == code
        assert admission.largest_body(world.directory) == 100_000


SAID: list[tuple[Callable[[], Wire], str, str, dict[str, str]]] = [
    (lambda: Wire(compact=b"a" * 7_169, body=b""), "", "the JWS", {}),
    (lambda: Wire(compact=b"a", body=bytes(65_537)), "", "the body", {}),
    (lambda: forged(source=POLICE), "/source", "", {}),
    (lambda: forged(**AHEAD), "/recordedtime", "", {"now": format_time(NOW)}),
    (lambda: forged(**PAST), "/expirytime", "", {"now": format_time(NOW)}),
    (lambda: forged(**LONG), "/expirytime", "", {}),
    (lambda: forged(dataschema=OWNER_LIST_SCHEMA), "/dataschema", "", {}),
    (lambda: forged(body=b'{"a":NaN}'), "", "not strict JSON", {}),
    (lambda: forged(body={"fullName": NFD["fullName"]}), "", "", {}),
]  # fmt: skip


@pytest.mark.parametrize(("make", "pointer", "detail", "facts"), SAID)
def test_a_refusal_says_where_the_trouble_is_and_which_it_is(make, pointer, detail, facts):
    found = WORLD.judge(make())
    assert isinstance(found, admission.Refused)
    assert (found.refusal.pointer, found.refusal.detail, found.refusal.facts) == (pointer, detail, facts)


def test_a_size_is_allowed_to_the_last_byte_and_not_beyond():
    wire = forged()
    size = len(wire.body)
    for allowed, said in ((size, None), (size - 1, ("too_large", "the body", "/datasize"))):
        found = World.make(changes={VERIFY: {"max_body": allowed}}).judge(wire)
        refusal = found.refusal if isinstance(found, admission.Refused) else None
        assert (refusal and (refusal.code, refusal.detail, refusal.pointer)) == said
    sizes = {VERIFY: {"max_body": size}, OWNER_LIST: {"max_body": size}}
    assert isinstance(World.make(changes=sizes).judge(wire), admission.Accepted)
    for allowed, expected in ((0, admission.Read), (-1, admission.Refused)):
        limits = Limits(envelope_bytes=len(wire.compact) + allowed)
        assert isinstance(admission.read(wire, WORLD.directory, limits=limits), expected)


def test_a_clock_may_be_ahead_to_the_last_millisecond_and_not_beyond():
    for milliseconds, code in ((60_000, ""), (60_001, "clock_ahead")):
        recorded = NOW + timedelta(milliseconds=milliseconds)
        found = WORLD.judge(
            forged(recordedtime=format_time(recorded), expirytime=format_time(recorded + timedelta(seconds=5)))
        )
        assert (found.refusal.code if isinstance(found, admission.Refused) else "") == code


def test_an_envelope_lives_to_the_last_millisecond():
    for milliseconds, code in ((0, "expired"), (1, "")):
        moment = NOW + timedelta(milliseconds=milliseconds)
        found = WORLD.judge(
            forged(recordedtime=format_time(NOW - timedelta(seconds=5)), expirytime=format_time(moment))
        )
        assert (found.refusal.code if isinstance(found, admission.Refused) else "") == code


def test_limits_can_be_made_smaller():
    limits = Limits(envelope_bytes=100)
    found = admission.read(forged(), WORLD.directory, limits=limits)
    assert isinstance(found, admission.Refused)
    assert found.refusal.code == "too_large"
    nobody = World.make(changes={VERIFY: None, OWNER_LIST: None})
    assert admission.largest_body(nobody.directory, Limits(body_bytes=5)) == 5
    for allowed, expected in ((0, admission.Read), (-1, admission.Refused)):
        limits = Limits(body_bytes=len(forged().body) + allowed)
        assert isinstance(admission.read(forged(), nobody.directory, limits=limits), expected)


PROVEN: list[tuple[str, Callable[[], Wire], tuple[bool, bool, bool]]] = [
    ("nothing", lambda: spoiled(forged()), (False, False, False)),
    ("a signature", lambda: WORLD.forged(b"{"), (True, False, False)),
    ("a signature over a manifest", lambda: forged(source=POLICE), (True, True, False)),
    ("the source, but not this body", lambda: forged(sent=b"x"), (True, True, True)),
    ("all but the grant", lambda: forged(**NO_GRANT), (True, True, True)),
]


@pytest.mark.parametrize(("name", "make", "proven"), PROVEN, ids=[row[0] for row in PROVEN])
def test_what_was_refused_carries_what_was_proven(name, make, proven):
    wire = make()
    found = WORLD.judge(wire)
    assert isinstance(found, admission.Refused), name
    assert (found.signed, found.manifest is not None, found.source_proven) == proven
    assert found.kid == (WORLD.signers["fisheries"].kid if found.signed else "")
    assert found.env == wire.hash
    assert found.manifest is None or found.manifest == manifest_of(wire)


def test_what_was_accepted_carries_what_it_was_accepted_from():
    wire = forged()
    found = WORLD.judge(wire)
    assert isinstance(found, admission.Accepted)
    assert (found.read.wire, found.read.env, found.read.manifest) == (wire, wire.hash, manifest_of(wire))
    assert found.read.key == WORLD.directory.key(WORLD.signers["fisheries"].kid, envelope.TYP)
    assert found.read.exchange_key == (FISHERIES, manifest_of(wire).id)
    assert found.cause is None


def test_a_reply_names_the_exchange_that_it_answers():
    request = WORLD.envelope()
    found = WORLD.read(WORLD.reply(request))
    assert isinstance(found, admission.Read)
    assert found.request_key == (FISHERIES, manifest_of(request).id)


def test_an_envelope_repeats_another_when_its_manifest_does_whatever_the_signature():
    first, other = forged(), forged(id=made_up_id(7))
    read = WORLD.read(first)
    assert isinstance(read, admission.Read)
    kept = WORLD.exchange(first)
    assert read.repeats(kept)
    assert read.repeats(dataclasses.replace(kept, compact=spoiled(first).compact))
    assert not read.repeats(dataclasses.replace(kept, compact=other.compact))


def test_a_request_answers_nothing():
    found = WORLD.read(forged())
    assert isinstance(found, admission.Read)
    assert found.request_key is None


def test_looked_up_is_what_an_envelope_may_have_been_before_and_what_a_reply_answers():
    request, reply = WORLD.envelope(), WORLD.reply(WORLD.envelope())
    asked, answer = manifest_of(request), manifest_of(reply)
    assert WORLD.read(request).looked_up == ((asked.source, asked.id),)
    assert WORLD.read(reply).looked_up == ((answer.source, answer.id), (asked.source, asked.id))
