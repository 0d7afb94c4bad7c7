"""Attacks on signed objects, by the ids under which the protocol lists them: each ends in its own stable code and touches nothing."""

import hmac
import time
import unicodedata
from collections.abc import Callable
from functools import cache

import pytest

from lgsp.domain import admission, base64url, envelope, jws, keys, statements, strictjson
from lgsp.domain.envelope import Wire
from lgsp.testing.world import BODY, BUS, FISHERIES, GATEWAY, LOG, World, signer_named

LONGEST = 1.0
"""Seconds that one refusal may take on a slow machine; most take under a millisecond."""


@cache
def world() -> World:
    return World.make(added=[NEIGHBOUR])


NEIGHBOUR = {"kind": "system", "id": "urn:lgsp:agency:H01.120:sys:vnfishbase"}


@cache
def good() -> Wire:
    return world().envelope()


def parts() -> list[bytes]:
    return good().compact.split(b".")


def part(data: bytes) -> bytes:
    return base64url.encode(data).encode()


def joined(*found: bytes, body: bytes | None = None) -> Wire:
    return Wire(compact=b".".join(found), body=good().body if body is None else body)


def with_header(header: bytes, sign: Callable[[bytes], bytes] | None = None) -> Wire:
    """The good payload under another header, signed over it by the right key."""
    signing_input = part(header) + b"." + parts()[1]
    return joined(signing_input, part((sign or world().signers["fisheries"].sign)(signing_input)))


def header(
    alg: str = '"Ed25519"', kid: str | None = None, typ: str = '"lgsp-env.v1+jws"', tail: str = "", head: str = ""
) -> bytes:
    stated = f'"{world().signers["fisheries"].kid}"' if kid is None else kid
    return f'{{{head}"alg":{alg},"kid":{stated},"typ":{typ}{tail}}}'.encode()


def mac_with_public_key(signing_input: bytes) -> bytes:
    public = base64url.decode(world().signers["fisheries"].public.jwk["x"])
    return hmac.digest(public, signing_input, "sha256")


def es256_header_over_ed25519() -> Wire:
    return with_header(header('"ES256"'))


def receipt_as_envelope() -> Wire:
    head = statements.receipt_head(gateway=GATEWAY, at=world().now, log=LOG, policy=1)
    [found] = statements.sign_batch([b"{}"], head, typ=statements.RECEIPT, signer=world().signers["gateway"])
    return Wire(compact=found.jws.encode(), body=good().body)


def oidc_token() -> Wire:
    claims = strictjson.compact({"iss": "https://id.example.vn", "sub": FISHERIES, "aud": BUS, "exp": 1795306651})
    return joined(part(b'{"alg":"RS256","kid":"2024-01","typ":"JWT"}'), part(claims), part(b"\x01" * 256))


def forged(payload: bytes) -> Wire:
    return world().forged(payload)


def doubled(name: str) -> bytes:
    manifest = world().manifest()
    return manifest[:-1] + b',"' + name.encode() + b'":"dpv:Other"}'


def flipped() -> bytes:
    signature = bytearray(base64url.decode(parts()[2]))
    signature[10] ^= 1
    return part(bytes(signature))


def second_spelling() -> bytes:
    """The same 64 bytes with a set bit in the unused tail of the last character."""
    found = parts()[2]
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(found[-1])
    assert last % 16 == 0
    return found[:-1] + alphabet[last + 1 : last + 2]


def standard_alphabet() -> Wire:
    """An envelope whose signature has a `-` or `_`, rewritten in the standard alphabet."""
    wires = (world().envelope(number=number) for number in range(1, 50))
    wire = next(wire for wire in wires if set(wire.compact.rpartition(b".")[2]) & set(b"-_"))
    head, _, signature = wire.compact.rpartition(b".")
    return Wire(compact=head + b"." + signature.translate(bytes.maketrans(b"-_", b"+/")), body=wire.body)


def nfd_body() -> bytes:
    text = good().body.decode()
    twin = unicodedata.normalize("NFD", text)
    assert twin != text
    return twin.encode()


def with_size(size: object) -> Wire:
    return forged(world().manifest(datasize=size))


SIGNED_OBJECTS: dict[str, tuple[Callable[[], Wire], str]] = {
    "A01 alg none": (lambda: joined(part(header('"none"')), parts()[1], b""), "header_template"),
    "A02 HS256 keyed with the public key": (lambda: with_header(header('"HS256"'), mac_with_public_key), "header_template"),
    "A03 EdDSA alias": (lambda: with_header(header('"EdDSA"')), "header_template"),
    "A04 lower case": (lambda: with_header(header('"ed25519"')), "header_template"),
    "A04b a listed algorithm that is not the key's": (es256_header_over_ed25519, "alg_mismatch"),
    "A04b reserved algorithm PS256": (lambda: with_header(header('"PS256"')), "alg_mismatch"),
    "A04b reserved algorithm RS256": (lambda: with_header(header('"RS256"')), "alg_mismatch"),
    "A05 jwk": (lambda: with_header(header(tail=f',"jwk":{strictjson.compact(world().signers["police"].public.jwk).decode()}')), "header_template"),
    "A06 jku": (lambda: with_header(header(tail=',"jku":"https://keys.example.vn/"')), "header_template"),
    "A06 x5u": (lambda: with_header(header(tail=',"x5u":"https://keys.example.vn/"')), "header_template"),
    "A06 x5c": (lambda: with_header(header(tail=',"x5c":[]')), "header_template"),
    "A07 crit and b64 false": (lambda: with_header(header(tail=',"b64":false,"crit":["b64"]')), "header_template"),
    "A08 kid a path": (lambda: with_header(header(kid='"../../keys/registrar.pem"')), "header_template"),
    "A08 kid a path of the right length": (lambda: with_header(header(kid='"' + "../" * 14 + 'x"')), "header_template"),
    "A09 kid SQL": (lambda: with_header(header(kid="\"' OR 1=1 --\"")), "header_template"),
    "A09 kid of the right form and unknown": (lambda: with_header(header(kid='"' + "A" * 43 + '"')), "kid_unknown"),
    "A10 kid missing": (lambda: with_header(b'{"alg":"Ed25519","typ":"lgsp-env.v1+jws"}'), "header_template"),
    "A11 kid a list": (lambda: with_header(header(kid=f'["{world().signers["fisheries"].kid}"]')), "header_template"),
    "A12 kid of B and signature of A": (lambda: with_header(header(kid=f'"{world().signers["police"].kid}"')), "signature"),
    "A13 B signs for A's source": (lambda: world().envelope(signer="police"), "source_not_owned"),
    "A14 prefix trick": (lambda: world().envelope(source="urn:lgsp:agency:H01.120:sys:vnfishbase"), "source_not_owned"),
    "A14 prefix trick the other way": (lambda: world().envelope(source="urn:lgsp:agency:H01.1:sys:vnfishbase"), "source_not_owned"),
    "A14 longer system name": (lambda: world().envelope(source=f"{FISHERIES}2"), "source_not_owned"),
    "A14 digit of another script": (lambda: forged(world().manifest(source="urn:lgsp:agency:H01.1٢:sys:vnfishbase")), "manifest"),
    "A15 a receipt as an envelope": (receipt_as_envelope, "typ"),
    "A16 an OIDC token as an envelope": (oidc_token, "header_template"),
    "A17 duplicate header member": (lambda: with_header(header(head='"alg":"Ed25519",')), "header_template"),
    "A18 duplicate header member by escape": (lambda: with_header(header(tail=',"\\u0061lg":"none"')), "header_template"),
    "A19 header with BOM": (lambda: with_header(b"\xef\xbb\xbf" + header()), "header_template"),
    "A20 header in UTF-16": (lambda: with_header(header().decode().encode("utf-16-le")), "header_template"),
    "A21 header with spaces": (lambda: with_header(header().replace(b'","', b'", "')), "header_template"),
    "A21 header with a line break after it": (lambda: with_header(header() + b"\n"), "header_template"),
    "A22 header as an array": (lambda: with_header(b"[" + header() + b"]"), "header_template"),
    "A23 manifest with a duplicate member": (lambda: forged(doubled("purpose")), "json"),
    "A23 manifest with a duplicate member by escape": (lambda: forged(doubled("p\\u0075rpose")), "json"),
    "A24 manifest with NaN": (lambda: forged(world().manifest()[:-1] + b',"extra":NaN}'), "json"),
    "A24 manifest with a number beyond all bounds": (lambda: forged(world().manifest()[:-1] + b',"extra":1e999}'), "json"),
    "A25 manifest with a lone surrogate": (lambda: forged(world().manifest()[:-1] + b',"extra":"\\ud800"}'), "json"),
    "A26 manifest that is no object": (lambda: forged(b"[" + world().manifest() + b"]"), "json"),
    "A26 manifest that is empty": (lambda: forged(b""), "json"),
    "A27 manifest 5,000 deep": (lambda: forged(b"[" * 5_000), "json"),
    "A27 manifest 2,500 deep and closed": (lambda: forged(b"[" * 2_500 + b"]" * 2_500), "json"),
    "A27 manifest of 600 objects in each other": (lambda: forged(b'{"a":' * 600 + b"1" + b"}" * 600), "json"),
    "A28 signature flipped": (lambda: joined(*parts()[:2], flipped()), "signature"),
    "A29 signature truncated": (lambda: joined(*parts()[:2], part(base64url.decode(parts()[2])[:-1])), "signature"),
    "A29 signature longer by a byte": (lambda: joined(*parts()[:2], part(base64url.decode(parts()[2]) + b"\x00")), "signature"),
    "A30 signature empty": (lambda: joined(*parts()[:2], b""), "signature"),
    "A31 signature in a second base64 spelling": (lambda: joined(*parts()[:2], second_spelling()), "base64"),
    "A32 signature padded": (lambda: joined(*parts()[:2], parts()[2] + b"=="), "base64"),
    "A33 newline inside": (lambda: joined(*parts()[:2], parts()[2][:20] + b"\n" + parts()[2][20:]), "base64"),
    "A33 newline at the end": (lambda: joined(*parts()[:2], parts()[2] + b"\n"), "base64"),
    "A34 standard alphabet": (standard_alphabet, "base64"),
    "A35 two parts": (lambda: joined(*parts()[:2]), "compact"),
    "A36 five parts": (lambda: joined(*parts(), b"", b""), "compact"),
    "A36 no parts": (lambda: Wire(compact=b"", body=b""), "compact"),
    "A37 body swapped": (lambda: joined(*parts(), body=good().body.replace(b"1985", b"1986")), "datahash"),
    "A38 NFD twin": (lambda: joined(*parts(), body=nfd_body()), "datahash"),
    "A39 body serialised again": (lambda: joined(*parts(), body=good().body.replace(b'":"', b'": "')), "datahash"),
    "A40 body empty": (lambda: joined(*parts(), body=b""), "datahash"),
    "A41 datasize lies": (lambda: with_size(len(good().body) - 1), "datahash"),
    "A41 datasize negative": (lambda: with_size(-1), "manifest"),
    "A41 datasize a fraction": (lambda: with_size(93.0), "manifest"),
    "A41 datasize true": (lambda: with_size(True), "manifest"),  # noqa: FBT003
    "A42 sha-1": (lambda: forged(world().manifest(datahash="sha-1:2jmj7l5rSw0yVb_vlWAYkK_YBwk")), "manifest"),
    "A43 no expirytime": (lambda: forged(world().manifest(expirytime=None)), "manifest"),
    "A44 JWS oversize": (lambda: joined(parts()[0], b"A" * 7_168, parts()[2]), "too_large"),
    "A44 body oversize": (lambda: joined(*parts(), body=b" " * (64 * 1024 + 1)), "too_large"),
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNED_OBJECTS)
def test_an_attack_on_a_signed_object_is_refused_by_its_code(name):
    make, code = SIGNED_OBJECTS[name]
    wire = make()
    started = time.perf_counter()
    found = admission.read(wire, world().directory)
    assert time.perf_counter() - started < LONGEST
    assert isinstance(found, admission.Refused)
    assert found.refusal.code == code
    assert found.env == wire.hash


def test_the_envelope_that_the_attacks_start_from_is_good():
    assert isinstance(admission.read(good(), world().directory), admission.Read)


@pytest.mark.parametrize("name", SIGNED_OBJECTS)
def test_nothing_counts_as_proven_before_the_signature_is(name):
    make, code = SIGNED_OBJECTS[name]
    found = admission.read(make(), world().directory)
    assert isinstance(found, admission.Refused)
    assert found.signed == (code in {"json", "manifest", "source_not_owned", "datahash"})
    assert found.source_proven == (code == "datahash")
    assert (found.manifest is not None) == (code in {"source_not_owned", "datahash"})


def structured(**changes: object) -> bytes:
    return strictjson.compact(good().structured() | changes)


def without(name: str) -> bytes:
    return strictjson.compact({key: value for key, value in good().structured().items() if key != name})


def general_form() -> bytes:
    form = good().structured()
    signatures = [{"protected": form["protected"], "signature": form["signature"]}]
    return strictjson.compact({"payload": form["payload"], "signatures": signatures, "data": form["data"]})


STRUCTURED: dict[str, Callable[[], bytes]] = {
    "S01 unprotected header": lambda: structured(header={"kid": "x"}),
    "S02 general form": general_form,
    "S03 empty signatures": lambda: structured(signatures=[]),
    "S03 empty signatures in place of the signature": lambda: without("signature")[:-1] + b',"signatures":[]}',
    "S04 no protected": lambda: without("protected"),
    "S04 protected is null": lambda: structured(protected=None),
    "S05 extra member": lambda: structured(note="x"),
    "S06 data an object": lambda: structured(data=dict(BODY)),
    "S06 data a list": lambda: structured(data=[]),
    "S06 data padded": lambda: structured(data=good().structured()["data"] + "="),
    "S07 non-ASCII": lambda: structured(signature="é" * 86),
    "S07 non-ASCII in data": lambda: structured(data="é"),
    "S08 duplicate member": lambda: structured()[:-1] + b',"data":""}',
    "S08 duplicate member by escape": lambda: structured()[:-1] + b',"d\\u0061ta":""}',
    "S: a dot inside a part": lambda: structured(protected=".".join((good().structured()["protected"], "x"))),
    "S: an array": lambda: b"[" + structured() + b"]",
    "S: nested deeply": lambda: b'{"data":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "S: not JSON": lambda: b"lgsp",
    "S: empty": lambda: b"",
}


@pytest.mark.parametrize("name", STRUCTURED)
def test_a_structured_form_with_other_members_is_refused(name):
    data = STRUCTURED[name]()
    started = time.perf_counter()
    with pytest.raises(Exception, match=r"^structured") as caught:
        envelope.parse_structured(data)
    assert caught.value.code == "structured"
    assert time.perf_counter() - started < LONGEST


def test_the_structured_form_that_the_attacks_start_from_is_good():
    assert envelope.parse_structured(structured()) == good()


def test_both_wire_forms_meet_the_same_checks():
    """A structured form of an attack gives the attack's own code: the forms differ in nothing else."""
    wire = joined(*parts()[:2], second_spelling())
    found = admission.read(envelope.parse_structured(strictjson.compact(wire.structured())), world().directory)
    assert isinstance(found, admission.Refused)
    assert found.refusal.code == "base64"


def test_ten_thousand_foreign_kids_leave_no_trace():
    """R12: the one thing that is remembered, headers of the right form, is bounded."""
    for number in range(300):
        signer = signer_named(f"stranger {number}")
        compact = jws.sign(parts()[1], typ=envelope.TYP, signer=signer)
        found = admission.read(Wire(compact=compact, body=b"{}"), world().directory)
        assert isinstance(found, admission.Refused)
        assert found.refusal.code == "kid_unknown"
    assert jws._header.cache_info().maxsize == 4096


@pytest.mark.parametrize(
    "junk",
    [b"A" * 8_192, b"." * 8_192, b"A." * 3_000, b"A" * 512 + b"..", b"\x00" * 7_000, b"\xff" * 7_000, b"=" * 512],
)
def test_junk_is_refused_in_no_time(junk):
    """R12: 512-byte headers and 8 KiB of base64 junk."""
    started = time.perf_counter()
    found = admission.read(Wire(compact=junk, body=b""), world().directory)
    assert isinstance(found, admission.Refused)
    assert found.refusal.code in {"too_large", "compact", "base64", "header_template"}
    assert time.perf_counter() - started < LONGEST


def test_a_second_ed25519_signature_made_without_the_key_is_refused():
    """S + L signs the same for a lax verifier (RFC 8032 section 5.1.7 forbids it)."""
    order = 2**252 + 27742317777372353535851937790883648493
    signature = base64url.decode(parts()[2])
    s = int.from_bytes(signature[32:], "little") + order
    twin = joined(*parts()[:2], part(signature[:32] + s.to_bytes(32, "little")))
    found = admission.read(twin, world().directory)
    assert isinstance(found, admission.Refused)
    assert found.refusal.code == "signature"


@pytest.mark.parametrize("value", [0, 2**256 - 1, 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551])
def test_an_es256_signature_out_of_range_is_refused(value):
    signer = keys.p256_from_scalar(5)
    for signature in (value.to_bytes(32, "big") * 2, signer.sign(b"x")[:32] + value.to_bytes(32, "big")):
        assert not signer.public.verifies(signature, b"x")
