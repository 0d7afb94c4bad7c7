"""How clerks type what they mean: letter case, lost or decomposed accents, spaces, dates in every order.

Nothing here changes the meaning; facts that are wrong come from `fleet`.
"""

import unicodedata
from collections.abc import Callable
from random import Random

from adapters.made_up.draws import drawn

BARRED = {ord("Đ"): "D", ord("đ"): "d"}  # the only letters whose accent does not decompose


def without_accents(text: str) -> str:
    """Drop all accents, as on a keyboard without a Vietnamese layout."""
    decomposed = unicodedata.normalize("NFD", text.translate(BARRED))
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign))


NAMES: tuple[tuple[Callable[[str], str], float], ...] = (
    (str.title, 0.15),
    (str.lower, 0.07),
    (without_accents, 0.12),
    (lambda name: unicodedata.normalize("NFD", name), 0.08),
    (lambda name: f" {name.replace(' ', '  ', 1)} ", 0.08),
)
BIRTH_DATES: tuple[tuple[Callable[[str, str, str], str], float], ...] = (
    (lambda year, month, day: f"{year}-{month}-{day}", 0.10),
    (lambda year, month, day: f"{int(day)}-{int(month)}-{year}", 0.12),
    (lambda year, _month, _day: year, 0.12),
    (lambda year, month, _day: f"{month}/{year}", 0.04),
    (lambda year, _month, _day: f"00/00/{year}", 0.04),
)
NUMBERS: tuple[tuple[Callable[[str], str], float], ...] = (
    (lambda number: f"{number} ", 0.07),
    (lambda number: f"{number[:3]} {number[3:6]} {number[6:]}", 0.08),
)


def typed_name(chance: Random, name: str) -> str:
    """Type an upper-case name the way that a clerk may have typed it."""
    return drawn(chance, NAMES, _plainly)(name)


def typed_birth_date(chance: Random, iso: str) -> str:
    """Type a full ISO date in a clerk's order, sometimes without day or month."""
    year, month, day = iso.split("-")
    return drawn(chance, BIRTH_DATES, _day_first)(year, month, day)


def typed_number(chance: Random, number: str) -> str:
    """Type a number plainly, in groups, or with a space after it."""
    return drawn(chance, NUMBERS, _plainly)(number)


def _plainly(text: str) -> str:
    return text


def _day_first(year: str, month: str, day: str) -> str:
    return f"{day}/{month}/{year}"
