"""How commands speak: in English or Vietnamese, results on standard output, everything else on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TextIO, cast

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lgsp.errors import Ending, Language, LgspError, Refusal, Unusable, catalogue

LANGUAGES: Final[tuple[Language, ...]] = ("en", "vi")
FLAG: Final = "--lang"
VARIABLE: Final = "LGSP_LANG"
LOCALES: Final = ("LC_ALL", "LC_MESSAGES", "LANG")
WIDE: Final = 1_000
"""Columns of an output that is no terminal: tables stay one line a row."""


def _console(stream: TextIO) -> Console:
    """Return a console that changes nothing of what it is given: by itself it would take `:bus:` for a picture of a bus."""
    width = None if stream.isatty() else WIDE
    return Console(file=stream, emoji=False, markup=False, highlight=False, soft_wrap=True, width=width)


def _write(stream: TextIO, text: str) -> None:
    stream.write(text + "\n")
    stream.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """The language of one run and where its words go."""

    language: Language
    out: Console = field(default_factory=lambda: _console(sys.stdout))

    def choose(self, en: str, vi: str) -> str:
        """Return the text in the language of this run."""
        return vi if self.language == "vi" else en

    def tell(self, en: str, vi: str) -> None:
        """Write a line for a person to standard error."""
        _write(sys.stderr, self.choose(en, vi))

    def give(self, text: str) -> None:
        """Write a result to standard output, as it is."""
        _write(sys.stdout, text)

    def show(self, drawn: Table | Text) -> None:
        """Write a table or coloured text to standard output."""
        self.out.print(drawn)

    def table(self, *columns: tuple[str, str]) -> Table:
        """Return an empty table with these column titles (English, Vietnamese)."""
        found = Table(box=None, pad_edge=False, header_style="bold")
        for en, vi in columns:
            found.add_column(self.choose(en, vi), overflow="fold")
        return found

    def explain(self, error: LgspError) -> int:
        """Write what stopped the command, and what to do, to standard error; return the exit code."""
        refusal = as_refusal(error)
        if refusal is None:
            self.tell(f"lgsp: a fault of our own: {error}", f"lgsp: lỗi của chính chương trình: {error}")
            return Ending.OUR_FAULT
        _write(sys.stderr, refusal_text(refusal, self.language))
        return refusal.exit_code if isinstance(refusal, Unusable) else Ending.NOT_DONE


def as_refusal(error: LgspError) -> Refusal | None:
    """Return the refusal that an error is or carries the code of, as those of the SDK do; None for a fault of our own."""
    if isinstance(error, Refusal):
        return error
    code = getattr(error, "code", None)
    if code not in catalogue():
        return None
    return Refusal(code, getattr(error, "detail", str(error)), pointer=getattr(error, "pointer", ""))


def refusal_text(refusal: Refusal, language: Language) -> str:
    """Return one line: code, what is wrong and where, what to do; several problems stand on lines of their own below it."""
    where = f" ({refusal.pointer})" if refusal.pointer else ""
    title, hint = refusal.entry.title[language], refusal.entry.hint[language]
    problems = refusal.detail.splitlines()
    if len(problems) > 1:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        return f"lgsp: [{refusal.code}] {title}{where}. {hint}:{listed}"
    said = f": {refusal.detail}" if refusal.detail else ""
    return f"lgsp: [{refusal.code}] {title}{where}{said}. {hint}"


def voice_of(context: typer.Context) -> Voice:
    """Return the voice of this run."""
    return cast("Voice", context.find_root().obj)


def choose_language(arguments: Sequence[str], environment: Mapping[str, str]) -> Language:
    """Return the language: the flag, else `LGSP_LANG`, else the locale, else English."""
    asked = _flag(arguments)
    for text in (asked, environment.get(VARIABLE, ""), *(environment.get(name, "") for name in LOCALES)):
        language = text[:2].lower()
        if language in LANGUAGES:
            return language
        if text:
            return "en"
    return "en"


def _flag(arguments: Sequence[str]) -> str:
    for place, argument in enumerate(arguments):
        if argument == FLAG and place + 1 < len(arguments):
            return arguments[place + 1]
        if argument.startswith(f"{FLAG}="):
            return argument.removeprefix(f"{FLAG}=")
    return ""


def lead_with_language(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `--lang` moved to the front: it may be given anywhere."""
    asked = _flag(arguments)
    if not asked:
        return list(arguments)
    rest = list(arguments)
    if f"{FLAG}={asked}" in rest:
        rest.remove(f"{FLAG}={asked}")
    else:
        place = rest.index(FLAG)
        del rest[place : place + 2]
    return [FLAG, asked, *rest]


def own_voice(arguments: Sequence[str]) -> Voice:
    """Return the voice for these arguments in this process."""
    return Voice(language=choose_language(arguments, os.environ))
