import unicodedata
from contextlib import suppress
from datetime import date
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.made_up.handwriting import typed_birth_date, typed_name, typed_number
from adapters.made_up.names import full_name
from adapters.ndxp import crosswalks, soap
from adapters.ndxp.mock.comparison import folded, same_birth
from adapters.spelling import iso_birth_date, tidy_name, tidy_number

seeds = st.integers(0, 10**9)
quick = settings(max_examples=50)


@quick
@given(seeds)
def test_a_typed_name_still_means_the_same_person(seed: int) -> None:
    name = full_name(Random(seed), "female")
    sent = tidy_name(typed_name(Random(seed + 1), name))
    assert folded(sent) == folded(name)
    assert sent == unicodedata.normalize("NFC", sent)
    assert "  " not in sent


@quick
@given(seeds, st.dates(date(1900, 1, 1), date(2026, 1, 1)))
def test_a_typed_birth_date_is_the_same_as_far_as_it_goes(seed: int, day: date) -> None:
    sent = iso_birth_date(typed_birth_date(Random(seed), day.isoformat()))
    assert sent is not None
    assert same_birth(day.isoformat(), sent)


@quick
@given(seeds, st.sampled_from(["099165000123", "990000123"]))
def test_a_typed_number_keeps_its_digits(seed: int, number: str) -> None:
    assert tidy_number(typed_number(Random(seed), number)) == number


@quick
@given(st.text("aăâdđeêioôơuưyAĐƠ \t\u00a0\u0300\u0301\u0302\u0303\u0306\u0309\u031b\u0323ộỬ-'", max_size=60))
def test_tidying_twice_changes_nothing(text: str) -> None:
    assert tidy_name(tidy_name(text)) == tidy_name(text)


@quick
@given(st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF), max_size=200))
def test_any_text_survives_the_message(text: str) -> None:
    message = soap.write(f"<a>{soap.element('b', text)}</a>")
    assert soap.text_of(soap.read(message), "b") == text.strip()


@quick
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    with suppress(soap.SoapBroken):  # anything else fails
        assert soap.read(message).tag


@quick
@given(
    st.from_regex(r"[0-9]{3}\.[0-9]{2}\.[0-9]{2}\.[A-Z][0-9]{2}", fullmatch=True, alphabet=st.characters(codec="ascii"))
)
def test_every_legacy_agency_code_comes_back(code: str) -> None:
    assert crosswalks.agency_to_legacy(crosswalks.agency_from_legacy(code)) == code
