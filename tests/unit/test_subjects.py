"""Commitments to a person's number."""

import pytest

from lgsp.domain.base64url import decode
from lgsp.domain.subjects import SCHEMES, commitment, person, pseudonym
from lgsp.errors import Refusal

KEY = bytes(range(32))
SALT = bytes(range(16))
NUMBER = "099185000017"


def test_the_schemes_are_those_of_the_protocol():
    assert SCHEMES == ("CCCD", "CMND", "BHXH")


def test_one_number_under_one_key_has_one_pseudonym():
    assert pseudonym(KEY, "CCCD", NUMBER) == pseudonym(KEY, "CCCD", NUMBER)
    assert len(pseudonym(KEY, "CCCD", NUMBER)) == 32


def test_key_scheme_and_number_all_change_the_pseudonym():
    seen = {
        pseudonym(KEY, "CCCD", NUMBER),
        pseudonym(KEY[::-1], "CCCD", NUMBER),
        pseudonym(KEY, "BHXH", NUMBER),
        pseudonym(KEY, "CCCD", "099185000018"),
        pseudonym(KEY, "CCCD", NUMBER[:-1]),
    }
    assert len(seen) == 5


def test_two_salts_hide_that_the_person_is_the_same():
    ps = pseudonym(KEY, "CCCD", NUMBER)
    assert commitment(SALT, ps) != commitment(SALT[::-1], ps)
    assert len(decode(commitment(SALT, ps))) == 32


@pytest.mark.parametrize("key", [b"", KEY[:31], KEY + b"\x00"])
def test_a_key_of_another_length_is_refused(key: bytes):
    with pytest.raises(ValueError, match="32 bytes"):
        pseudonym(key, "CCCD", NUMBER)


@pytest.mark.parametrize("scheme", ["", "cccd", "CCCD ", "CCCD\x00", "PASSPORT"])
def test_an_unknown_scheme_is_refused(scheme: str):
    with pytest.raises(ValueError, match="unknown scheme"):
        pseudonym(KEY, scheme, NUMBER)


@pytest.mark.parametrize("number", ["", f"{NUMBER} ", f"\x00{NUMBER}", "0991-85000017", "٠٩٩١٨٥٠٠٠٠١٧", "\ud800"])
def test_a_number_in_another_writing_is_refused_without_being_repeated(number: str):
    with pytest.raises(ValueError, match=r"^a personal number is ASCII digits and letters$"):
        pseudonym(KEY, "CCCD", number)


@pytest.mark.parametrize(("salt", "length"), [(b"", 32), (SALT[:15], 33), (SALT + b"\x00", 31), (SALT, 31)])
def test_salt_and_pseudonym_cannot_lend_each_other_bytes(salt: bytes, length: int):
    with pytest.raises(ValueError, match="16 bytes of salt"):
        commitment(salt, bytes(length))


@pytest.mark.parametrize(
    ("scheme", "number"), [("CCCD", NUMBER), ("CMND", "099185000"), ("CMND", NUMBER), ("BHXH", "0991850000")]
)
def test_a_person_is_asked_for_by_a_number_of_its_scheme_which_shows_nowhere(scheme: str, number: str):
    found = person(scheme, number)
    assert found.pseudonym(KEY) == pseudonym(KEY, scheme, number)
    assert number not in repr(found)


@pytest.mark.parametrize(
    ("scheme", "number", "pointer"),
    [
        ("PASSPORT", NUMBER, "/scheme"),
        ("", NUMBER, "/scheme"),
        ("CCCD", "099185000", "/number"),
        ("CMND", "0991850000", "/number"),
        ("BHXH", NUMBER, "/number"),
        ("CCCD", f"{NUMBER} ", "/number"),
        ("CCCD", "٠٩٩١٨٥٠٠٠٠١٧", "/number"),
    ],
)
def test_what_is_no_number_of_its_scheme_is_refused_by_its_place_and_not_repeated(scheme, number, pointer):
    with pytest.raises(Refusal) as caught:
        person(scheme, number)
    assert (caught.value.code, caught.value.pointer) == ("bad_request", pointer)
    assert number not in str(caught.value.problem())
