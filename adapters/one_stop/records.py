"""The records of a commune's one-stop office, made up: applicants, and owners of vessels."""

from dataclasses import dataclass
from datetime import date
from random import Random

from adapters.made_up.citizens import Citizen
from adapters.made_up.counter import people
from adapters.made_up.draws import draws
from adapters.made_up.fleet import fleet
from adapters.made_up.handwriting import typed_birth_date, typed_name, typed_number

OFFICE = "H01.31"
PROCEDURES = ("1.001612.000.00.00.H01", "2.002492.000.00.00.H01", "1.005129.000.00.00.H01")
DAY = date(2026, 11, 22)
MOST_DOSSIERS = 9_999_999  # seven digits of a dossier's serial
SHARE_BY_OLD_NUMBER = 0.08
SHARE_WRONG_BIRTH = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicant:
    """One person with one dossier; number, name and birth date stand as the officer typed them."""

    dossier: str
    procedure: str
    number: str
    full_name: str
    birth_date: str


def applicants(seed: int, count: int, day: date = DAY) -> list[Applicant]:
    """Return `count` applications of one day, at most 9,999,999; the same person may come more than once."""
    if not 0 <= count <= MOST_DOSSIERS:
        raise ValueError(f"a day has 0 to {MOST_DOSSIERS} dossiers")
    chance, around = draws(seed, "one-stop"), people(seed)
    return [_applicant(chance, chance.choice(around), day, serial) for serial in range(1, count + 1)]


def known_numbers(seed: int, count: int) -> dict[str, str]:
    """Return the owner's number by registration, for vessels of which the fisheries have none."""
    return {
        vessel.registration: vessel.commune_number
        for vessel in fleet(seed, count).vessels
        if vessel.commune_number is not None
    }


def _applicant(chance: Random, citizen: Citizen, day: date, serial: int) -> Applicant:
    by_old = citizen.old_number is not None and chance.random() < SHARE_BY_OLD_NUMBER
    number = citizen.old_number if by_old and citizen.old_number else citizen.personal_number
    return Applicant(
        dossier=f"{OFFICE}-{day:%Y%m%d}-{serial:07d}",
        procedure=chance.choice(PROCEDURES),
        number=typed_number(chance, number),
        full_name=typed_name(chance, citizen.full_name),
        birth_date=typed_birth_date(chance, _stated_birth(chance, citizen.birth_date).isoformat()),
    )


def _stated_birth(chance: Random, birth: date) -> date:
    if chance.random() < SHARE_WRONG_BIRTH:
        return birth.replace(year=birth.year + 1, day=min(birth.day, 28))
    return birth
