"""A plugin of pytest: mutes for each test the code that `MUTED_ROWS` (a JSON file: code by test) names, and writes down there how each test ended."""

import json
import os
from pathlib import Path

import pytest

FILE = Path(os.environ["MUTED_ROWS"])
CODES = json.loads(FILE.read_text(encoding="utf-8"))
ENDED = dict.fromkeys(CODES, "not run")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    os.environ["MUTED_REFUSAL"] = CODES[item.nodeid]


def pytest_runtest_logreport(report):
    if report.when == "call" or report.failed:
        ENDED[report.nodeid] = f"{report.outcome} in {report.when}"


def pytest_sessionfinish():
    FILE.write_text(json.dumps(ENDED), encoding="utf-8")
