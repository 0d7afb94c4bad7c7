"""A PostgreSQL server of one's own for the length of a run: a free loopback port, a folder of its own, its settings for durability untouched."""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg

from lgsp.privatebroker import free_port

PLACES: Final = tuple(f"/usr/lib/postgresql/{version}/bin" for version in range(18, 14, -1))
USER: Final = "postgres"
READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 30.0
INITDB_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A running server."""

    pid: int
    port: int
    password: str = field(repr=False)

    def url(self, name: str) -> str:
        """Where and as whom to connect to one of its databases; it holds the password."""
        return f"postgresql://lgsp:{self.password}@127.0.0.1:{self.port}/{name}"

    async def create(self, name: str) -> str:
        """Make an empty database and return its address."""
        connection = await asyncpg.connect(self.url("postgres"), timeout=READY_SECONDS)
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return self.url(name)


@asynccontextmanager
async def private_database(folder: Path) -> AsyncIterator[Database]:
    """Run a server in `folder`, which the user `postgres` must be able to reach, until the block ends."""
    password, port = secrets.token_urlsafe(12), free_port()
    await asyncio.to_thread(_initialise, folder, password)
    server = await asyncio.to_thread(_spawn, folder, port)
    try:
        found = Database(pid=server.pid, port=port, password=password)
        await _until_ready(found)
        yield found
    finally:
        server.send_signal(signal.SIGINT)
        await asyncio.to_thread(server.wait, STOP_SECONDS)


def _spawn(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the server; it listens on loopback alone."""
    command = [program("postgres"), "-D", str(folder), "-h", "127.0.0.1", "-p", str(port), "-k", ""]
    with (folder.parent / "database.log").open("ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **_as_user()
        )


def program(name: str) -> str:
    """Return where a program of PostgreSQL is."""
    path = shutil.which(name, path=os.pathsep.join([*PLACES, os.environ.get("PATH", os.defpath)]))
    if path is None:
        raise RuntimeError(f"{name} is not installed here")
    return path


def _as_user() -> dict[str, Any]:
    """Return how to start it: PostgreSQL refuses to run as root."""
    return {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}


def _initialise(folder: Path, password: str) -> None:
    folder.mkdir(mode=0o700)
    secret = folder.with_suffix(".password")
    secret.write_text(password, encoding="utf-8")
    if os.geteuid() == 0:
        user = pwd.getpwnam(USER)
        for path in (folder, secret):
            os.chown(path, user.pw_uid, user.pw_gid)
    command = [program("initdb"), "-D", str(folder), "-U", "lgsp", "-A", "scram-sha-256", f"--pwfile={secret}"]
    subprocess.run(
        [*command, "-E", "UTF8", "--locale=C"], check=True, capture_output=True, timeout=INITDB_SECONDS, **_as_user()
    )
    secret.unlink()


async def _until_ready(database: Database) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            with suppress(OSError, asyncpg.PostgresError):
                connection = await asyncpg.connect(database.url("postgres"), timeout=READY_SECONDS)
                await connection.close()
                return
            await asyncio.sleep(0.05)
