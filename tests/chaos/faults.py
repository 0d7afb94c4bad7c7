"""Which faults there are, and how they are dealt: every kind before any twice, in an order and at moments drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from tests.chaos.proxy import TROUBLES, Trouble

Kind = Literal["kill", "pause", "full"] | Trouble
MINUTE: Final = 60.0
LEADER: Final = "leader"
"""Whichever node of a cluster leads when the fault strikes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to whom, for how many seconds, and how many seconds pass before."""

    whom: str
    kind: Kind
    seconds: float
    after: float

    def __str__(self) -> str:
        return f"{self.kind} {self.whom} for {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Bounds of what is drawn, in seconds."""

    away: float = 1.5
    """How long a killed program stays away at most."""
    longest: float = 3.0
    """How long a program stands still, a link is in trouble or a disk is full at most."""
    gap: float = 1.0
    """What passes between two faults at most, once the bus works again."""
    minutes: int = 0
    """How many of those that stand still do so for a minute."""


def deal(
    seed: int, count: int, *, victims: Iterable[str], links: Iterable[str], disks: Iterable[str], pace: Pace
) -> list[Fault]:
    """Return so many faults."""
    chance = random.Random(seed)
    minutes = pace.minutes
    found = []
    for kind, whom in _drawn(chance, count, sorted(victims), sorted(links), sorted(disks)):
        seconds = chance.uniform(0, pace.away) if kind == "kill" else chance.uniform(pace.longest / 3, pace.longest)
        if kind == "pause" and minutes:
            seconds, minutes = MINUTE, minutes - 1
        found.append(Fault(whom=whom, kind=kind, seconds=seconds, after=chance.uniform(0, pace.gap)))
    return found


def _drawn(
    chance: random.Random, count: int, victims: list[str], links: list[str], disks: list[str]
) -> Iterator[tuple[Kind, str]]:
    """Yield kinds and whom they strike: rounds of all kills, of as many pauses, and of the others in a random choice.

    Of a round that is cut short the kills are left: however few the faults, everybody who can be killed is, if there is room for that.
    """
    others = [(trouble, link) for link in links for trouble in TROUBLES] + [("full", disk) for disk in disks]
    chance.shuffle(others)
    dealt = 0
    while dealt < count:
        share = [others.pop(0) for _ in range(min(len(victims), len(others)))]
        others += share  # the rest first, next time
        beside = [("pause", whom) for whom in victims] + share
        chance.shuffle(beside)
        hand = [*(("kill", whom) for whom in victims), *beside][: count - dealt]
        chance.shuffle(hand)
        yield from hand
        dealt += len(hand)
