"""What the README promises first: the two commands at its top, the commands of its table, and the counts that it shows."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from lgsp.cli.demo.screen import REASONS
from lgsp.cli.root import build

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `lgsp (\w+(?: [\w-]+)?)` \| (.*) \|$", re.MULTILINE)
COUNT = re.compile(r"^│ +(\S.*?) +│ ([0-9,]+) +│$", re.MULTILINE)
DEMO_SECONDS = 600


def commands(group, path=""):
    """Path and help of every command, in English and Vietnamese."""
    for name, command in group.commands.items():
        if getattr(command, "commands", None):
            yield from commands(command, f"{path}{name} ")
        else:
            english, _, vietnamese = " ".join(command.help.split()).partition(" | ")
            yield f"{path}{name}", (english, vietnamese.removesuffix("."))


def test_the_two_commands_stand_at_the_top():
    block = re.search(r"```sh\n(.*?)```", README, re.DOTALL)
    assert README[: block.start()].count("\n") < 10
    assert [line.partition("#")[0].strip() for line in block[1].splitlines()] == ["make demo", "make test"]


@pytest.mark.parametrize(("path", "language"), [("README.md", 0), ("docs/vi/README.md", 1)])
def test_the_table_of_commands_says_what_their_help_says(path, language):
    helps = {name: texts[language] for name, texts in commands(typer.main.get_command(build()))}
    assert dict(ROW.findall((ROOT / path).read_text(encoding="utf-8"))) == helps


@pytest.mark.long
@pytest.mark.timeout(DEMO_SECONDS)
def test_the_demo_comes_to_the_counts_that_the_readme_shows():
    command = [sys.executable, "-m", "lgsp.cli", "demo", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEMO_SECONDS, check=True)
    found = json.loads(ended.stdout)
    shown = {name: int(count.replace(",", "")) for name, count in COUNT.findall(README)}
    assert shown["vessels"] == found["vessels"]
    assert shown["linked to a verified owner"] == found["linked"]
    assert shown["in quarantine, with a reason"] == found["quarantined"]
    assert {reason: shown[REASONS[reason][0]] for reason in found["by_reason"]} == found["by_reason"]
