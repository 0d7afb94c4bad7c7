import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lgsp.domain import algorithms, base64url, keys
from lgsp.errors import Refusal
from lgsp.testing.world import signer_named

SIGNER = signer_named("keys")
ES256 = keys.p256_from_scalar(7)
P256_PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
P256_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B

RFC_8037 = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
RFC_8037_THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def okp(y: int) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(y.to_bytes(32, "little"))}


def point(x: int, y: int) -> dict[str, str]:
    return {
        "kty": "EC",
        "crv": "P-256",
        "x": base64url.encode(x.to_bytes(32, "big")),
        "y": base64url.encode(y.to_bytes(32, "big")),
    }


def small_p256_point() -> tuple[int, int]:
    """A point whose x has a second spelling below 2**256."""
    for x in range(1, 100):
        square = (x**3 - 3 * x + P256_B) % P256_PRIME
        y = pow(square, (P256_PRIME + 1) // 4, P256_PRIME)
        if y * y % P256_PRIME == square:
            return x, y
    raise AssertionError


def off_edwards_curve() -> int:
    return next(y for y in range(2, 100) if not algorithms._on_edwards_curve(y))


def test_a_thumbprint_is_that_of_rfc_7638():
    assert keys.thumbprint(RFC_8037) == RFC_8037_THUMBPRINT
    assert keys.thumbprint(RFC_8037 | {"kid": "x", "use": "sig", "alg": "Ed25519"}) == RFC_8037_THUMBPRINT
    assert keys.thumbprint(dict(reversed(RFC_8037.items()))) == RFC_8037_THUMBPRINT


X, Y = small_p256_point()
GOOD_X = SIGNER.public.jwk["x"]
REFUSED_KEYS = {
    "nothing": {},
    "no key type": {"crv": "Ed25519", "x": GOOD_X},
    "a private key": {**RFC_8037, "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"},
    "a private P-256 key": {**point(X, Y), "d": "AA"},
    "RSA": {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
    "a shared secret": {"kty": "oct", "k": "AAAA"},
    "Ed448": {"kty": "OKP", "crv": "Ed448", "x": "AA"},
    "X25519": {"kty": "OKP", "crv": "X25519", "x": GOOD_X},
    "P-384": {"kty": "EC", "crv": "P-384", "x": GOOD_X, "y": GOOD_X},
    "secp256k1": {"kty": "EC", "crv": "secp256k1", "x": GOOD_X, "y": GOOD_X},
    "the curve of the other type": {"kty": "EC", "crv": "Ed25519", "x": GOOD_X},
    "type as a list": {"kty": ["OKP"], "crv": "Ed25519", "x": GOOD_X},
    "no x": {"kty": "OKP", "crv": "Ed25519"},
    "x a number": {"kty": "OKP", "crv": "Ed25519", "x": 5},
    "x null": {"kty": "OKP", "crv": "Ed25519", "x": None},
    "x a list": {"kty": "OKP", "crv": "Ed25519", "x": [GOOD_X]},
    "x padded": {"kty": "OKP", "crv": "Ed25519", "x": GOOD_X + "="},
    "x too short": {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(bytes(31))},
    "x too long": {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(bytes(33))},
    "not canonical: p": okp(algorithms.ED25519_PRIME),
    "not canonical: p + 1": okp(algorithms.ED25519_PRIME + 1),
    "not canonical: 2^255 - 1": okp(2**255 - 1),
    "not canonical with the sign bit": okp(2**256 - 1),
    "low order: 0": okp(0),
    "low order: 0 with the sign bit": okp(1 << 255),
    "low order: 1, the identity": okp(1),
    "low order: 1 with the sign bit": okp(1 | 1 << 255),
    "low order: -1": okp(algorithms.ED25519_PRIME - 1),
    "off the Edwards curve": okp(off_edwards_curve()),
    "P-256 without y": {"kty": "EC", "crv": "P-256", "x": GOOD_X},
    "P-256 y a number": point(X, Y) | {"y": 5},
    "P-256 off the curve": point(X, Y + 1),
    "P-256 at (0, 0)": point(0, 0),
    "P-256 x not canonical": point(X + P256_PRIME, Y),
    "P-256 at the prime": point(P256_PRIME, P256_PRIME),
    "P-256 coordinate too short": point(X, Y) | {"x": base64url.encode(X.to_bytes(31, "big"))},
}


@pytest.mark.parametrize("name", REFUSED_KEYS)
def test_a_key_that_may_not_be_registered_is_refused(name):
    with pytest.raises(Refusal) as caught:
        keys.public_key(REFUSED_KEYS[name])
    assert caught.value.code == "key_refused"


@pytest.mark.parametrize("y", sorted(algorithms.LOW_ORDER_Y))
def test_the_table_of_low_order_points_holds_points_whose_order_divides_eight(y):
    """8·P is the identity: doubling three times by the y-coordinate alone."""
    p = algorithms.ED25519_PRIME
    d = -121665 * pow(121666, -1, p) % p
    for _ in range(3):
        x_squared = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
        product = d * x_squared * y * y % p
        # y of 2P is (y² + x²) / (1 - d·x²·y²), as -x² + y² = 1 + d·x²·y²
        y = (y * y + x_squared) * pow(1 - product, -1, p) % p
    assert y == 1


def test_good_keys_are_taken_whatever_else_their_jwk_says():
    assert keys.public_key(RFC_8037 | {"use": "sig", "kid": "anything"}).kid == RFC_8037_THUMBPRINT
    taken = keys.public_key(point(X, Y))
    assert taken.alg == "ES256"
    assert taken.jwk == point(X, Y) | {"kid": taken.kid, "alg": "ES256", "use": "sig"}


@pytest.mark.parametrize("signer", [SIGNER, ES256], ids=["Ed25519", "ES256"])
def test_the_public_half_is_read_again_from_its_jwk(signer):
    again = keys.public_key(signer.public.jwk)
    assert again == signer.public
    assert again.verifies(signer.sign(b"data"), b"data")
    assert not again.verifies(signer.sign(b"data"), b"other")


INCOMPLETE = [
    {},
    {"kty": "OKP"},
    {"kty": "OKP", "crv": "Ed25519"},
    {"kty": ["OKP"]},
    {"kty": "EC", "crv": "P-256", "x": "A", "y": 5},
    {"kty": "RSA"},
]


@pytest.mark.parametrize("jwk", INCOMPLETE)
def test_there_is_no_thumbprint_of_half_a_key(jwk):
    with pytest.raises(Refusal) as caught:
        keys.thumbprint(jwk)
    assert caught.value.code == "key_refused"


@pytest.mark.parametrize("signer", [SIGNER, ES256], ids=["Ed25519", "ES256"])
def test_a_private_key_shows_nothing_of_itself(signer):
    assert "handle" not in repr(signer)
    assert signer.kid in repr(signer)
    assert signer == type(signer)(public=signer.public, handle=SIGNER.handle), "equality never looks at the secret"


def test_a_signature_under_es256_has_64_bytes_however_small_r_and_s_are():
    for number in range(40):
        signature = ES256.sign(number.to_bytes(2, "big"))
        assert len(signature) == 64
        assert ES256.public.verifies(signature, number.to_bytes(2, "big"))


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1()], ids=lambda curve: curve.name)
def test_a_private_key_on_another_curve_is_refused(curve):
    with pytest.raises(Refusal) as caught:
        keys.private_key(ec.derive_private_key(9_110_026, curve))
    assert caught.value.code == "key_refused"


@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
def test_every_row_of_the_table_really_signs_and_really_checks(name):
    key = keys.ed25519_from_seed(bytes(range(32))) if name == "Ed25519" else keys.p256_from_scalar(7)
    assert key.alg == name
    signature = key.sign(b"data")
    assert len(signature) == algorithms.ALGORITHMS[name].signature_bytes
    assert key.public.verifies(signature, b"data")
    assert not key.public.verifies(signature, b"other")
    assert not key.public.verifies(bytes(64), b"data")


def test_the_bytes_by_which_signed_notes_name_a_key_are_those_of_its_x():
    assert keys.public_key(RFC_8037).x == base64url.decode(RFC_8037["x"])
    assert len(ES256.public.x) == 32
