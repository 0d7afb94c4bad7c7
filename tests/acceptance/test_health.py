"""`lgsp health` tells in one line, and by its exit code, whether a gateway takes envelopes; it believes no certificate that it should not."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest


@contextmanager
def answering(status, body):
    """Something that answers every question like this, on a thread of its own; give its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_): ...

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(10)


def test_a_running_gateway_is_ready_by_its_address_and_by_a_systems_settings(gateway, province, lgsp):
    assert lgsp("health", gateway).err == f"{gateway} is ready\n"
    settings = province / "systems" / "H01.99-asker" / "system.toml"
    ended = lgsp("health", "--system", settings)
    assert (ended.code, ended.err) == (0, f"{gateway} is ready\n")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (503, b'{"code":"not_ready","degraded":["ledger: away","broker: away"]}', "is not ready: ledger: away, broker: away"),
        (503, b"<html>", "is not ready: 503"),
        (302, b"", "is not ready: 302"),
    ],
)  # fmt: skip
def test_a_gateway_that_is_not_ready_is_told_with_what_is_wrong(lgsp, status, body, words):
    with answering(status, body) as url:
        ended = lgsp("health", url)
    assert (ended.code, ended.err) == (1, f"{url} {words}\n")


def test_nobody_there_is_told(lgsp):
    with answering(200, b"{}") as url:
        pass
    ended = lgsp("health", url)
    assert (ended.code, ended.err) == (1, f"{url} does not answer: ClientConnectorError\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give URL or --system"),
        (("https://bus.example.vn", "--system", "x.toml"), "give URL or --system"),
        (("https://bus.example.vn", "--ca", "nowhere.pem"), "nowhere.pem"),
        (("--system", "nowhere.toml"), "nowhere.toml"),
    ],
)
def test_what_cannot_be_asked_is_told(lgsp, arguments, words):
    ended = lgsp("health", *arguments)
    assert ended.code == 2
    assert words in ended.err


def test_an_address_that_is_none_is_told(lgsp):
    ended = lgsp("health", "bus.example.vn")
    assert (ended.code, "does not answer" in ended.err) == (1, True)


def test_a_new_system_keeps_a_copy_of_its_gateways_authority(founded, lgsp, tmp_path):
    (tmp_path / "ca.pem").write_bytes(b"no certificate")
    arguments = ("system", "new", "H01.99/x", "--trust", founded / "trust.json", "--url", "https://bus.example.vn")
    ended = lgsp(*arguments, "--out", tmp_path / "x", "--ca", tmp_path / "ca.pem")
    assert (ended.code, "config_invalid" in ended.err) == (2, True)
    assert not (tmp_path / "x").exists()
