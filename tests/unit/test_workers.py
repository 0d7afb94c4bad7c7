"""What the process that keeps the workers does: ready when all listen, one that hangs is started again, and the service manager hears of it."""

import asyncio
import itertools
import os
import signal
import socket
import sys
from types import SimpleNamespace

import pytest

from lgsp.cli import workers
from lgsp.cli.voice import Voice
from lgsp.cli.workers import Workers

LISTENS = "import sys; print('http://127.0.0.1:1', flush=True); sys.stdin.read()"
"""A worker that listens, gives no further sign of life, and ends with its standard input."""
LIVES = """
import select, sys
print("http://127.0.0.1:1", flush=True)
while not select.select([sys.stdin], [], [], 0.02)[0]:
    print(flush=True)
"""


HEARS = """
import os, pathlib, select, signal, sys
signal.signal(signal.SIGHUP, lambda *_: pathlib.Path({folder!r}, str(os.getpid())).touch())
print("http://127.0.0.1:1", flush=True)
while not select.select([sys.stdin], [], [], 0.02)[0]:
    print(flush=True)
"""
"""One that notes that it was told to read its certificate again."""


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """A made-up service manager that wants a sign of life every few milliseconds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(tmp_path / "notify"))
        door.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "100000")
        yield door


@pytest.fixture
def keeper(tmp_path, monkeypatch):
    """Return two workers' keeper, and the programs that it starts in their place, by turns."""
    programs = [LIVES]
    started = itertools.count()
    monkeypatch.setattr(
        Workers, "_command", lambda *_: [sys.executable, "-c", programs[min(next(started), len(programs) - 1)]]
    )
    monkeypatch.setattr(workers, "PAUSES", (0.0,))
    settings = SimpleNamespace(data=tmp_path, http=SimpleNamespace(host="127.0.0.1", port=0, tls_cert=None))
    return Workers(settings=settings, count=2, voice=Voice(language="en"), port_file=tmp_path / "address"), programs


async def heard(manager, *wanted):
    """Return what the manager hears until it has heard all of this."""
    found = []
    while not set(wanted) <= set(found):
        found.append(await asyncio.to_thread(manager.recv, 64))
    return found


async def test_the_manager_hears_that_all_listen_that_they_are_kept_and_that_they_end(keeper, manager, tmp_path):
    kept, _ = keeper
    running = asyncio.create_task(kept.run())
    await heard(manager, b"READY=1", b"WATCHDOG=1")
    assert (tmp_path / "address").read_text() == "http://127.0.0.1:1\n"
    os.kill(os.getpid(), signal.SIGTERM)
    await heard(manager, b"STOPPING=1")
    assert await asyncio.wait_for(running, 10) == 0


async def test_the_managers_word_to_reload_reaches_every_worker_and_ends_none(keeper, manager, tmp_path):
    kept, programs = keeper
    heard_by = tmp_path / "heard"
    heard_by.mkdir()
    programs[:] = [HEARS.format(folder=str(heard_by))]
    running = asyncio.create_task(kept.run())
    await heard(manager, b"READY=1")
    os.kill(os.getpid(), signal.SIGHUP)
    async with asyncio.timeout(10):
        while len(list(heard_by.iterdir())) < kept.count:
            await asyncio.sleep(0.01)
    assert len(kept._listening) == kept.count
    kept.stop.set()
    assert await asyncio.wait_for(running, 10) == 0


async def test_a_worker_that_hangs_is_started_again_and_one_that_lives_is_left_alone(keeper, monkeypatch):
    kept, programs = keeper
    programs[:] = [LISTENS, LIVES]
    monkeypatch.setattr(workers, "SILENT_SECONDS", 2.0)
    ended = []
    diary = SimpleNamespace(error=lambda _, **fields: ended.append(fields))
    monkeypatch.setattr(workers, "logs", SimpleNamespace(get_logger=lambda: diary))
    running = asyncio.create_task(kept.run())
    async with asyncio.timeout(20):
        while not (ended and len(kept._listening) == 2):
            await asyncio.sleep(0.01)
    kept.stop.set()
    assert await asyncio.wait_for(running, 10) == 0
    assert ended[0] == {"worker": 0, "code": -signal.SIGKILL}


DEAF = "import signal, time; print('http://127.0.0.1:1', flush=True); time.sleep(60)"
"""A worker that does not end when it is told to."""


async def test_a_worker_that_has_to_be_killed_at_the_end_is_no_good_end(keeper, monkeypatch):
    kept, programs = keeper
    programs[:] = [DEAF, LIVES]
    monkeypatch.setattr(workers, "END_SECONDS", 0.2)
    running = asyncio.create_task(kept.run())
    async with asyncio.timeout(20):
        while len(kept._listening) < 2:
            await asyncio.sleep(0.01)
    kept.stop.set()
    assert await asyncio.wait_for(running, 10) == 1


async def test_when_hearing_a_worker_fails_no_worker_is_left_behind(keeper, monkeypatch):
    kept, _ = keeper
    started = []
    spawn = asyncio.create_subprocess_exec

    async def noted(*arguments, **options):
        started.append(await spawn(*arguments, **options))
        return started[-1]

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    monkeypatch.setattr(workers, "replace_text", full)
    with pytest.raises(BaseExceptionGroup) as failed:
        await asyncio.wait_for(kept.run(), 20)
    assert failed.group_contains(OSError, match="no space left")
    assert [worker.returncode for worker in started] == [0, 0]
