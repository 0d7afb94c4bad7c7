"""Two departments' figures side by side: what the fisheries linked, and what the operations centre counted of the events about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

DIMENSIONS: Final = ("linked_by_commune", "linked_by_class")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How the figures compare; `differing` names the communes and classes of which they say different numbers."""

    linked: int
    counted: int
    communes: int
    differing: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether the centre has counted what the fisheries linked: as many in all, in each commune and in each class."""
        return self.linked == self.counted and not self.differing


def compare(fisheries: Mapping[str, Any], centre: Mapping[str, Any]) -> Tally:
    """Compare the last reports of the two; a place that only one of them names differs."""
    differing = [
        name
        for dimension in DIMENSIONS
        for name in sorted(fisheries[dimension].keys() | centre[dimension].keys())
        if fisheries[dimension].get(name) != centre[dimension].get(name)
    ]
    return Tally(
        linked=fisheries["linked"],
        counted=centre["linked"],
        communes=len(fisheries["linked_by_commune"]),
        differing=tuple(differing),
    )
