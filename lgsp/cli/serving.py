"""`lgsp serve`: run one gateway until it is told to stop, then drain it in order: streams, calls, tasks, last checkpoint."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from importlib import metadata
from pathlib import Path
from typing import Annotated, Final

import typer
import uvloop

from lgsp import app, datafolder, logs
from lgsp.bus.supervisor import Bus
from lgsp.cli import service_manager
from lgsp.cli.files import replace_text
from lgsp.cli.keys.expiries import keep_shown
from lgsp.cli.options import DEFAULT_DATA, Data
from lgsp.cli.voice import Voice, voice_of
from lgsp.cli.workers import MOST, Workers, check_workers, give_signs
from lgsp.config import HttpSection, Settings
from lgsp.datafolder import DataFolder
from lgsp.errors import Refusal, Unusable
from lgsp.http import server
from lgsp.http.certificates import Certificates, TlsFiles
from lgsp.http.siblings import Siblings
from lgsp.machine import spare_collector

LAST_LOOK_SECONDS: Final = 2.0
"""How long the end waits to learn how long the log is."""


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
    workers: Annotated[
        int,
        typer.Option(
            envvar="LGSP_WORKERS", min=1, max=MOST, help="Processes that share the port, on PostgreSQL | số tiến trình"
        ),
    ] = 1,
    worker: Annotated[
        tuple[int, int] | None,
        typer.Option(hidden=True, metavar="NUMBER COUNT", help="Be one of several | một trong số đó"),
    ] = None,
) -> None:
    """Run the gateway of a data folder | chạy cổng của thư mục dữ liệu."""
    voice = voice_of(context)
    settings = Settings.load(data, {"http.host": host, "http.port": port})
    check_workers(settings, workers)
    logs.configure()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if worker is not None:
            runner.run(_work(settings, *worker))
        elif workers == 1:
            runner.run(_serve(settings, voice, port_file))
        else:
            several = Workers(settings=settings, count=workers, voice=voice, port_file=port_file)
            if code := runner.run(several.run()):
                raise typer.Exit(code)


async def _work(settings: Settings, number: int, count: int) -> None:
    """Be one of several workers until standard input ends: the process that holds it holds the data folder, too."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(
        signal.SIGINT, lambda: None
    )  # Ctrl+C reaches all processes of a terminal; the first one ends the others
    loop.add_reader(sys.stdin.fileno(), stop.set)  # nothing is ever written to it
    sockets = {each: DataFolder(root=settings.data).worker_socket(each) for each in range(count)}
    async with _listening(settings, worker=number, siblings=Siblings(number, sockets)) as (bus, url):
        sys.stdout.write(url + "\n")
        sys.stdout.flush()
        bus.tasks.spawn("signs of life", give_signs())
        await stop.wait()
        loop.remove_reader(sys.stdin.fileno())


async def _serve(settings: Settings, voice: Voice, port_file: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    folder = DataFolder(root=settings.data)
    with datafolder.hold(folder, command="lgsp serve"):
        await _serve_alone(settings, voice, port_file, stop)


async def _serve_alone(settings: Settings, voice: Voice, port_file: Path | None, stop: asyncio.Event) -> None:
    async with _listening(settings) as (bus, url):
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
async def _listening(
    settings: Settings, *, worker: int = 0, siblings: Siblings | None = None
) -> AsyncIterator[tuple[Bus, str]]:
    """Run bus, public port and admin socket of a data folder that is held; give the bus and its address."""
    admin_socket = DataFolder(root=settings.data).worker_socket(worker)
    tls = tls_of(settings.http)
    async with app.open_bus(settings, worker=worker) as bus, contextlib.AsyncExitStack() as stack:
        _check_own_key(settings, bus)
        edge = await server.serve(
            bus,
            host=settings.http.host,
            port=settings.http.port,
            tls=tls,
            behind_tls_proxy=settings.http.behind_tls_proxy,
            siblings=siblings,
        )
        bus.tasks.spawn("expiries", keep_shown(bus, settings, edge.metrics, tls))
        if tls is not None:
            bus.tasks.spawn("certificates", tls.keep_fresh(bus.clock))
        _heed_reload(tls)
        stack.push_async_callback(_tell_stopped, bus)
        stack.push_async_callback(edge.close)
        admin = await server.serve_admin(bus, admin_socket, beside=edge)
        stack.push_async_callback(admin.close)
        stack.callback(admin_socket.unlink, missing_ok=True)
        stack.callback(bus.wind_down)
        entries = await bus.ledger.size()
        spare_collector()
        logs.get_logger().info("gateway.started", url=edge.url, version=metadata.version("lgsp"), entries=entries)
        yield bus, edge.url
        logs.get_logger().info("gateway.draining", streams=len(edge.streams))


def _heed_reload(tls: Certificates | None) -> None:
    """Have SIGHUP read the certificate again; where there is none, a service manager's word to reload is not to end the gateway."""
    if tls is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, tls.ask)
    elif service_manager.is_there():
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: None)


def _check_own_key(settings: Settings, bus: Bus) -> None:
    """Refuse (`gateway_unknown`) to give receipts that nobody could verify."""
    kid = bus.sequencer.signer.kid
    if all(key.record.id != kid for key in bus.registry.current.keys_of(bus.gateway)):
        raise Unusable("gateway_unknown", f"{settings.keys.gateway}, a key of {bus.gateway}")


async def _tell_stopped(bus: Bus) -> None:
    entries = bus.vitals.entries
    with contextlib.suppress(Refusal, TimeoutError):  # with the ledger away the last that was known has to do
        async with asyncio.timeout(LAST_LOOK_SECONDS):
            entries = await bus.ledger.size()
    logs.get_logger().info("gateway.stopped", entries=entries)


def tls_of(http: HttpSection) -> Certificates | None:
    """Return what TLS is spoken with by the settings, None without certificate; refuse (`config_invalid`) what cannot be used."""
    if http.tls_cert is None or http.tls_key is None:
        return None
    files = TlsFiles(
        cert=http.tls_cert,
        key=http.tls_key,
        client_ca=http.client_ca,
        oldest=http.tls_oldest,
        demand=http.client_certificates == "required",
    )
    return Certificates(files)
