"""The guide to the SDK does what it says: its files run as they stand, in an empty folder, under plain pytest."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lgsp.testing import BusSimulator

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WORD = re.compile(r"`(\w+)`")


def blocks_of(path):
    return BLOCK.findall(path.read_text(encoding="utf-8"))


@pytest.fixture
def folder(tmp_path):
    for _language, name, text in blocks_of(ROOT / "docs/sdk.md"):
        if name:
            (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def run_pytest(folder, *options):
    command = [sys.executable, "-m", "pytest", "-q", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)


def test_the_files_of_the_guide_pass_their_own_tests(folder):
    assert ("sh", "", "python -m pytest -q\n") in blocks_of(ROOT / "docs/sdk.md")
    ran = run_pytest(folder)
    assert ran.returncode == 0, ran.stdout
    assert "7 passed" in ran.stdout


def test_scripts_are_tested_without_any_plugin(folder):
    (folder / "pytest.ini").unlink()
    ran = run_pytest(folder, "-W", "error", "-p", "no:asyncio", "-p", "no:timeout", "-p", "no:xdist", "test_scripts.py")
    assert ran.returncode == 0, ran.stdout
    assert "5 passed" in ran.stdout


def test_the_guide_names_every_word_of_the_simulated_bus():
    table = (ROOT / "docs/sdk.md").read_text(encoding="utf-8").partition("| word | does |")[2].partition("\n\n")[0]
    named = {word for line in table.splitlines() for word in WORD.findall(line.split("|")[1] if "|" in line else "")}
    words = {name for name, _member in inspect.getmembers(BusSimulator) if not name.startswith("_")}
    assert words - {"client_kind", "surroundings"} == named


def test_the_vietnamese_guide_has_the_same_blocks():
    assert blocks_of(ROOT / "docs/vi/sdk.md") == blocks_of(ROOT / "docs/sdk.md")
