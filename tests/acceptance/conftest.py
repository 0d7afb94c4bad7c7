"""The command as a person meets it: run with arguments, seen through what it prints and how it ends."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import structlog

from lgsp.cli.root import run

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


@pytest.fixture(autouse=True)
def _own_logging():
    """A command sets up logging to the standard error it sees, which is this test's alone."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def lgsp(capsys):
    """Run the command in this process."""

    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return Ended(code=int(ended.value.code or 0), out=printed.out, err=printed.err)

    return call


@pytest.fixture(scope="session")
def founded(tmp_path_factory):
    """A data folder as `lgsp init` makes it, to be copied."""
    data = tmp_path_factory.mktemp("founded") / "data"
    before = structlog.get_config()
    with pytest.raises(SystemExit) as ended:
        run(["init", "--data", str(data), "--origin", "lgsp.example.vn/91/2026"])
    structlog.configure(**before)
    assert ended.value.code == 0
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
def gateway(province):
    """The address of a running gateway with two systems."""
    with serving(province) as url:
        for name in ("asker", "answerer"):
            settings = province / "systems" / f"H01.99-{name}" / "system.toml"
            settings.write_text(settings.read_text().replace("http://127.0.0.1:8791", url))
        yield url
