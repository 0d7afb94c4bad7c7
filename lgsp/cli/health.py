"""`lgsp health`: ask one gateway whether it is ready, for those who start programs and watch them.

The address and whom to believe come from the command line, or from the settings of a system on this machine. Nothing is changed, no key is
used; what a data folder holds is `doctor`'s.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final

import aiohttp
import typer

from lgsp.cli.voice import voice_of
from lgsp.domain import strictjson
from lgsp.errors import Ending, Unusable
from lgsp.sdk import SystemSettings
from lgsp.tls import trusting

SECONDS: Final = 5.0
LARGEST: Final = 64 * 1024
READY: Final = 200


def health(
    context: typer.Context,
    url: Annotated[
        str | None, typer.Argument(metavar="URL", help="The gateway, like https://bus.example.vn | địa chỉ cổng")
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            envvar="LGSP_CA", metavar="FILE", help="The authority behind its certificate, PEM | tệp chứng thư CA"
        ),
    ] = None,
    system: Annotated[
        Path | None,
        typer.Option(
            envvar="LGSP_SYSTEM",
            metavar="FILE",
            help="Instead of URL: system.toml, whose gateway is asked | tệp system.toml",
        ),
    ] = None,
) -> None:
    """Ask a gateway whether it is ready; exit code 1 when not | hỏi cổng đã sẵn sàng chưa."""
    voice = voice_of(context)
    if (url is None) == (system is None):
        raise Unusable("bad_request", "give URL or --system")
    address, authority = _place(url, ca, system)
    problem = asyncio.run(_problem(address, authority))
    if problem is None:
        voice.tell(f"{address} is ready", f"{address} đã sẵn sàng")
        return
    voice.tell(*problem)
    raise typer.Exit(Ending.NOT_DONE)


def _place(url: str | None, ca: Path | None, system: Path | None) -> tuple[str, Path | None]:
    """Return the gateway's address and whom to believe about it."""
    if system is None:
        return (url or "").rstrip("/"), ca
    settings = SystemSettings.load(system)
    return settings.url, ca or settings.ca


async def _problem(address: str, ca: Path | None) -> tuple[str, str] | None:
    """Return what keeps the gateway from taking envelopes, in English and Vietnamese; None when nothing does."""
    try:
        status, body = await _asked(f"{address}/readyz", ca)
    except (aiohttp.ClientError, ValueError, TimeoutError, OSError) as error:
        kind = type(error).__name__
        return f"{address} does not answer: {kind}", f"{address} không trả lời: {kind}"
    if status == READY:
        return None
    said = _degraded(body) or str(status)
    return f"{address} is not ready: {said}", f"{address} chưa sẵn sàng: {said}"


async def _asked(url: str, ca: Path | None) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trusting(ca)), timeout=aiohttp.ClientTimeout(total=SECONDS)
        ) as session,
        session.get(url, allow_redirects=False) as answer,
    ):
        return answer.status, await answer.content.read(LARGEST)


def _degraded(body: bytes) -> str:
    """Return what the gateway's problem says is degraded, "" when it is none of ours."""
    try:
        parts = strictjson.parse_object(body).get("degraded")
    except strictjson.NotStrict:
        return ""
    return ", ".join(map(str, parts)) if isinstance(parts, list) else ""
