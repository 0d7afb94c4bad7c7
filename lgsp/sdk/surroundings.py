"""What a client works with that is not its own: clock, chance and pace of the machine."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from lgsp.machine import SystemClock, SystemEntropy
from lgsp.ports.clock import Clock, Entropy
from lgsp.sdk.stream import Pace

FORGETS_EVERY: Final = 6 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a client takes from the machine; tests hand in their own."""

    clock: Clock = field(default_factory=SystemClock)
    entropy: Entropy = field(default_factory=SystemEntropy)
    chance: Callable[[], float] = random.random
    """Numbers in 0..1 that spread the moments of connecting again."""
    pace: Pace = field(default_factory=Pace)
    forget_every: float = FORGETS_EVERY
    """Seconds after which the box is rid of what is long over, and again after as many."""
