from hashlib import sha256

import pytest

from lgsp.domain import base64url, envelope, jws, keys, statements
from lgsp.errors import Refusal
from lgsp.testing.world import signer_named

ED25519 = signer_named("jws")
ES256 = keys.p256_from_scalar(91)
TYPS = [envelope.TYP, statements.RECEIPT, statements.ACK, statements.AUTH, statements.DIRECTORY]


@pytest.mark.parametrize("signer", [ED25519, ES256], ids=["Ed25519", "ES256"])
@pytest.mark.parametrize("typ", TYPS)
def test_what_is_signed_verifies(signer, typ):
    compact = jws.sign(b"payload", typ=typ, signer=signer)
    parsed = jws.parse(compact, typ=typ)
    jws.verify(parsed, signer.public)
    assert (parsed.alg, parsed.kid, parsed.typ, parsed.payload) == (signer.alg, signer.kid, typ, b"payload")
    assert parsed.signing_input + b"." + base64url.encode(parsed.signature).encode() == compact


@pytest.mark.parametrize("found", TYPS)
@pytest.mark.parametrize("expected", TYPS)
def test_a_typ_passes_where_it_is_expected_and_nowhere_else(found, expected):
    compact = jws.sign(b"{}", typ=found, signer=ED25519)
    if found == expected:
        assert jws.parse(compact, typ=expected).typ == found
    else:
        with pytest.raises(Refusal) as caught:
            jws.parse(compact, typ=expected)
        assert caught.value.code == "typ"


def test_a_key_of_one_algorithm_does_not_take_the_other():
    parsed = jws.parse(jws.sign(b"{}", typ=envelope.TYP, signer=ED25519), typ=envelope.TYP)
    with pytest.raises(Refusal) as caught:
        jws.verify(parsed, ES256.public)
    assert caught.value.code == "alg_mismatch"


@pytest.mark.parametrize("signer", [ED25519, ES256], ids=["Ed25519", "ES256"])
@pytest.mark.parametrize("size", [0, 1, 63, 65, 70, 71, 72, 128])
def test_a_signature_of_another_length_is_refused(signer, size):
    assert not signer.public.verifies(bytes(size), b"data")


def test_a_der_signature_is_refused():
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    assert isinstance(ES256.handle, ec.EllipticCurvePrivateKey)
    der = ES256.handle.sign(b"data", ec.ECDSA(hashes.SHA256()))
    assert not ES256.public.verifies(der, b"data")


HEADER_ONLY = base64url.encode(b'{"alg":"Ed25519","kid":"' + b"A" * 43 + b'","typ":"lgsp-env.v1+jws"}').encode()
MALFORMED = [
    (b"", "compact"),
    (b".", "compact"),
    (b"...", "compact"),
    (b"a.b.c.d", "compact"),
    (HEADER_ONLY + b".e30.e30.", "compact"),
    (HEADER_ONLY + b".e31.AA", "base64"),
    (HEADER_ONLY + b".e30=.AA", "base64"),
    (HEADER_ONLY + b".e30.A", "base64"),
    (HEADER_ONLY + b".e3 0.AA", "base64"),
    (HEADER_ONLY + b"=.e30.AA", "base64"),
    ("é".encode() + b".e30.AA", "base64"),
    (b"..", "header_template"),
    (b"e30.e30.AA", "header_template"),
]


@pytest.mark.parametrize(("compact", "code"), MALFORMED)
def test_what_is_no_compact_jws_of_ours_is_refused(compact, code):
    with pytest.raises(Refusal) as caught:
        jws.parse(compact, typ=envelope.TYP)
    assert caught.value.code == code


def test_a_hash_is_written_in_one_way():
    assert jws.hash_of(b"") == "sha-256:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    assert base64url.decode(jws.hash_of(b"x").removeprefix("sha-256:")) == sha256(b"x").digest()
    assert envelope.HASH_FORM.fullmatch(jws.hash_of(b"x"))
