"""The one catalogue of refusals, and the errors that carry its codes.

The catalogue is data (`catalogue.toml`): a stable code, the HTTP status, whether the same bytes may succeed later, who must act, and a title and a
hint in English and Vietnamese. This module reads it and leaves the decisions to the layers above.

    LgspError                 anything this project raises on purpose
    ├── Refusal               a stated "no" with a code of the catalogue
    │   └── Unusable          a file, setting or command that cannot be used as given
    └── Defect                a promise of our own code was broken
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib import resources
from typing import Literal

Language = Literal["en", "vi"]
Family = Literal["sender", "operator", "administrator", "nobody", "us"]


class Ending(IntEnum):
    """What a command's process ends with, for whoever started it (docs/operations.md, section 15)."""

    DONE = 0
    NOT_DONE = 1
    """The bus refused, or what was looked at is not as it should be."""
    UNUSABLE = 2
    """A file, setting or option cannot be used as given."""
    BROKEN = 3
    """A log, a proof or evidence does not verify."""
    OUR_FAULT = 70
    """EX_SOFTWARE of sysexits.h."""
    INTERRUPTED = 130
    """As a shell tells of Ctrl+C."""


class LgspError(Exception):
    """Anything this project raises on purpose."""


class Defect(LgspError):
    """A promise of our own code was broken; the fault is ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the catalogue."""

    code: str
    status: int
    family: Family
    retryable: bool
    title: dict[Language, str]
    hint: dict[Language, str]


@cache
def catalogue() -> dict[str, Entry]:
    """Return every code with its row, in the order of the file."""
    text = resources.files("lgsp").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return {code: _entry(code, row) for code, row in tomllib.loads(text).items()}


def _entry(code: str, row: dict[str, str | int | bool]) -> Entry:
    return Entry(
        code=code,
        status=int(row["status"]),
        family=str(row["family"]),  # type: ignore[arg-type]
        retryable=bool(row.get("retryable", False)),
        title={"en": str(row["en"]), "vi": str(row["vi"])},
        hint={"en": str(row["hint_en"]), "vi": str(row["hint_vi"])},
    )


class Refusal(LgspError):
    """A stated "no": a code of the catalogue, where it was found, and what may be told.

    `pointer` is a JSON pointer (RFC 6901) into manifest or body. `detail` is made of fixed words and names of ours: never a value out of a body.
    """

    def __init__(self, code: str, detail: str = "", *, pointer: str = "", **facts: str | int | list[str]) -> None:
        self.entry = catalogue()[code]
        self.code = code
        self.detail = detail
        self.pointer = pointer
        self.facts = facts
        super().__init__(code, detail, pointer)

    def __str__(self) -> str:
        where = f" at {self.pointer}" if self.pointer else ""
        return f"{self.code}{where}: {self.detail or self.entry.title['en']}"

    def problem(self, language: Language = "en") -> dict[str, str | int | bool | list[str]]:
        """Return the members of an RFC 9457 problem, without `request_id` and `receipt`, which the edge adds."""
        found: dict[str, str | int | bool | list[str]] = {
            "type": f"urn:lgsp:refusal:{self.code}",
            "title": self.entry.title[language],
            "status": self.entry.status,
            "code": self.code,
            "retryable": self.entry.retryable,
            "hint": self.entry.hint[language],
        }
        if self.detail:
            found["detail"] = self.detail
        if self.pointer:
            found["pointer"] = self.pointer
        return found | self.facts


class Unusable(Refusal):
    """A file, setting or command that cannot be used as given; `exit_code` is what a command ends with."""

    def __init__(self, code: str, detail: str = "", *, exit_code: int = Ending.UNUSABLE, pointer: str = "") -> None:
        super().__init__(code, detail, pointer=pointer)
        self.exit_code = exit_code


def not_usable(path: object, error: OSError) -> Unusable:
    """Return the refusal for what the machine would not open, make or write: `data_missing` where it is not there, else `data_unusable`."""
    code = "data_missing" if isinstance(error, FileNotFoundError | NotADirectoryError) else "data_unusable"
    return Unusable(code, f"{path}: {os.strerror(error.errno or 0)}")


def together(problems: Sequence[Refusal]) -> Refusal:
    """Return one refusal that tells of all, each on a line of its own, under the code of the first; there must be one."""
    first = problems[0]
    if len(problems) > 1:
        first.detail = "\n".join(problem.detail for problem in problems)
    return first
