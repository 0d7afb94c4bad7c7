"""The data folder's parts that need no gateway."""

import os
import re
import socket
import subprocess
import sys

import pytest

from lgsp import datafolder
from lgsp.datafolder import DataFolder, hold, is_held
from lgsp.errors import Unusable


@pytest.mark.parametrize("length", [5, 90, 200])
def test_a_socket_is_bound_and_reached_however_long_the_way_to_its_folder_is(tmp_path, length):
    folder = tmp_path / ("d" * length)
    folder.mkdir()
    path = folder / "admin.sock"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        with datafolder.short_path(path) as name:
            server.bind(name)
        server.listen(1)
        assert path.is_socket()
        with datafolder.short_path(path) as name:
            client.connect(name)
        accepted, _ = server.accept()
        accepted.close()


def test_a_second_holder_is_told_who_holds_the_folder_since_when_and_where(tmp_path):
    folder = DataFolder(root=tmp_path)
    with hold(folder, command="lgsp serve"):
        assert is_held(folder)
        with pytest.raises(Unusable) as refused, hold(folder):
            pass
    assert refused.value.code == "data_locked"
    told = f"held by lgsp serve since [0-9-]+T[0-9:]+Z, process {os.getpid()} on {re.escape(socket.gethostname())}"
    assert re.search(told, refused.value.detail)
    assert not is_held(folder)


HELD_ELSEWHERE = """
import sys
from pathlib import Path
from lgsp.datafolder import DataFolder, hold
with hold(DataFolder(root=Path(sys.argv[1])), command="lgsp init"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_killed_holder_holds_nothing_and_is_not_named(tmp_path):
    folder = DataFolder(root=tmp_path)
    command = [sys.executable, "-c", HELD_ELSEWHERE, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(Unusable, match="lgsp init"), hold(folder):
            pass
        process.kill()
    written = folder.lock.read_bytes()
    with hold(folder):
        folder.lock.write_bytes(written)  # as if the new holder had not signed in yet
        with pytest.raises(Unusable, match="a process that has just begun"), hold(folder):
            pass


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid":"x"}', b"\xff" * 9000])
def test_whatever_stands_in_the_lock_s_file_the_second_is_refused_in_words(tmp_path, content):
    folder = DataFolder(root=tmp_path)
    with hold(folder):
        folder.lock.write_bytes(content)
        with pytest.raises(Unusable, match="held by a process"), hold(folder):
            pass
