"""How clerks type what they mean: letter case, lost accents, decomposed accents, spaces, dates in every order.

Nothing here changes the meaning; facts that are wrong come from `fleet`.
"""

import unicodedata
from random import Random

MARKS = {ord("Đ"): "D", ord("đ"): "d"}


def typed_name(chance: Random, name: str) -> str:
    """Type an upper-case name the way that a clerk may have typed it."""
    point = chance.random()
    if point < 0.50:
        return name
    if point < 0.65:
        return name.title()
    if point < 0.72:
        return name.lower()
    if point < 0.84:
        return without_accents(name)
    if point < 0.92:
        return unicodedata.normalize("NFD", name)
    return f" {name.replace(' ', '  ', 1)} "


def without_accents(text: str) -> str:
    """Drop all accents, as on a keyboard without a Vietnamese layout."""
    decomposed = unicodedata.normalize("NFD", text.translate(MARKS))
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign))


def typed_birth_date(chance: Random, iso: str) -> str:
    """Type a full ISO date in a clerk's order, sometimes without day or month."""
    year, month, day = iso.split("-")
    point = chance.random()
    if point < 0.58:
        return f"{day}/{month}/{year}"
    if point < 0.68:
        return iso
    if point < 0.80:
        return f"{int(day)}-{int(month)}-{year}"
    if point < 0.92:
        return year
    return f"{month}/{year}" if point < 0.96 else f"00/00/{year}"


def typed_number(chance: Random, number: str) -> str:
    """Type a number plainly, in groups, or with a space after it."""
    point = chance.random()
    if point < 0.85:
        return number
    return f"{number} " if point < 0.92 else f"{number[:3]} {number[3:6]} {number[6:]}"
