"""What the bus computed beside what an envelope states: the first byte at which the two part, for every attack on a signed object and for usual slips."""

import json
import unicodedata

import pytest

from lgsp.domain import admission, base64url, envelope, jws
from lgsp.domain.admission import Refused
from lgsp.domain.diagnosis import CHANGES, diagnose
from lgsp.domain.envelope import Wire
from lgsp.domain.keys import p256_from_scalar
from lgsp.testing.world import FISHERIES, World, key_record
from tests.attacks.test_signed_objects import SIGNED_OBJECTS, header, parts, with_header, world


def found_in(wire, held=None):
    directory = (held or world()).directory
    read = admission.read(wire, directory)
    return diagnose(wire, directory, read.refusal if isinstance(read, Refused) else None)


@pytest.mark.parametrize("make", [make for make, _ in SIGNED_OBJECTS.values()], ids=SIGNED_OBJECTS.keys())
def test_something_is_found_in_whatever_is_sent_and_can_be_told_as_json(make):
    wire = make()
    found = found_in(wire)
    assert found["env"] == wire.hash
    assert found["body"]["bytes"] == len(wire.body)
    assert ("encoding" in found) != ("header" in found)
    json.dumps(found)


def test_a_sound_envelope_parts_from_nothing():
    found = found_in(world().envelope())
    assert "differs_at" not in found["header"]
    assert "differs_at" not in found["body"]
    assert found["body"]["hash"] == found["body"]["stated_hash"]
    assert found["key"]["owner"] == FISHERIES
    assert found["signature"] == {"bytes": 64, "expected_bytes": 64}


@pytest.mark.parametrize(
    ("sent", "at"),
    [
        (b"[" + header() + b"]", 0),
        (header().replace(b'","', b'", "', 1), len('{"alg":"Ed25519",')),
        (header('"EdDSA"'), len('{"alg":"Ed')),
        (header('"ES256"'), len('{"alg":"E')),
        (header() + b"\n", len(header())),
        (header()[:-1], len(header()) - 1),
        (b"", 0),
    ],
)
def test_the_byte_is_named_at_which_a_header_leaves_what_its_key_asks_for(sent, at):
    found = found_in(with_header(sent))["header"]
    assert (found["differs_at"], found["received"].encode()) == (at, sent)
    if b'"kid"' in sent:
        assert found["expected"].encode() == header()


def test_a_header_of_its_form_by_an_unknown_key_parts_from_nothing():
    assert set(found_in(with_header(header(kid='"' + "A" * 43 + '"')))["header"]) == {"received"}


def test_the_bytes_that_were_verified_are_told_by_size_and_hash():
    wire = world().envelope()
    signed = wire.compact.rpartition(b".")[0]
    assert found_in(wire)["signed"] == {"bytes": len(signed), "hash": jws.hash_of(signed)}


def test_a_signature_in_der_is_told_by_its_length():
    signer = p256_from_scalar(20261122)
    held = World.make(added=[key_record(signer, FISHERIES)], signers={"es256": signer})
    head, _, raw = held.envelope(signer="es256").compact.rpartition(b".")
    longer = Wire(compact=head + b"." + base64url.encode(base64url.decode(raw) + b"\0" * 6).encode(), body=b"{}")
    assert found_in(longer, held)["signature"] == {"bytes": 70, "expected_bytes": 64}


@pytest.mark.parametrize(
    ("part", "spoilt", "at"),
    [(0, b"*", 0), (1, b"+", 7), (2, b"=", 86)],
)
def test_the_first_byte_is_named_that_is_no_base64url(part, spoilt, at):
    given = list(parts())
    given[part] = given[part][:at] + spoilt + given[part][at + 1 :]
    found = found_in(Wire(compact=b".".join(given), body=b""))
    assert found["encoding"] == {"part": ("protected", "payload", "signature")[part], "differs_at": at}


def test_a_wrong_number_of_parts_is_told():
    assert found_in(Wire(compact=b"a.b", body=b""))["encoding"] == {"parts": 2}


def test_the_byte_is_named_at_which_a_manifest_is_no_json():
    payload = world().manifest()[:-1] + b',"id":"twice"}'
    found = found_in(world().forged(payload))["manifest"]
    assert payload[: found["differs_at"]].endswith(b',"id":')


def test_a_refused_attribute_is_named_by_its_place_and_the_form_it_should_have():
    payload = world().manifest(id="1")
    found = found_in(world().forged(payload))["manifest"]
    assert payload[found["differs_at"] :].startswith(b'"id"')
    assert found["form"] == envelope.UUID7_FORM.pattern


BODY = '{"name":"Nguyễn Văn A",\n"no":1}'.encode()
HASHED = {
    "no_final_newline": (BODY + b"\n", BODY),
    "final_newline": (BODY, BODY + b"\n"),
    "no_byte_order_mark": (b"\xef\xbb\xbf" + BODY, BODY),
    "byte_order_mark": (BODY, b"\xef\xbb\xbf" + BODY),
    "lf": (BODY.replace(b"\n", b"\r\n"), BODY),
    "crlf": (BODY, BODY.replace(b"\n", b"\r\n")),
    "nfc": (unicodedata.normalize("NFD", BODY.decode()).encode(), BODY),
    "nfd": (BODY, unicodedata.normalize("NFD", BODY.decode()).encode()),
    "compact": (BODY, BODY.replace(b"\n", b"")),
}


@pytest.mark.parametrize(("meant", "sent", "hashed"), [(meant, *pair) for meant, pair in HASHED.items()])
def test_what_was_hashed_in_the_body_s_place_is_recognised(meant, sent, hashed):
    wire = Wire(compact=world().envelope(body=hashed).compact, body=sent)
    found = found_in(wire)["body"]
    assert found["resembles"] == meant
    assert found["stated_hash"] == jws.hash_of(hashed)
    assert found["hash"][: found["differs_at"]] == found["stated_hash"][: found["differs_at"]]
    assert found["hash"][found["differs_at"]] != found["stated_hash"][found["differs_at"]]


def test_a_wrong_size_over_a_right_hash_is_recognised():
    assert found_in(world().forged(world().manifest(datasize=1)))["body"]["resembles"] == "size"


def test_another_body_resembles_nothing():
    found = found_in(Wire(compact=world().envelope().compact, body=b"\xff"))["body"]
    assert "resembles" not in found
    assert "differs_at" in found


def test_every_change_that_is_tried_has_a_case():
    assert set(CHANGES) == {*HASHED, "size"}


def test_a_body_is_tried_in_other_readings_only_once_its_signature_was_proven():
    wire = Wire(compact=world().envelope(body=BODY).compact[:-4] + b"AAAA", body=BODY + b"\n")
    assert "resembles" not in found_in(wire)["body"]
