"""The data folder's parts that need no gateway."""

import socket

import pytest

from lgsp import datafolder


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
