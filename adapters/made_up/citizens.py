"""Made-up citizens as the national register holds them. What others write about them is left to others."""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import accumulate

from adapters.made_up.communes import Commune
from adapters.made_up.draws import draws
from adapters.made_up.names import Sex, full_name

PLACE = "099"  # reserved: assigned place codes end at 096
SERIALS = 1_000_000
STRIDE = 618_033  # has no factor in common with SERIALS: consecutive people get scattered, distinct serials
OLD_NUMBERS = 10_000_000
FIRST_BIRTH = date(1938, 1, 1)
BIRTH_DAYS = (date(2005, 12, 31) - FIRST_BIRTH).days
LAST_YEAR_WITH_OLD_NUMBER = 2001
SHARE_WITH_OLD_NUMBER = 0.7
SHARE_DECEASED = 0.015
FIRST_YEAR_WITH_PAPERS = 1965
SHARE_YEAR_ONLY = 0.12  # of those born before: their papers never said more
SHARE_FEMALE = 0.18


@dataclass(frozen=True, slots=True, kw_only=True)
class Citizen:
    """One person; `recorded_birth` is `YYYY-MM-DD`, or `YYYY` where the register knows no more."""

    personal_number: str
    old_number: str | None
    full_name: str
    sex: Sex
    birth_date: date
    recorded_birth: str
    commune: Commune
    deceased: bool


def personal_number(index: int, sex: Sex, year: int) -> str:
    """Compose place, sex and century, year and a serial that no other index below 1,000,000 has."""
    century = (year // 100 - 19) * 2 + (sex == "female")
    return f"{PLACE}{century}{year % 100:02d}{index * STRIDE % SERIALS:06d}"


def old_number(index: int) -> str:
    """Compose a nine-digit number that no other index below 10,000,000 has."""
    return f"99{index * STRIDE % OLD_NUMBERS:07d}"


class Register:
    """Enters citizens one after another; `first` is the first index: two registers share no number."""

    def __init__(self, *, seed: int, purpose: str, communes: Sequence[Commune], first: int = 0) -> None:
        self.citizens: list[Citizen] = []
        self._chance = draws(seed, f"{purpose}/citizens")
        self._communes = communes
        self._weights = list(accumulate(_boats_per_commune(commune) for commune in communes))
        self._first = first

    def enter(self) -> Citizen:
        """Make up one more citizen."""
        chance, index = self._chance, self._first + len(self.citizens)
        sex: Sex = "female" if chance.random() < SHARE_FEMALE else "male"
        birth = FIRST_BIRTH + timedelta(days=chance.randrange(BIRTH_DAYS))
        has_old = birth.year <= LAST_YEAR_WITH_OLD_NUMBER and chance.random() < SHARE_WITH_OLD_NUMBER
        vague = chance.random() < SHARE_YEAR_ONLY and birth.year < FIRST_YEAR_WITH_PAPERS
        citizen = Citizen(
            personal_number=personal_number(index, sex, birth.year),
            old_number=old_number(index) if has_old else None,
            full_name=full_name(chance, sex),
            sex=sex,
            birth_date=birth,
            recorded_birth=str(birth.year) if vague else birth.isoformat(),
            commune=self._commune(),
            deceased=chance.random() < SHARE_DECEASED,
        )
        self.citizens.append(citizen)
        return citizen

    def share_old_number(self) -> Citizen:
        """Enter two living citizens who were given one and the same old number; return the first."""
        shared = old_number(self._first + len(self.citizens))
        one, _ = (self._renumbered(shared) for _ in range(2))
        return one

    def _renumbered(self, shared: str) -> Citizen:
        self.citizens.append(replace(self._taken_back(), old_number=shared, deceased=False))
        return self.citizens[-1]

    def _taken_back(self) -> Citizen:
        self.enter()
        return self.citizens.pop()

    def _commune(self) -> Commune:
        point = self._chance.random() * self._weights[-1]
        return self._communes[bisect(self._weights, point)]


def _boats_per_commune(commune: Commune) -> int:
    if commune.kind == "đặc khu":
        return 12
    return 3 if commune.prefix == "KG" else 1
