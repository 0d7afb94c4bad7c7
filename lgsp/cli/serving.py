"""`lgsp serve`: run one gateway until it is told to stop, then drain it in order: streams, calls, tasks, last checkpoint."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
from collections.abc import AsyncIterator
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from lgsp import app, datafolder, logs
from lgsp.bus.supervisor import Bus
from lgsp.cli import service_manager
from lgsp.cli.expiries import keep_shown
from lgsp.cli.files import replace_text
from lgsp.cli.options import DEFAULT_DATA, Data
from lgsp.cli.voice import Voice, voice_of
from lgsp.config import HttpSection, Settings
from lgsp.datafolder import DataFolder
from lgsp.errors import Unusable
from lgsp.http import server


def serve(
    context: typer.Context,
    data: Data = DEFAULT_DATA,
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on | địa chỉ mạng [env var: LGSP_HTTP__HOST]", show_envvar=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="Port; 0 takes a free one | cổng mạng; 0: lấy cổng mạng còn trống [env var: LGSP_HTTP__PORT]",
            show_envvar=False,
        ),
    ] = None,
    port_file: Annotated[
        Path | None,
        typer.Option(
            envvar="LGSP_PORT_FILE", metavar="FILE", help="Where to write the address once it listens | tệp ghi địa chỉ"
        ),
    ] = None,
) -> None:
    """Run the gateway of a data folder | chạy cổng của thư mục dữ liệu."""
    voice = voice_of(context)
    settings = Settings.load(data, {"http.host": host, "http.port": port})
    logs.configure()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, voice, port_file))


async def _serve(settings: Settings, voice: Voice, port_file: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with _gateway(settings) as (bus, url):
        if port_file is not None:
            replace_text(port_file, url + "\n")
        voice.tell(
            f"{bus.gateway} listens on {url}; stop it with Ctrl+C",
            f"{bus.gateway} đang chạy tại {url}; dừng bằng Ctrl+C",
        )
        service_manager.tell("READY=1")
        bus.tasks.spawn("signs of life", service_manager.keep_alive())
        await stop.wait()
        service_manager.tell("STOPPING=1")
        voice.tell("stopping", "đang dừng")


@contextlib.asynccontextmanager
async def _gateway(settings: Settings) -> AsyncIterator[tuple[Bus, str]]:
    """Run bus, public port and admin socket of a data folder; give the bus and its address."""
    folder = DataFolder(root=settings.data)
    with datafolder.hold(folder, command="lgsp serve"):
        async with app.open_bus(settings) as bus, contextlib.AsyncExitStack() as stack:
            edge = await server.serve(
                bus,
                host=settings.http.host,
                port=settings.http.port,
                ssl_context=tls_of(settings.http),
                behind_tls_proxy=settings.http.behind_tls_proxy,
            )
            bus.tasks.spawn("expiries", keep_shown(bus, settings, edge.metrics))
            stack.push_async_callback(_tell_stopped, bus)
            stack.push_async_callback(edge.close)
            admin = await server.serve_admin(bus, folder.admin_socket, streams=edge.streams)
            stack.push_async_callback(admin.close)
            stack.callback(folder.admin_socket.unlink, missing_ok=True)
            stack.callback(bus.wind_down)
            entries = await bus.ledger.size()
            logs.get_logger().info("gateway.started", url=edge.url, version=metadata.version("lgsp"), entries=entries)
            yield bus, edge.url
            logs.get_logger().info("gateway.draining", streams=len(edge.streams))


async def _tell_stopped(bus: Bus) -> None:
    logs.get_logger().info("gateway.stopped", entries=await bus.ledger.size())


def tls_of(http: HttpSection) -> ssl.SSLContext | None:
    """Return the TLS context of the settings, None without certificate; refuse (`config_invalid`) what cannot be used."""
    if http.tls_cert is None or http.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(http.tls_cert, http.tls_key)
    except OSError as error:  # ssl.SSLError is one
        raise Unusable("config_invalid", f"http.tls_cert, http.tls_key: {error.strerror or error}") from None
    return context
