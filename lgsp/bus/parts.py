"""What the parts of a gateway that answer people are made of: all of it comes from outside the bus."""

from __future__ import annotations

from typing import Protocol

from lgsp.ports.clock import Clock, Entropy
from lgsp.ports.persons import SubjectKeys
from lgsp.ports.store import Store


class Parts(Protocol):
    """What they take of it."""

    @property
    def gateway(self) -> str:
        """The gateway's URN."""

    @property
    def store(self) -> Store:
        """All that the ledger keeps."""

    @property
    def subject_keys(self) -> SubjectKeys:
        """The ring of keys."""

    @property
    def body_wrap(self) -> bytes:
        """The key that body keys are wrapped under."""

    @property
    def clock(self) -> Clock:
        """The time."""

    @property
    def entropy(self) -> Entropy:
        """Chance."""
