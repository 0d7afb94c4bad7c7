"""The guides do what they say: their blocks run in order, as they stand, in an empty folder, and print what they show."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SETUP = "setup"
"""Marks the block that makes the surroundings which the test brings itself."""
SECONDS = 300
GUIDES = ("quickstart.md", "operations.md")

pytestmark = pytest.mark.timeout(SECONDS + 60)  # a whole guide, on a machine that has other things to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block: its language, the file that it is, and what it says."""

    language: str
    name: str
    text: str


def blocks_of(path):
    return [Block(language=language, name=name, text=text) for language, name, text in BLOCK.findall(path.read_text())]


def script_of(blocks):
    """The document as one bash script: commands run, files are written, what is only shown is left out."""
    parts = ["set -euo pipefail"]
    for block in blocks:
        if block.language == "sh" and block.name != SETUP:
            parts.append(block.text)
        elif block.language != "sh" and block.name:
            parts.append(f"cat > {block.name} <<'END-OF-FILE'\n{block.text}END-OF-FILE\n")
    return "\n".join(parts)


def pattern_of(line):
    return ".*".join(re.escape(part) for part in line.split("…"))


def free_port():
    """A free port below those that the operating system takes for outgoing connections: it is still free when the gateway starts."""
    for port in random.sample(range(20_000, 30_000), 50):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


def run(script, folder):
    """Run a script in an empty folder with nothing of ours but the command on the path; end with it whatever it has started."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    around = {
        "PATH": path, "HOME": str(folder), "LC_ALL": "C.UTF-8", "CHECKOUT": str(ROOT), "LGSP_PORT": str(free_port()),
        "PYTHONWARNINGS": "error",
    }  # fmt: skip
    output = folder.with_name("printed.txt")
    with output.open("w") as stream:  # a pipe would be held open by what runs in the background
        process = subprocess.Popen(
            ["bash", "-c", script], cwd=folder, env=around, stdout=stream, stderr=stream, start_new_session=True
        )
        try:
            code = process.wait(timeout=SECONDS)
        finally:
            with suppress(ProcessLookupError):  # all have ended
                os.killpg(process.pid, signal.SIGKILL)
    return code, output.read_text()


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_runs_as_it_stands_and_prints_what_it_shows(tmp_path, guide):
    blocks = blocks_of(ROOT / "docs" / guide)
    folder = tmp_path / "empty"
    folder.mkdir()
    code, printed = run(script_of(blocks), folder)
    assert code == 0, printed
    shown = [line for block in blocks if block.language == "text" for line in block.text.splitlines()]
    assert len(shown) > 20
    missing = [line for line in shown if not re.search(f"^{pattern_of(line)}$", printed, re.MULTILINE)]
    assert not missing, printed


@pytest.mark.parametrize("guide", GUIDES)
def test_the_vietnamese_guide_has_the_same_blocks(guide):
    assert blocks_of(ROOT / "docs/vi" / guide) == blocks_of(ROOT / "docs" / guide)


@pytest.mark.parametrize(
    ("blocks", "script"),
    [
        ([Block(language="sh", name="", text="true\n")], "set -euo pipefail\ntrue\n"),
        ([Block(language="sh", name="setup", text="false\n")], "set -euo pipefail"),
        ([Block(language="text", name="", text="shown\n")], "set -euo pipefail"),
        (
            [Block(language="toml", name="a.toml", text="x = 1\n")],
            "set -euo pipefail\ncat > a.toml <<'END-OF-FILE'\nx = 1\nEND-OF-FILE\n",
        ),
    ],
)
def test_a_block_becomes_a_command_a_file_or_nothing(blocks, script):
    assert script_of(blocks) == script
