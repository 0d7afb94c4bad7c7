"""What the diary hears of an engine's troubles: each kind once, until what failed has worked again. Callers are refused each time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from lgsp import logs
from lgsp.errors import Refusal

Failed = Literal["commit.failed", "read.failed"]


@dataclass(frozen=True, slots=True)
class Complaints:
    """The kinds of trouble that were told of and last; a server that is away for a night fails a hundred reads a second."""

    _told: set[tuple[Failed, type[Exception]]] = field(default_factory=set)

    def refused(self, event: Failed, error: Exception, words: str, **fields: Any) -> Refusal:  # noqa: ANN401 - fields of a log event
        """Return the refusal for a trouble under way, whose own text goes to the log alone."""
        if (event, type(error)) not in self._told:
            self._told.add((event, type(error)))
            logs.get_logger().error(event, exc_info=error, **fields)
        return Refusal("unavailable", words)

    def over(self, event: Failed) -> None:
        """Learn that it worked: the next trouble is told of again."""
        if self._told:
            self._told.difference_update([told for told in self._told.copy() if told[0] == event])
