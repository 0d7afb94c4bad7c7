"""The made-up national register, by number, in the form in which it is compared."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

from adapters.made_up.citizens import Citizen
from adapters.made_up.counter import people
from adapters.made_up.fleet import fleet
from adapters.ndxp.mock.comparison import folded


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One citizen: the folded name, the birth date as far as it is recorded."""

    name: str
    birth: str
    deceased: bool


Registry = Mapping[str, tuple[Entry, ...]]


def registry(seed: int, count: int) -> Registry:
    """Return the citizens by personal and by old number, of a fleet of `count` vessels and of the counter."""
    return _by_number(chain(fleet(seed, count).citizens, people(seed)))


def _by_number(citizens: Iterable[Citizen]) -> Registry:
    found: dict[str, tuple[Entry, ...]] = defaultdict(tuple)
    for citizen in citizens:
        entry = Entry(name=folded(citizen.full_name), birth=citizen.recorded_birth, deceased=citizen.deceased)
        found[citizen.personal_number] += (entry,)
        if citizen.old_number is not None:
            found[citizen.old_number] += (entry,)
    return dict(found)
