"""A private PostgreSQL server starts, says why it cannot, keeps what it holds, and ends whole."""

import os

import asyncpg
import pytest

from lgsp import privatedatabase
from lgsp.errors import Unusable


def test_a_machine_without_postgresql_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(privatedatabase, "PLACES", "/nowhere/*/bin")
    monkeypatch.setattr(privatedatabase, "OTHER_PLACES", ())
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unusable) as raised, privatedatabase.private_database(tmp_path / "server"):
        pass
    assert raised.value.code == "database_missing"


def test_a_server_that_cannot_start_says_where_to_look(tmp_path):
    with pytest.raises(Unusable) as raised, privatedatabase.private_database(tmp_path, extra="nonsense = 1"):
        pass
    assert raised.value.code == "database_failed"
    assert "server.log" in raised.value.detail


async def settings_of(url, *names):
    connection = await asyncpg.connect(url, timeout=30)
    try:
        return [await connection.fetchval(f"SHOW {name}") for name in names]
    finally:
        await connection.close()


async def test_a_killed_server_leaves_no_process_and_starts_again_on_what_it_holds(tmp_path):
    with privatedatabase.private_database(tmp_path / "server") as server:
        assert await settings_of(server.url(), "fsync", "synchronous_commit") == ["on", "on"]
        connection = await asyncpg.connect(server.url(), timeout=30)
        await connection.execute("CREATE TABLE kept (id int)")
        pids = [server.pid, *privatedatabase._children(server.pid)]
        assert len(pids) > 3
        server.kill()
        assert [pid for pid in pids if is_running(pid)] == []
        connection.terminate()
        server.start()
        connection = await asyncpg.connect(server.url(), timeout=30)
        assert await connection.fetchval("SELECT count(*) FROM kept") == 0
        await connection.close()


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as told:  # noqa: PTH123
            return told.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_root_hands_the_server_to_somebody_without_rights(tmp_path):
    with privatedatabase.private_database(tmp_path / "server") as server:
        owner = os.stat(f"/proc/{server.pid}").st_uid  # noqa: PTH116
    assert owner == (os.geteuid() or owner)
    assert owner != 0
