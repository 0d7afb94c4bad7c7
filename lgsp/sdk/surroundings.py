"""What a client works with that is not its own: clock, chance and pace of the machine, and the newest directory to sign against."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from lgsp.domain.envelope import Manifest
from lgsp.machine import SystemClock, SystemEntropy
from lgsp.ports.clock import Clock, Entropy
from lgsp.sdk.composition import Composer, Stated
from lgsp.sdk.directories import Directories
from lgsp.sdk.outbox import Letter
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


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadCompose:
    """Signs against the newest directory seen."""

    composer: Composer
    directories: Directories

    def letter(self, type_: str, stated: Stated) -> Letter:
        """Return the signed letter or raise `Refused`."""
        return self.composer.letter(type_, stated, self.directories.head)

    def reply(self, request: Manifest, body: object, *, schema: str | None, orgcat: str | None) -> Letter:
        """Return the signed reply or raise `Refused`."""
        return self.composer.reply(request, body, self.directories.head, schema=schema, orgcat=orgcat)
