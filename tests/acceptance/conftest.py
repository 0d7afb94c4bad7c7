"""The real commands, run as a person runs them, and a search for people in what they write."""

import os
import re
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

LGSP = str(Path(sys.executable).with_name("lgsp"))
SECONDS = 240
BARRED = str.maketrans("Đđ", "Dd")  # the only letters whose accent does not decompose
SIZES = (9, 11, 12)
"""Digits of an old number, of a personal number that lost its first zero, of a personal number."""


@dataclass(slots=True)
class Run:
    """One run of `lgsp`, and what it has said so far on standard error."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    def hear(self, word: str) -> str:
        """Return the first line on standard error with this word in it."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if word in line:
                return line
        raise AssertionError(f"it ended without {word!r}:\n{''.join(self.said)}")

    def end(self) -> tuple[int, str, str]:
        """Wait for the end and return exit code, standard output, standard error."""
        out, rest = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out, "".join(self.said) + rest


@pytest.fixture(scope="session")
def start() -> Iterator[Callable[..., Run]]:
    """Return the function that starts `lgsp` in an environment without settings of whoever runs the tests."""
    runs: list[Run] = []

    def started(*arguments: str, cwd: Path, **environment: str) -> Run:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("LGSP_")}
        process = subprocess.Popen(
            (LGSP, *arguments),
            cwd=cwd,
            env={**plain, "COLUMNS": "160", "LGSP_LANG": "en", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        runs.append(Run(process))
        return runs[-1]

    yield started
    for run in runs:
        if run.process.poll() is None:  # a test failed in the middle
            run.process.send_signal(signal.SIGTERM)
            run.process.communicate(timeout=SECONDS)


@pytest.fixture(scope="session")
def lgsp(start: Callable[..., Run]) -> Callable[..., tuple[int, str, str]]:
    """Return the function that runs `lgsp` to its end."""
    return lambda *arguments, cwd, **environment: start(*arguments, cwd=cwd, **environment).end()


@pytest.fixture(scope="session")
def running_in() -> Callable[[Path], list[psutil.Process]]:
    """Return the function that finds every process with a path below a folder on its command line."""

    def found(folder: Path) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if any(str(folder) in word for word in _words(process))]

    return found


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


@dataclass(frozen=True, slots=True)
class Search:
    """Finds any of many numbers and names in a text in one pass, however they were typed.

    Letter case, accents, what stands between words and spaces within numbers make no difference; JSON's escapes are undone.
    """

    numbers: frozenset[str]
    names: frozenset[tuple[str, ...]]

    @classmethod
    def of(cls, numbers: Iterable[str], names: Iterable[str]) -> "Search":
        digits = frozenset(re.sub(r"\D", "", number) for number in numbers)
        assert {len(number) for number in digits} <= set(SIZES)
        return cls(digits, frozenset(_pieces(name) for name in names))

    def find(self, text: str) -> set[str]:
        """Return what was found, numbers as digits, names as plain words."""
        text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda escape: chr(int(escape[1], 16)), text)
        return self._numbers_in(text) | self._names_in(_pieces(text))

    def _numbers_in(self, text: str) -> set[str]:
        runs = re.findall(r"\d{9,}", text) + re.findall(r"\d{9,}", re.sub(r"(?<=\d)\s+(?=\d)", "", text))
        windows = (run[at : at + size] for run in runs for size in SIZES for at in range(len(run) - size + 1))
        return {window for window in windows if window in self.numbers}

    def _names_in(self, words: tuple[str, ...]) -> set[str]:
        lengths = {len(name) for name in self.names}
        runs = (run for length in lengths for run in zip(*(words[at:] for at in range(length)), strict=False))
        return {" ".join(run) for run in runs if run in self.names}


def _pieces(text: str) -> tuple[str, ...]:
    bare = unicodedata.normalize("NFD", text.translate(BARRED))
    plain = "".join(sign for sign in bare if not unicodedata.combining(sign))
    return tuple(re.findall(r"[^\W_]+", plain.casefold()))


@pytest.fixture(scope="session")
def search_for() -> Callable[[Iterable[str], Iterable[str]], Search]:
    """Return the function that makes a search for numbers and names."""
    return Search.of
