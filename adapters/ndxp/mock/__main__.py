"""Run the mock: `python -m adapters.ndxp.mock --port 0 --seed 1 --count 10026 --port-file FILE`.

Prints its port, and writes it to the file, when it is ready; ends on SIGINT or SIGTERM. Key and secret of the
one application that it knows come from the environment: NDXP_CONSUMER_KEY and NDXP_CONSUMER_SECRET.
"""

import argparse
import asyncio
import os
import signal
import ssl
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from aiohttp import web

from adapters.ndxp.client import Credentials
from adapters.ndxp.mock import notes, witness
from adapters.ndxp.mock.faults import Faults, Rates
from adapters.ndxp.mock.registry import registry
from adapters.ndxp.mock.server import LOOPBACK, Platform, started
from adapters.ndxp.mock.service import Rules
from adapters.ndxp.mock.tokens import Tokens

KEY, SECRET = "NDXP_CONSUMER_KEY", "NDXP_CONSUMER_SECRET"


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run until a signal; return 2 when key or secret is missing, a log's key is none, or a certificate does not fit."""
    options = _parser().parse_args(arguments)
    if options.make_key is not None:
        sys.stdout.write(f"{witness.opened(options.make_key, options.witness_name, (), time.time).key}\n")
        return 0
    lacking = [name for name in (KEY, SECRET) if not environment.get(name)]
    if lacking:
        return _refuse(f"set {' and '.join(lacking)}: the mock lets nobody in without them")
    try:
        platform = _platform(options, environment)
    except notes.Unreadable as error:
        return _refuse(f"--witness: {error}")
    try:
        tls = None if options.tls is None else tls_of(options.tls[1], options.tls[2], options.client_ca)
    except OSError as error:  # ssl.SSLError is one
        return _refuse(f"--tls: {error}")
    asyncio.run(_serve(platform, options, tls))
    return 0


def _refuse(why: str) -> int:
    sys.stderr.write(f"{why}\n")
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m adapters.ndxp.mock", description=__doc__)
    parser.add_argument("--host", default=LOOPBACK, help="where to listen; it speaks plain HTTP on --port")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--tls", nargs=3, metavar=("PORT", "CERT", "KEY"), help="listen there too, with TLS")
    parser.add_argument(
        "--client-ca", type=Path, metavar="FILE", help="with --tls: let only clients of these authorities in"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10_026, help="vessels of the made-up province")
    parser.add_argument("--port-file", type=Path)
    parser.add_argument("--allow-procedure", action="append", default=[], help="may be repeated; none: nobody")
    parser.add_argument("--allow-officer", action="append", default=[], help="may be repeated; none: nobody")
    parser.add_argument("--token-seconds", type=float, default=3600.0)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--bad-gateway-rate", type=float, default=0.0, help="share of answers that are 502")
    parser.add_argument("--empty-rate", type=float, default=0.0, help="share of answers that are 200 and empty")
    parser.add_argument("--witness", type=Path, metavar="FOLDER", help="be a witness too; its key and memory are here")
    parser.add_argument("--witness-name", default="witness.example.vn/ndxp")
    parser.add_argument(
        "--witness-log",
        action="append",
        default=[],
        metavar="VKEY",
        help="a log's key; may be repeated, or written into FOLDER/logs, one a line; none: no log",
    )
    parser.add_argument(
        "--make-key",
        type=Path,
        metavar="FOLDER",
        help="make a witness's key where there is none, print its text form, end",
    )
    return parser


def _platform(options: argparse.Namespace, environment: Mapping[str, str]) -> Platform:
    rates = Rates(delay=options.delay_ms / 1000, bad_gateway=options.bad_gateway_rate, empty=options.empty_rate)
    return Platform(
        registry=registry(options.seed, options.count),
        rules=Rules(procedures=frozenset(options.allow_procedure), officers=frozenset(options.allow_officer)),
        credentials=Credentials(key=environment[KEY], secret=environment[SECRET]),
        tokens=Tokens(lifetime=options.token_seconds, clock=time.monotonic),
        faults=Faults(rates, options.seed),
        witness=options.witness
        and witness.opened(options.witness, options.witness_name, options.witness_log, time.time),
    )


def tls_of(certificate: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """Return what TLS is spoken with, to clients of the authorities in `client_ca` alone where it is given; raise `OSError` for other files."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def _serve(platform: Platform, options: argparse.Namespace, tls: ssl.SSLContext | None) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    runner, port = await started(platform, options.port, host=options.host)
    try:
        if tls is not None:
            await web.TCPSite(runner, options.host, int(options.tls[0]), ssl_context=tls).start()
        _announce(port, options.port_file)
        await ended.wait()
    finally:
        await runner.cleanup()


def _announce(port: int, port_file: Path | None) -> None:
    if port_file is not None:
        half = port_file.with_name(port_file.name + ".new")
        half.write_text(f"{port}\n", encoding="ascii")
        half.replace(port_file)  # whoever waits for the file never reads half of it
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
