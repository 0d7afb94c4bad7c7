"""What an audit finds: the first thing that does not fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

UNREADABLE: Final = (TypeError, ValueError, AttributeError, LookupError, OverflowError)
"""What reading a row may raise in whose cells somebody put another kind of value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The first thing that does not fit; `index` is None where no single entry can be named."""

    index: int | None
    words: str


class Found(Exception):
    """Carries a finding out of the checks."""

    def __init__(self, index: int | None, words: str) -> None:
        self.finding = Finding(index=index, words=words)
        super().__init__(words)
