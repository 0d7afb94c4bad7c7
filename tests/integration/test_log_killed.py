"""A gateway that is killed between any two steps of its log: what was answered is there, and no size has two roots."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = 350
"""Statements and signatures of three acceptances, a hand-over, an ack, some hundred entries and two kept checkpoints, at least."""


def survive(folder, every):
    program = [sys.executable, "-m", "tests.integration.log_killing", str(folder), str(every)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=570, check=False)
    assert done.returncode == 0, done.stderr
    kills, receipts, checkpoints = map(int, re.findall("[0-9]+", done.stdout))
    assert kills >= STEPS // every
    assert (receipts, checkpoints) == (3, 3)


@pytest.mark.timeout(240)
def test_a_kill_at_every_eleventh_step_loses_nothing_that_was_answered(tmp_path):
    survive(tmp_path, 11)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_kill_between_any_two_steps_loses_nothing_that_was_answered(tmp_path):
    survive(tmp_path, 1)
