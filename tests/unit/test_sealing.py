"""Sealed bodies open with their own key and envelope, and in no other way."""

import pytest

from lgsp.domain.sealing import SealBroken, open_sealed, opened_size, seal

KEY = bytes(range(32))
NONCE = bytes(range(12))
ENV = "sha-256:s6ffFJJXdn3uoqZldxmYBfg08tbxMn-pkFKpNRwNmzc"
BODY = '{"fullName":"NGUYỄN THỊ ÁNH TUYẾT"}'.encode()


@pytest.mark.parametrize("body", [b"", b"{}", BODY, b"x" * 65_536])
def test_a_sealed_body_opens_again(body: bytes):
    sealed = seal(KEY, ENV, body, NONCE)
    assert open_sealed(KEY, ENV, sealed) == body
    assert len(sealed) == 12 + len(body) + 16
    assert sealed[:12] == NONCE


def test_no_part_of_the_body_shows():
    assert BODY[:8] not in seal(KEY, ENV, BODY, NONCE)


def test_every_flipped_bit_breaks_the_seal():
    sealed = seal(KEY, ENV, b"{}", NONCE)
    for position in range(len(sealed) * 8):
        altered = bytearray(sealed)
        altered[position // 8] ^= 1 << position % 8
        with pytest.raises(SealBroken):
            open_sealed(KEY, ENV, bytes(altered))


def test_every_cut_and_every_addition_breaks_the_seal():
    sealed = seal(KEY, ENV, BODY, NONCE)
    for altered in [sealed[:length] for length in range(len(sealed))] + [sealed + b"\x00", b"\x00" + sealed]:
        with pytest.raises(SealBroken):
            open_sealed(KEY, ENV, altered)


def test_a_seal_does_not_open_for_another_envelope_or_key():
    sealed = seal(KEY, ENV, BODY, NONCE)
    with pytest.raises(SealBroken, match="does not open"):
        open_sealed(KEY, ENV[:-1] + "d", sealed)
    with pytest.raises(SealBroken, match="does not open"):
        open_sealed(KEY[::-1], ENV, sealed)


@pytest.mark.parametrize("key", [b"", KEY[:16], KEY[:24], KEY + b"\x00"])
def test_only_keys_of_32_bytes_are_taken(key: bytes):
    sealed = seal(KEY, ENV, BODY, NONCE)
    with pytest.raises(ValueError, match="32 bytes"):
        seal(key, ENV, BODY, NONCE)
    with pytest.raises(ValueError, match="32 bytes"):
        open_sealed(key, ENV, sealed)


@pytest.mark.parametrize("nonce", [b"", NONCE[:11], NONCE + b"\x00"])
def test_only_nonces_of_12_bytes_are_taken(nonce: bytes):
    with pytest.raises(ValueError, match="12 bytes"):
        seal(KEY, ENV, BODY, nonce)


@pytest.mark.parametrize("body", [b"", BODY, b"x" * 65_536])
def test_the_size_of_a_body_is_known_while_it_is_sealed(body: bytes):
    assert opened_size(seal(KEY, ENV, body, NONCE)) == len(body)


def test_what_is_too_short_to_hold_a_body_is_of_size_0():
    assert opened_size(b"") == opened_size(bytes(27)) == 0
