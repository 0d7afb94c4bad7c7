"""The command as a person meets it: run with arguments, seen through what it prints and how it ends."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from lgsp.cli.kept import open_kept
from lgsp.config import Settings
from lgsp.domain import envelope, strictjson
from lgsp.keyfiles import read_private
from lgsp.machine import SystemEntropy

FISHERY = """
[[agency]]
id = "H01.99"
[[system]]
id = "H01.99/asker"
[[system]]
id = "H01.99/answerer"
consumes = ["vn.lgsp.examples.record.ask.v1"]
[[schema]]
id = "urn:lgsp:schema:examples:record:1.0.0"
file = "record.json"
[[service]]
id = "vn.lgsp.examples.record.ask.v1"
name = "Ask for a record"
schemas = ["urn:lgsp:schema:examples:record:1.0.0"]
reply_schemas = ["urn:lgsp:schema:examples:record:1.0.0"]
requires = ["purpose"]
[[grant]]
id = "ask"
grantee = "H01.99/asker"
type = "vn.lgsp.examples.record.ask.v1"
audience = "H01.99/answerer"
purposes = ["example"]
basis = "a test"
[[key]]
owner = "H01.99/asker"
role = "system"
file = "DATA/systems/H01.99-asker/key.jwk"
[[key]]
owner = "H01.99/answerer"
role = "system"
file = "DATA/systems/H01.99-answerer/key.jwk"
"""
RECORD = '{"$schema":"https://json-schema.org/draft/2020-12/schema","$id":"urn:lgsp:schema:examples:record:1.0.0","type":"object"}'
READY_SECONDS = 30
LGSP = str(Path(sys.executable).with_name("lgsp"))
SECONDS = 240
BARRED = str.maketrans("Đđ", "Dd")  # the only letters whose accent does not decompose
SIZES = (9, 11, 12)
"""Digits of an old number, of a personal number that lost its first zero, of a personal number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch):
    """No setting of the developer's own reaches a command, and all speak English unless a test says otherwise."""
    for name in [name for name in os.environ if name.startswith("LGSP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


@pytest.fixture
def lgsp(run_command, capsys):
    """Run the command in this process."""

    def call(*arguments):
        capsys.readouterr()
        code = run_command(*arguments)
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return Ended(code=code, out=printed.out, err=printed.err)

    return call


@pytest.fixture(scope="session")
def founded(tmp_path_factory, run_command):
    """A data folder as `lgsp init` makes it, to be copied."""
    data = tmp_path_factory.mktemp("founded") / "data"
    assert run_command("init", "--data", data, "--origin", "lgsp.example.vn/91/2026") == 0
    return data


@pytest.fixture
def data(founded, tmp_path):
    """A data folder of this test's own."""
    return shutil.copytree(founded, tmp_path / "data")


@pytest.fixture
def province(data, lgsp):
    """A data folder with two systems, of which one may ask the other."""
    for name in ("asker", "answerer"):
        assert lgsp("system", "new", f"H01.99/{name}", "--data", data).code == 0
    (data.parent / "record.json").write_text(RECORD)
    (data.parent / "directory.toml").write_text(FISHERY.replace("DATA", str(data)))
    applied = lgsp("directory", "apply", data.parent / "directory.toml", "--data", data)
    assert applied.code == 0, applied.err
    return data


@pytest.fixture
def question(province) -> Callable[..., envelope.Wire]:
    """Return the function that makes another signed request of the asker to the answerer."""
    signer = read_private(province / "systems" / "H01.99-asker" / "key.pem")

    def made(**stated: str) -> envelope.Wire:
        now = datetime.now(UTC)
        whole = {
            "specversion": "1.0",
            "id": SystemEntropy().uuid7(),
            "source": "urn:lgsp:agency:H01.99:sys:asker",
            "type": "vn.lgsp.examples.record.ask.v1",
            "time": envelope.format_time(now),
            "recordedtime": envelope.format_time(now),
            "expirytime": envelope.format_time(now + timedelta(minutes=5)),
            "audience": "urn:lgsp:agency:H01.99:sys:answerer",
            "datacontenttype": "application/json",
            "dataschema": "urn:lgsp:schema:examples:record:1.0.0",
            "dataclassification": "internal",
            "purpose": "example",
        }
        return envelope.sign(whole | stated, b"{}", signer)

    return made


def _command(*arguments):
    return [sys.executable, "-m", "lgsp.cli", *map(str, arguments)]


@contextmanager
def serving(data) -> Iterator[str]:
    """Run the gateway of a data folder in a process of its own; give its address."""
    address, output = data.parent / "address", data.parent / "serve.txt"
    address.unlink(missing_ok=True)
    with output.open("w") as stream:
        process = subprocess.Popen(
            _command("serve", "--data", data, "--port", 0, "--port-file", address), stdout=stream, stderr=stream
        )
    try:
        end = time.monotonic() + READY_SECONDS
        while not address.exists():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < end, output.read_text()
            time.sleep(0.05)  # another process: there is nothing here to await
        yield address.read_text().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=READY_SECONDS)
    assert code == 0, output.read_text()


@pytest.fixture
def gateway(serve_for_a_moment):
    """The address of a running gateway with two systems."""
    with serve_for_a_moment() as url:
        yield url


@pytest.fixture
def serve_for_a_moment(province):
    """Run a gateway with two systems for as long as a block; give its address."""

    @contextmanager
    def serve():
        with serving(province) as url:
            for name in ("asker", "answerer"):
                settings = province / "systems" / f"H01.99-{name}" / "system.toml"
                settings.write_text(re.sub('url = ".*"', f'url = "{url}"', settings.read_text()))
            yield url

    return serve


# --- processes of their own, and people in what they write ---------------------------------------------------------------------------------


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
    for each in runs:
        if each.process.poll() is None:  # a test failed in the middle
            each.process.send_signal(signal.SIGTERM)
            each.process.communicate(timeout=SECONDS)


@pytest.fixture(scope="session")
def run_apart(start: Callable[..., Run]) -> Callable[..., tuple[int, str, str]]:
    """Return the function that runs `lgsp` to its end, in a process of its own."""
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


# --- the story of the demo, for tests that disturb it -------------------------------------------------------------------------------------


class Dark:
    """A stage that nobody looks at."""

    def act(self, name): ...
    def stay(self, url): ...
    def progress(self, step, done, total): ...


@pytest.fixture
def dark() -> Dark:
    return Dark()


@pytest.fixture
def entries_of() -> Callable[[Path], Awaitable[list[dict[str, Any]]]]:
    """Return the function that reads every entry of the log in a data folder."""

    async def entries(data: Path) -> list[dict[str, Any]]:
        async with open_kept(Settings.load(data)) as kept:
            return [strictjson.parse_object(entry) for entry in await kept.store.entries(0, await kept.store.size())]

    return entries
