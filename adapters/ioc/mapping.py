"""From an event about a vessel to what is counted of it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedVessel:
    """A vessel that counts once; a commune's code means something only with its catalogue."""

    registration: str
    catalogue: str
    commune: str
    length_class: str


def linked_vessel(event: Mapping[str, Any]) -> LinkedVessel:
    """Return the vessel that an event tells of."""
    return LinkedVessel(
        registration=event["registration"],
        catalogue=event["orgcat"],
        commune=event["communeCode"],
        length_class=event["lengthClass"],
    )
