"""What the service manager hears, and how often; where there is none nothing is said."""

import asyncio
import socket

import pytest

from lgsp.cli import service_manager


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path, monkeypatch):
    """A made-up service manager that listens."""
    place = str(tmp_path / "notify") if request.param == "path" else f"@lgsp-test-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind("\0" + place[1:] if place.startswith("@") else place)
        door.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", place)
        yield door


def test_the_manager_hears_what_it_is_told(manager):
    service_manager.tell("READY=1")
    assert manager.recv(64) == b"READY=1"


async def test_the_manager_gets_a_sign_of_life_twice_in_the_time_it_allows(manager, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    assert service_manager.pause() == 0.01
    turning = asyncio.create_task(service_manager.keep_alive())
    heard = [await asyncio.to_thread(manager.recv, 64) for _ in range(3)]
    turning.cancel()
    assert heard == [b"WATCHDOG=1"] * 3


async def test_without_a_manager_nothing_is_said_and_nothing_turns(monkeypatch, tmp_path):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    service_manager.tell("READY=1")
    await asyncio.wait_for(service_manager.keep_alive(), 1)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    service_manager.tell("READY=1")
