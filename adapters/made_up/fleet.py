"""The made-up fishing fleet: what is true of each vessel and its owner, and who knows what about it.

How a clerk typed it is left to `handwriting`; what the systems make of it is left to their mappings.
"""

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Literal

from adapters.made_up.citizens import Citizen, Register, old_number, personal_number
from adapters.made_up.communes import communes
from adapters.made_up.draws import drawn, draws
from adapters.made_up.names import GIVEN, vessel_name

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_VESSELS = 50_000  # five digits of a registration and six of a serial still leave room
UNHELD = 900_000  # numbers from this index on belong to nobody
STRIDE = 7_919  # has no factor in common with 99,999: consecutive vessels get scattered registrations

SHARE_REPEATED_OWNER = 0.2
SHARE_WITHOUT_NUMBER = 0.4
SHARE_BY_OLD_NUMBER = 0.15
SHARE_POLICE_RIGHT = 0.5  # of the vessels about which two answers differ

Fault = Literal[
    "none",
    "name_differs",
    "birth_date_differs",
    "person_differs",
    "number_unknown",
    "number_ambiguous",
    "number_malformed",
    "birth_date_missing",
]
Answers = Literal["not_asked", "same", "differ", "both_lack", "police_only", "commune_only"]

FAULTS: tuple[tuple[Fault, float], ...] = (  # of the vessels that have a number
    ("name_differs", 0.015),
    ("birth_date_differs", 0.015),
    ("person_differs", 0.005),
    ("number_unknown", 0.01),
    ("number_ambiguous", 0.003),
    ("number_malformed", 0.005),
    ("birth_date_missing", 0.005),
)
ANSWERS: tuple[tuple[Answers, float], ...] = (  # of the vessels without a number
    ("differ", 0.03),
    ("both_lack", 0.06),
    ("police_only", 0.025),
    ("commune_only", 0.025),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hull:
    """Length in metres over all, engine power in kW."""

    length_m: float
    engine_kw: int
    material: str
    built: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Vessel:
    """One vessel.

    `kept_number`, `kept_name` and `kept_birth` (ISO, None when missing) are what the fisheries' file means to
    say about the owner; `fault` tells what is wrong with them. `police_number` and `commune_number` are what
    these two would answer when the file has no number; `answers` tells how they relate.
    """

    registration: str
    name: str
    hull: Hull
    owner: Citizen
    kept_number: str | None
    kept_name: str
    kept_birth: str | None
    fault: Fault
    police_number: str | None
    commune_number: str | None
    answers: Answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All vessels, and every citizen whom one of their numbers may mean."""

    vessels: tuple[Vessel, ...]
    citizens: tuple[Citizen, ...]


def fleet(seed: int, count: int) -> Fleet:
    """Make up `count` vessels, 1 to 50,000; a smaller fleet of a seed is the beginning of a larger one."""
    if not 1 <= count <= MOST_VESSELS:
        raise ValueError(f"a fleet has 1 to {MOST_VESSELS} vessels")
    yard = _Yard(seed)
    return Fleet(vessels=tuple(yard.build() for _ in range(count)), citizens=tuple(yard.register.citizens))


class _Yard:
    """Builds one vessel after another; holds the streams of chance and the owners so far."""

    def __init__(self, seed: int) -> None:
        self.register = Register(seed=seed, purpose="fleet", communes=communes())
        self._chance = draws(seed, "fleet/vessels")
        self._owners: list[Citizen] = []
        self._built = {"AG": 0, "KG": 0}
        self._unheld = UNHELD
        self._kept: dict[Fault, Callable[[Citizen], tuple[str, str, str | None]]] = {
            "name_differs": self._wrong_name,
            "birth_date_differs": self._wrong_birth,
            "person_differs": self._wrong_person,
            "number_unknown": self._unheld_number,
            "number_ambiguous": self._old_number,
            "number_malformed": self._lost_zero,
            "birth_date_missing": self._no_birth,
        }

    def build(self) -> Vessel:
        without = self._chance.random() < SHARE_WITHOUT_NUMBER
        return self._without_number() if without else self._with_number()

    def _with_number(self) -> Vessel:
        fault: Fault = drawn(self._chance, FAULTS, "none")
        owner = self.register.share_old_number() if fault == "number_ambiguous" else self._owner()
        number, name, birth = self._kept.get(fault, self._rightly)(owner)
        return self._vessel(owner, number=number, name=name, birth=birth, fault=fault)

    def _without_number(self) -> Vessel:
        owner = self._owner()
        answers: Answers = drawn(self._chance, ANSWERS, "same")
        police, commune = self._answered(owner.personal_number, answers)
        return self._vessel(owner, birth=owner.birth_date.isoformat(), police=police, commune=commune, answers=answers)

    def _vessel(
        self,
        owner: Citizen,
        *,
        birth: str | None,
        number: str | None = None,
        name: str | None = None,
        fault: Fault = "none",
        police: str | None = None,
        commune: str | None = None,
        answers: Answers = "not_asked",
    ) -> Vessel:
        return Vessel(
            registration=self._registration(owner.commune.prefix),
            name=vessel_name(self._chance),
            hull=_hull(self._chance),
            owner=owner,
            kept_number=number,
            kept_name=name or owner.full_name,
            kept_birth=birth,
            fault=fault,
            police_number=police,
            commune_number=commune,
            answers=answers,
        )

    def _owner(self) -> Citizen:
        if self._owners and self._chance.random() < SHARE_REPEATED_OWNER:
            return self._chance.choice(self._owners)
        self._owners.append(self.register.enter())
        return self._owners[-1]

    def _registration(self, prefix: str) -> str:
        self._built[prefix] += 1
        return f"{prefix}-{self._built[prefix] * STRIDE % 99_999 + 1:05d}-TS"

    def _rightly(self, owner: Citizen) -> tuple[str, str, str | None]:
        by_old = self._chance.random() < SHARE_BY_OLD_NUMBER
        number = owner.old_number if by_old and owner.old_number else owner.personal_number
        return number, owner.full_name, owner.birth_date.isoformat()

    def _wrong_name(self, owner: Citizen) -> tuple[str, str, str | None]:
        number, name, birth = self._rightly(owner)
        family, *middle, given = name.split()
        others = [other for other in GIVEN[owner.sex] if other != given]
        return number, " ".join((family, *middle, self._chance.choice(others))), birth

    def _wrong_birth(self, owner: Citizen) -> tuple[str, str, str | None]:
        number, name, _ = self._rightly(owner)
        # Another year: wrong at every precision in which somebody may write it down.
        year = owner.birth_date.year + self._chance.choice((-10, -2, -1, 1, 2, 10))
        return (
            number,
            name,
            owner.birth_date.replace(year=year, day=min(owner.birth_date.day, 28)).isoformat(),
        )

    def _wrong_person(self, owner: Citizen) -> tuple[str, str, str | None]:
        seller = self._stranger(owner)
        return seller.personal_number, owner.full_name, owner.birth_date.isoformat()

    def _unheld_number(self, owner: Citizen) -> tuple[str, str, str | None]:
        self._unheld += 1
        by_old = self._chance.random() < SHARE_BY_OLD_NUMBER
        year = owner.birth_date.year
        number = old_number(self._unheld) if by_old else personal_number(self._unheld, owner.sex, year)
        return number, owner.full_name, owner.birth_date.isoformat()

    def _old_number(self, owner: Citizen) -> tuple[str, str, str | None]:
        return owner.old_number or owner.personal_number, owner.full_name, owner.birth_date.isoformat()

    def _lost_zero(self, owner: Citizen) -> tuple[str, str, str | None]:
        # A spreadsheet took the number for a quantity and dropped its first zero.
        return owner.personal_number[1:], owner.full_name, owner.birth_date.isoformat()

    def _no_birth(self, owner: Citizen) -> tuple[str, str, str | None]:
        number, name, _ = self._rightly(owner)
        return number, name, None

    def _answered(self, number: str, answers: Answers) -> tuple[str | None, str | None]:
        if answers == "differ":
            other = self._other_number(number)
            return (number, other) if self._chance.random() < SHARE_POLICE_RIGHT else (other, number)
        known_to_police = answers in {"same", "police_only"}
        known_to_commune = answers in {"same", "commune_only"}
        return number if known_to_police else None, number if known_to_commune else None

    def _other_number(self, number: str) -> str:
        other = self._chance.choice(self._owners)
        return other.personal_number if other.personal_number != number else self.register.enter().personal_number

    def _stranger(self, owner: Citizen) -> Citizen:
        while True:
            other = self.register.enter()
            if other.full_name != owner.full_name and other.birth_date.year != owner.birth_date.year:
                return other


def _hull(chance: Random) -> Hull:
    length = round(chance.uniform(6.0, 28.0), 1)  # shorter vessels need no registration
    return Hull(
        length_m=length,
        engine_kw=round(length * chance.uniform(4, 22)),
        material=chance.choice(("gỗ", "gỗ", "gỗ", "composite", "thép")),
        built=chance.randrange(1988, 2026),
    )
