"""Faults on purpose: a slow platform, a gateway that fails, HTTP status 200 around nothing. Seeded."""

from dataclasses import dataclass
from typing import Literal

from adapters.made_up.draws import drawn, draws

Mishap = Literal["none", "bad_gateway", "empty"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Delay in seconds for every question; shares of 0 to 1 for the rest."""

    delay: float = 0.0
    bad_gateway: float = 0.0
    empty: float = 0.0

    def __post_init__(self) -> None:
        if min(self.delay, self.bad_gateway, self.empty) < 0 or self.bad_gateway + self.empty > 1:
            raise ValueError("delay and shares are 0 or more, the shares together 1 at most")


class Faults:
    """Draws what happens to each question."""

    def __init__(self, rates: Rates, seed: int) -> None:
        self.delay = rates.delay
        self._chance = draws(seed, "ndxp/faults")
        self._table: tuple[tuple[Mishap, float], ...] = (
            ("bad_gateway", rates.bad_gateway),
            ("empty", rates.empty),
        )

    def draw(self) -> Mishap:
        """Draw the mishap of one question."""
        return drawn(self._chance, self._table, "none")
