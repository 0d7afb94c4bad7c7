"""News as texts of NOTIFY: lines of a letter and words, under the size that the server takes, the teller's number first.

No word has a space in it: they are names of systems, ids and hashes. A line that is not understood, from a later program for one, counts as news
that was missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from lgsp.ports.neighbours import News, gathered

TEXT_MAX: Final = 7_900
"""Bytes of one text; the server takes fewer than 8,000."""
LINES_MAX: Final = 2_000
"""Lines at once; instead of more the others are told to look at everything."""
MISSED: Final = "x"


def write(news: News, teller: str) -> list[str]:
    """Return the texts that tell some news; at least one, which tells that the teller lives."""
    lines = list(_lines(news))
    return list(_packed([MISSED] if len(lines) > LINES_MAX else lines, teller))


def _lines(news: News) -> Iterator[str]:
    if news.missed:
        yield MISSED
    if news.directory:
        yield f"d {news.directory}"
    yield from (f"e {day}" for day in sorted(news.erased))
    yield from (f"w {asker} {identifier}" for asker, identifier in sorted(news.awaited))
    yield from (f"a {asker} {identifier}" for asker, identifier in sorted(news.answered))
    yield from (f"q {inbox}" for inbox in sorted(news.queued))
    yield from (f"m {source} {to} {env}" for source, to, env in sorted(news.moved))


def _packed(lines: Iterable[str], teller: str) -> Iterator[str]:
    text = teller
    for line in lines:
        if len(text) + 1 + len(line) > TEXT_MAX:
            yield text
            text = teller
        text += f"\n{line}"
    yield text


def read(text: str) -> tuple[str, News]:
    """Return who tells, and what."""
    teller, *lines = text.split("\n")
    return teller, gathered([_read_line(line) for line in lines])


def _read_line(line: str) -> News:  # noqa: PLR0911 - one for each letter
    match line.split(" "):
        case ["q", inbox]:
            return News(queued=frozenset({inbox}))
        case ["w", asker, identifier]:
            return News(awaited=frozenset({(asker, identifier)}))
        case ["a", asker, identifier]:
            return News(answered=frozenset({(asker, identifier)}))
        case ["m", source, to, env]:
            return News(moved=frozenset({(source, to, env)}))
        case ["e", day]:
            return News(erased=frozenset({day}))
        case ["d", version] if version.isdecimal():
            return News(directory=int(version))
        case _:
            return News(missed=True)
