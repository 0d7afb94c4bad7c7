"""Listening: the public port, which is loopback unless TLS is spoken, and the admin socket. Ends streams before anything else ends."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from lgsp import datafolder
from lgsp.bus.supervisor import Bus
from lgsp.errors import Defect, Unusable
from lgsp.http.certificates import Certificates
from lgsp.http.connections import Front
from lgsp.http.edge import create_admin_app, create_app
from lgsp.http.metrics import Metrics
from lgsp.http.settings import HTTP_LIMITS, HttpLimits
from lgsp.http.siblings import Siblings
from lgsp.http.streams import Streams
from lgsp.http.wiring import METRICS, STREAMS

BACKLOG: Final = 512
SHUTDOWN: Final = 10.0
"""Seconds for which calls in progress are awaited at the end."""
TLS_HANDSHAKE: Final = 10.0
OWNER_ONLY: Final = 0o177
"""The umask under which the admin socket is made: mode 0600 from its first moment."""

Listen = Callable[[Callable[[], asyncio.Protocol]], Awaitable[asyncio.Server]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A listener and the application behind it."""

    url: str
    port: int
    """The real port, where 0 was asked for; 0 for the admin socket."""
    streams: Streams
    metrics: Metrics
    listener: asyncio.Server
    runner: web.AppRunner
    settings: HttpLimits

    async def drain(self) -> None:
        """End all streams with `closing {reason: drain}`, then take no new connection; calls go on until `close`.

        Until the streams have ended, whoever calls is answered, if only with `draining`.
        """
        with suppress(TimeoutError):  # what is left is cut by `close`
            async with asyncio.timeout(2 * self.settings.drain_seconds):
                await self.streams.drain()
        self.listener.close()

    async def close(self) -> None:
        """Drain, await the calls in progress, and close every connection."""
        await self.drain()
        await self.runner.cleanup()


async def serve(
    bus: Bus,
    *,
    host: str,
    port: int,
    tls: Certificates | None = None,
    behind_tls_proxy: bool = False,
    siblings: Siblings | None = None,
    settings: HttpLimits = HTTP_LIMITS,
) -> Running:
    """Listen on `host`:`port` (0 for any port) and return what was started.

    With `siblings` the port is that of several processes, among which the machine divides the connections. Refuses as `listen_refused` an
    address beyond loopback without TLS, unless a proxy speaks it; as `port_in_use` a port that is taken.
    """
    if tls is None and not behind_tls_proxy and not is_loopback(host):
        raise Unusable("listen_refused", f"{host} is not loopback, and TLS is not set up")
    sock = bound(host, port, shared=siblings is not None)
    real = sock.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    scheme = "http" if tls is None else "https"
    context = None if tls is None else tls.context
    patience = None if tls is None else TLS_HANDSHAKE

    async def listen(connect: Callable[[], asyncio.Protocol]) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(
            connect, sock=sock, backlog=BACKLOG, ssl=context, ssl_handshake_timeout=patience
        )

    app = create_app(bus, settings=settings, siblings=siblings, clients=None if tls is None else tls.rule)
    if tls is not None:
        app[METRICS].show_certificate(lambda: tls.days(bus.clock.now()), lambda: tls.is_stale)
    return await _start(app, f"{scheme}://{shown}:{real}", real, listen, settings)


async def serve_admin(
    bus: Bus, path: Path, *, beside: Running | None = None, settings: HttpLimits = HTTP_LIMITS
) -> Running:
    """Listen on a socket file of mode 0600, `beside` the public port; whoever holds the data folder may: a file that is there is a dead process's."""
    app = create_admin_app(bus, shown=None if beside is None else beside.runner.app, settings=settings)
    sock = _bound_file(path)

    async def listen(connect: Callable[[], asyncio.Protocol]) -> asyncio.Server:
        return await asyncio.get_running_loop().create_unix_server(connect, sock=sock, backlog=BACKLOG)

    return await _start(app, f"unix:{path}", 0, listen, settings)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches the address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bound(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a socket on the first address of `host`, that does not listen yet; refuse as `listen_refused` or `port_in_use`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            "127.0.0.1" if host == "localhost" else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror:
        raise Unusable("listen_refused", f"{host} is no address of this machine") from None
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise Unusable("port_in_use", f"{host}:{port}") from None
        raise Unusable("listen_refused", f"{host}:{port}: {error.strerror}") from None
    return sock


def _bound_file(path: Path) -> socket.socket:
    if path.exists() and not stat.S_ISSOCK(path.lstat().st_mode):
        raise Unusable("listen_refused", f"{path} is there and is no socket")
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(OWNER_ONLY)
    try:
        with datafolder.short_path(path) as name:
            sock.bind(name)
    except OSError as error:
        sock.close()
        raise Unusable("listen_refused", f"{path}: {error.strerror or error}") from None
    finally:
        os.umask(before)
    return sock


async def _start(app: web.Application, url: str, port: int, listen: Listen, settings: HttpLimits) -> Running:
    streams = app[STREAMS]
    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN)
    await runner.setup()
    if runner.server is None:
        raise Defect("a runner that is set up has a server")
    listener = await listen(Front(runner.server, app).connect)
    return Running(
        url=url, port=port, streams=streams, metrics=app[METRICS], listener=listener, runner=runner, settings=settings
    )
