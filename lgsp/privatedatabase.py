"""A PostgreSQL server of one's own, for tests and the demo: a free loopback port, a folder of its own, ended by its process id.

It never touches the machine's service. Its settings are PostgreSQL's own, durability among them, but for a small memory. It is not set up for
production. PostgreSQL refuses to run as root: then the server runs as `postgres`, or as `nobody`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lgsp.errors import Unusable
from lgsp.privateserver import find_program, free_port, spawn

PLACES: Final = "/usr/lib/postgresql/*/bin"
"""Where Debian puts the server, a folder for each version; elsewhere it is on the PATH."""
OTHER_PLACES: Final = ("/opt/homebrew/bin", "/usr/local/bin", "/usr/pgsql/bin")
STAND_INS: Final = ("postgres", "nobody")
"""Who runs the server in root's place."""
READY_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
ENCRYPTION_REQUEST: Final = struct.pack("!ii", 8, 80877103)
"""The shortest thing that a server answers: with one letter, as soon as it listens."""
CONFIGURATION: Final = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{sockets}'
fsync = on
synchronous_commit = on
full_page_writes = on
max_connections = 100
shared_buffers = 128MB
max_wal_size = 512MB
autovacuum_naptime = 10s
log_timezone = 'UTC'
{extra}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who runs the server, by user and group number."""

    user: int
    group: int


@dataclass(slots=True, kw_only=True)
class PrivateDatabase:
    """One server in `folder`; `extra` are lines for its configuration file."""

    folder: Path
    extra: str = ""
    port: int = field(default_factory=free_port)
    _user: str = "lgsp"
    _password: str = field(default_factory=lambda: secrets.token_urlsafe(12), repr=False)
    _home: Path | None = None
    _server: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        """Where and as whom to connect; it holds the password."""
        return f"postgresql://{self._user}:{self._password}@127.0.0.1:{self.port}/{database}"

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

        Refuses as `database_missing` when PostgreSQL is not installed, as `database_failed` when it does not come up in time.
        """
        account = _stand_in()
        home = self._make_home(account)
        if not (home / "data" / "PG_VERSION").exists():
            self._make_cluster(home, account)
        written = CONFIGURATION.format(port=self.port, sockets=home, extra=self.extra)
        (home / "postgresql.conf").write_text(written, encoding="utf-8")
        command = [find("postgres"), "-D", str(home / "data"), "-c", f"config_file={home}/postgresql.conf"]
        self._server = _run_as(account, command, home / "server.log")
        self._wait_until_ready(home)

    def kill(self) -> None:
        """End every process of the server at once, as a power cut would."""
        if self._server is not None:
            # Stopped first, it can start no further process while they are looked for.
            _signal(self._server.pid, signal.SIGSTOP)
            children = _children(self._server.pid)
            for pid in (*children, self._server.pid):
                _signal(pid, signal.SIGKILL)
            self._server.wait(STOP_SECONDS)
            self._server = None
            _wait_until_gone(children)

    def stop(self) -> None:
        """End the server in an orderly way, its connections closed, and take away what lies beside its folder."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            try:
                self._server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self._server = None
        if self._home is not None and self._home != self.folder:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let every process of the server stand still, its connections open, until the block ends."""
        _signal(self.pid, signal.SIGSTOP)
        held = [self.pid, *_children(self.pid)]
        for pid in held:
            _signal(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in held:
                _signal(pid, signal.SIGCONT)

    def _make_home(self, account: Account | None) -> Path:
        """Return where the server lives: its folder, or one beside it where the account cannot get into that."""
        if self._home is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            reached = account is None or _is_open_to_all(self.folder.resolve())
            self._home = self.folder if reached else Path(tempfile.mkdtemp(prefix="lgsp-database-"))
            if account is not None:
                os.chown(self._home, account.user, account.group)
        return self._home

    def _make_cluster(self, home: Path, account: Account | None) -> None:
        secret = home / "password"
        secret.touch(mode=0o600)
        secret.write_text(self._password, encoding="utf-8")
        if account is not None:
            os.chown(secret, account.user, account.group)
        command = [
            *(find("initdb"), "--pgdata", str(home / "data"), "--username", self._user, "--pwfile", str(secret)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
        ]
        try:
            if _run_as(account, command, home / "initdb.log").wait(READY_SECONDS):
                raise Unusable("database_failed", f"the database could not be made; see {home / 'initdb.log'}")
        finally:
            secret.unlink()

    def _wait_until_ready(self, home: Path) -> None:
        until = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self._server is None or self._server.poll() is not None:
                raise Unusable("database_failed", f"the server ended at once; see {home / 'server.log'}")
            if time.monotonic() > until:
                self.kill()
                raise Unusable("database_failed", f"not ready after {READY_SECONDS:.0f} s; see {home / 'server.log'}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        """Tell whether the server listens and has recovered: until then its folder's status file says otherwise."""
        status = (self._home or self.folder) / "data" / "postmaster.pid"
        with contextlib.suppress(OSError):
            if not status.read_text(encoding="utf-8").rstrip().endswith("ready"):
                return False
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(ENCRYPTION_REQUEST)
                return bool(connection.recv(1))
        return False


@contextmanager
def private_database(folder: Path, *, extra: str = "") -> Iterator[PrivateDatabase]:
    """Run a server of one's own in `folder` until the block ends."""
    server = PrivateDatabase(folder=folder, extra=extra)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _stand_in() -> Account | None:
    """Return who runs the server, or None for oneself."""
    if os.geteuid() != 0:
        return None
    for name in STAND_INS:
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return Account(user=found.pw_uid, group=found.pw_gid)
    raise Unusable("database_failed", f"root may not run the server, and there is no user {' or '.join(STAND_INS)}")


def _is_open_to_all(folder: Path) -> bool:
    """Tell whether anybody may pass through all folders above."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in folder.parents)


def find(program: str) -> str:
    """Return where a program of the newest PostgreSQL here is; refuse as `database_missing`."""
    versions = sorted(Path("/").glob(PLACES.removeprefix("/")), key=_version, reverse=True)
    return find_program(program, [*map(str, versions), *OTHER_PLACES], missing="database_missing")


def _version(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdecimal() else 0


def _run_as(account: Account | None, command: list[str], log: Path) -> subprocess.Popen[bytes]:
    # Nothing of the caller's own PostgreSQL settings comes in: a test must not reach the machine's server.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "TZ": "UTC"}
    if account is None:
        return spawn(command, environment, log)
    return spawn(command, environment, log, user=account.user, group=account.group)


def _children(pid: int) -> list[int]:
    """Return the processes whose parent this is; each of the server's leads a session of its own."""
    return [child for child, parent, _ in _processes() if parent == pid]


def _wait_until_gone(pids: Collection[int]) -> None:
    """Wait for processes that were killed: they hold memory that the next start wants."""
    until = time.monotonic() + STOP_SECONDS
    while any(pid in pids and not state.startswith("Z") for pid, _, state in _processes()):
        if time.monotonic() > until:
            raise Unusable("database_failed", "a process that was killed does not end")
        time.sleep(0.02)


def _processes() -> list[tuple[int, int, str]]:
    """Return every process of the machine: its id, its parent's, its state."""
    shown = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid=,stat="],  # noqa: S607 - every system has it on the PATH
        capture_output=True,
        text=True,
        timeout=STOP_SECONDS,
        check=True,
    )
    rows = (line.split() for line in shown.stdout.splitlines())
    return [(int(pid), int(parent), state) for pid, parent, state in rows]


def _signal(pid: int, how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)
