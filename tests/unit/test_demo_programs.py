"""The demo's programs: started, listened to, killed, and never left behind."""

import asyncio
import signal
import sys

import pytest

from lgsp.cli.demo.programs import Programs
from lgsp.errors import Unusable
from lgsp.privateserver import PORTS, free_port

SLEEPS = (sys.executable, "-c", "import time; time.sleep(60)")
SPEAKS = (
    sys.executable,
    "-c",
    'import sys, time; print(\'{"event":"ready","n":1}\', file=sys.stderr, flush=True); time.sleep(60)',
)
FAILS = (sys.executable, "-c", "import sys; sys.exit('the port is taken')")


@pytest.fixture
async def programs(tmp_path):
    async with Programs(logs=tmp_path / "logs", on_event=lambda _program, _event: None) as running:
        yield running


async def test_an_event_of_a_program_is_awaited_and_kept(programs, tmp_path):
    program = await programs.start("speaker", *SPEAKS)
    assert (await program.event("ready", seconds=30))["n"] == 1
    assert await programs.stop("speaker") == -signal.SIGTERM
    assert (tmp_path / "logs" / "speaker.log").read_text() == '{"event":"ready","n":1}\n'


async def test_a_program_that_ends_by_itself_is_told_with_its_last_words(programs):
    program = await programs.start("loser", *FAILS)
    with pytest.raises(Unusable, match="loser ended: the port is taken"):
        await program.event("ready", seconds=30)
    with pytest.raises(Unusable, match="loser ended: the port is taken"):
        programs.check()


async def test_a_killed_program_is_started_again_under_its_name(programs):
    first = await programs.start("speaker", *SPEAKS)
    assert await programs.kill("speaker") == -signal.SIGKILL
    programs.check()
    second = await programs.start("speaker", *SPEAKS)
    assert second.process.pid != first.process.pid
    assert list(programs.running) == ["speaker"]


async def test_a_start_that_is_called_off_leaves_nothing_running(tmp_path):
    async with Programs(logs=tmp_path, on_event=lambda _program, _event: None) as programs:
        starting = asyncio.create_task(programs.start("sleeper", *SLEEPS))
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        [program] = programs.running.values()
        assert program.process.returncode is None
    assert program.process.returncode == -signal.SIGTERM


def test_a_private_servers_port_is_none_that_an_outgoing_connection_may_take():
    assert {free_port() in PORTS for _ in range(20)} == {True}
    assert PORTS.stop <= 32_768
