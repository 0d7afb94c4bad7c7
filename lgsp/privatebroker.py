"""A RabbitMQ server of one's own, for tests and the demo: free loopback ports, a folder of its own, ended by its process id.

It never touches the machine's service: node name, cookie, port mapper, database, logs and plugins are its own. It is not set up for production.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lgsp.errors import Unusable
from lgsp.privateserver import find_program, free_port, spawn

PLACES: Final = ("/usr/lib/rabbitmq/bin", "/opt/homebrew/sbin", "/usr/local/sbin")
"""Where packages put the server itself; what is on the PATH may be a wrapper that changes the user."""
READY_SECONDS: Final = 90.0
STOP_SECONDS: Final = 20.0
PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
CONFIGURATION: Final = """\
listeners.tcp.default = 127.0.0.1:{port}
default_user = {user}
default_pass = {password}
loopback_users = none
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
raft.wal_max_size_bytes = 16777216
log.file.level = warning
log.console = false
motd_file = {folder}/motd
{extra}
"""


@dataclass(slots=True, kw_only=True)
class PrivateServer:
    """One server in `folder`; `extra` are lines for its configuration file."""

    folder: Path
    extra: str = ""
    port: int = field(default_factory=free_port)
    _epmd_port: int = field(default_factory=free_port)
    _dist_port: int = field(default_factory=free_port)
    _user: str = "lgsp"
    _password: str = field(default_factory=lambda: secrets.token_urlsafe(12), repr=False)
    _node: str = field(default_factory=lambda: f"lgsp-{secrets.token_hex(4)}@localhost")
    _epmd: subprocess.Popen[bytes] | None = None
    _server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where and as whom to connect; it holds the password."""
        return f"amqp://{self._user}:{self._password}@127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._server is None:
            raise RuntimeError("the server is not running")
        return self._server.pid

    @property
    def is_running(self) -> bool:
        """Whether the server was started and has not ended."""
        return self._server is not None and self._server.poll() is None

    def start(self) -> None:
        """Start the server on what its folder holds and return when it takes connections.

        Refuses as `broker_missing` when RabbitMQ is not installed, as `broker_failed` when it does not come up in time.
        """
        self._write()
        environment = self._environment()
        if self._epmd is None:
            command = [_find("epmd"), "-port", str(self._epmd_port), "-address", "127.0.0.1"]
            self._epmd = spawn(command, environment, self.folder / "epmd.log")
        self._server = spawn([_find("rabbitmq-server")], environment, self.folder / "server.log")
        self._wait_until_ready()

    def kill(self) -> None:
        """End the server at once, as a power cut would; the port mapper stays for the next start."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the server in an orderly way, and its port mapper."""
        self._end(signal.SIGTERM)
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait(STOP_SECONDS)
            self._epmd = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the server stand still, its connections open, until the block ends."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def evaluate(self, expression: str) -> str:
        """Run an Erlang expression inside the server and return what it gives: for settings that no client may change."""
        done = subprocess.run(  # noqa: S603 - a command of the server's own, by its full path
            [_find("rabbitmqctl"), "-q", "eval", expression],
            env=self._environment(),
            capture_output=True,
            timeout=READY_SECONDS,
            check=True,
        )
        return done.stdout.decode().strip()

    def settle(self) -> None:
        """Have the server write now what it knows of its queues, as it does every few seconds: a kill loses a queue that was declared since."""
        self.evaluate("mnesia:sync_log(), [dets:sync(Table) || Table <- dets:all()].")

    def _end(self, how: signal.Signals) -> None:
        if self._server is None:
            return
        self._server.send_signal(how)
        try:
            self._server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait(STOP_SECONDS)
        self._server = None

    def _write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        written = CONFIGURATION.format(
            port=self.port, user=self._user, password=self._password, folder=self.folder, extra=self.extra
        )
        path = self.folder / "rabbitmq.conf"
        path.touch(mode=0o600)
        path.write_text(written, encoding="utf-8")
        (self.folder / "enabled_plugins").write_text("[].\n", encoding="utf-8")

    def _environment(self) -> dict[str, str]:
        # Nothing of the caller's own RabbitMQ settings comes in: a test must not reach the machine's broker.
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "generated"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            # Together these two make the start script become the server itself, so that the process id is the server's.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-noinput +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
            ),
            "ERL_CRASH_DUMP": "/dev/null",
        }

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + READY_SECONDS
        while not _answers(self.port):
            if self._server is None or self._server.poll() is not None:
                raise Unusable("broker_failed", f"the server ended at once; see {self.folder / 'server.log'}")
            if time.monotonic() > until:
                self.kill()
                raise Unusable("broker_failed", f"not ready after {READY_SECONDS:.0f} s; see {self.folder / 'log'}")
            time.sleep(0.1)


@contextmanager
def private_server(folder: Path, *, extra: str = "") -> Iterator[PrivateServer]:
    """Run a server of one's own in `folder` until the block ends."""
    server = PrivateServer(folder=folder, extra=extra)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _find(program: str) -> str:
    return find_program(program, PLACES, missing="broker_missing")


def _answers(port: int) -> bool:
    """Tell whether a broker says something on the port: it listens only when it is ready."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(PROTOCOL_HEADER)
        return bool(connection.recv(1))
    return False
