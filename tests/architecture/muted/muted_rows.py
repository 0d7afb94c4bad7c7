"""A plugin of pytest: mutes for each test the code that `MUTED_ROWS` (a JSON file: code by test) names, and writes down there how each test ended.

A test that is named without a case looks at its code when one of its cases fails.
"""

import json
import os
from pathlib import Path

import pytest

FILE = Path(os.environ["MUTED_ROWS"])
CODES = json.loads(FILE.read_text(encoding="utf-8"))
NOTICED = "failed in call"
ENDED = dict.fromkeys(CODES, "not run")


def row_of(nodeid):
    return nodeid if nodeid in CODES else nodeid.partition("[")[0]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    os.environ["MUTED_REFUSAL"] = CODES[row_of(item.nodeid)]


def pytest_runtest_logreport(report):
    row = row_of(report.nodeid)
    if ENDED[row] != NOTICED and (report.when == "call" or report.failed):
        ENDED[row] = f"{report.outcome} in {report.when}"


def pytest_sessionfinish():
    FILE.write_text(json.dumps(ENDED), encoding="utf-8")
