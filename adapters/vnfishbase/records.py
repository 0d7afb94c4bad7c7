"""The fisheries' own file of vessels, made up and as dirty as such files are."""

from dataclasses import dataclass
from random import Random

from adapters.made_up.draws import draws
from adapters.made_up.fleet import Hull, Vessel, fleet
from adapters.made_up.handwriting import typed_birth_date, typed_name, typed_number

NUMBER_LENGTH_OLD = 9
SHARE_OLD_IN_WRONG_COLUMN = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class VesselRow:
    """One row of the file; all that concerns the owner stands as it was typed."""

    registration: str
    vessel_name: str
    owner_name: str
    owner_number: str | None
    old_number: str | None
    birth_date: str | None
    commune_code: str
    hull: Hull


def vessels(seed: int, count: int) -> list[VesselRow]:
    """Return the rows of `count` vessels, 1 to 50,000."""
    chance = draws(seed, "vnfishbase")
    return [_row(chance, vessel) for vessel in fleet(seed, count).vessels]


def _row(chance: Random, vessel: Vessel) -> VesselRow:
    number, old = _columns(chance, vessel.kept_number)
    return VesselRow(
        registration=vessel.registration,
        vessel_name=vessel.name,
        owner_name=typed_name(chance, vessel.kept_name),
        owner_number=number,
        old_number=old,
        birth_date=vessel.kept_birth and typed_birth_date(chance, vessel.kept_birth),
        commune_code=vessel.owner.commune.code,
        hull=vessel.hull,
    )


def _columns(chance: Random, number: str | None) -> tuple[str | None, str | None]:
    if number is None:
        return None, None
    typed = typed_number(chance, number)
    if len(number) == NUMBER_LENGTH_OLD and chance.random() >= SHARE_OLD_IN_WRONG_COLUMN:
        return None, typed
    return typed, None
