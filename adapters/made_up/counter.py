"""Made-up people who come to the counter of a commune; they own no vessel."""

from adapters.made_up.citizens import Citizen, Register
from adapters.made_up.communes import communes

PEOPLE = 1_000
FIRST = 500_000  # far above any index that a fleet reaches


def people(seed: int) -> tuple[Citizen, ...]:
    """Return the same 1,000 people for the same seed."""
    register = Register(seed=seed, purpose="counter", communes=communes(), first=FIRST)
    return tuple(register.enter() for _ in range(PEOPLE))
