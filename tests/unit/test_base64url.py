"""base64url: one text for each byte string."""

import pytest

from lgsp.domain.base64url import decode, encode


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"f", "Zg"),
        (b"fo", "Zm8"),
        (b"foo", "Zm9v"),
        (b"\xfb\xff\xbf", "-_-_"),
        (b"\x00" * 32, "A" * 43),
    ],
)
def test_bytes_and_text_belong_together(data: bytes, text: str):
    assert encode(data) == text
    assert decode(text) == data
    assert decode(text.encode("ascii")) == data


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Zg==", "padding"),
        ("Zm8=", "padding"),
        ("Zg=", "half the padding"),
        ("=", "padding alone"),
        ("Zh", "set tail bits after one byte"),
        ("Zm9", "set tail bits after two bytes"),
        ("Z", "length of 4n+1"),
        ("Zm9vZ", "length of 4n+1"),
        ("+/+/", "standard alphabet"),
        ("-_+_", "mixed alphabets"),
        ("Zm9v\n", "trailing newline"),
        (" Zm9v", "leading space"),
        ("Zm 9v", "inner space"),
        ("Zm9v\x00", "zero byte"),
        ("Zm!9v", "sign outside the alphabet"),
        ("Zm9v.Zm9v", "two parts"),
        ("Zg==Zg", "data after padding"),
        ("Zｍ9v", "full-width letter"),
        ("\ud800AAA", "lone surrogate"),
    ],
)
def test_every_other_spelling_is_refused(text: str, why: str):
    with pytest.raises(ValueError, match=r"^not canonical base64url$") as refusal:
        decode(text)
    assert type(refusal.value) is ValueError, why
    assert refusal.value.__cause__ is None


def test_bytes_outside_ascii_are_refused():
    with pytest.raises(ValueError, match=r"^not canonical base64url$"):
        decode(b"\xff\xff\xff\xff")


def test_every_last_character_is_judged_by_its_tail_bits():
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    canonical = []
    for last in alphabet:
        try:
            decode("A" * 42 + last)
        except ValueError:
            continue
        canonical.append(last)
    assert canonical == list(alphabet[::4])
