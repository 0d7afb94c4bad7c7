"""The processes that check pages of a log beside each other: one that ends is told of, and none outlives the command."""

import asyncio
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.cli.log_checks.pages import Page
from lgsp.cli.log_checks.processes import Workers
from lgsp.errors import Unusable
from lgsp.testing.world import BUS, signer_named

PAGE = Page(start=0, stop=1, held_since="", fresh_since="")
REGISTRAR = signer_named("registrar").public
WAITS = """
import os, time
from lgsp.cli.log_checks.processes import Workers
from lgsp.testing.world import BUS, signer_named
with Workers.forked(None, 2, bus=BUS, registrar=signer_named("registrar").public):
    print(*open(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read().split(), flush=True)
    time.sleep(60)
"""


@asynccontextmanager
async def dying():
    os._exit(1)
    yield


@asynccontextmanager
async def away():
    raise Unusable("database_away", "no answer")
    yield


@asynccontextmanager
async def empty():
    yield MemoryLedger()


def checked_by(opened):
    with Workers.forked(opened, 1, bus=BUS, registrar=REGISTRAR) as workers:
        return asyncio.run(workers.check(PAGE))


def test_a_page_is_checked_by_another_process():
    assert checked_by(empty).finding.words == "the entry or its hash is missing"


@pytest.mark.parametrize(("opened", "code"), [(dying, "unavailable"), (away, "database_away")])
def test_a_process_that_cannot_go_on_is_told_of(opened, code):
    with pytest.raises(Unusable) as refused:
        checked_by(opened)
    assert refused.value.code == code


def test_no_process_outlives_a_command_that_is_killed():
    command = subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True)
    try:
        children = [int(each) for each in command.stdout.readline().split()]
        assert len(children) == 2
    finally:
        command.kill()
        command.communicate()
    until = time.monotonic() + 10
    while any(map(lives, children)):
        assert time.monotonic() < until
        time.sleep(0.05)


def lives(process):
    with suppress(ProcessLookupError, FileNotFoundError):
        os.kill(process, 0)
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return False
