"""`lgsp status`: what the gateway is doing now."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from lgsp.cli.gateway_door import ask
from lgsp.cli.reach import Reach, reaching
from lgsp.cli.voice import Voice, voice_of
from lgsp.domain import strictjson
from lgsp.domain.names import short_system
from lgsp.errors import Ending

COMMAND = "lgsp status"


@reaching
def status(
    context: typer.Context,
    *,
    lines: Annotated[bool, typer.Option("--json", envvar="LGSP_JSON", help="As JSON | dạng JSON")] = False,
    reach: Reach,
) -> None:
    """Tell what the gateway is doing; exit code 1 when it is not ready | xem tình trạng của cổng."""
    voice = voice_of(context)
    answer = asyncio.run(ask(reach, "GET", "/admin/status", command=COMMAND))
    members = strictjson.parse_object(answer)
    if lines:
        voice.give(answer.decode())
    else:
        _show(voice, members)
    if not members["ready"]:
        raise typer.Exit(Ending.NOT_DONE)


def _show(voice: Voice, members: dict[str, Any]) -> None:
    table = voice.table(("what", "mục"), ("now", "hiện tại"))
    table.add_row(voice.choose("gateway", "cổng"), members["gateway"])
    table.add_row(voice.choose("directory", "danh bạ"), voice.choose(*_version(members["version"])))
    table.add_row(voice.choose("log", "nhật ký"), voice.choose(*_entries(members["entries"])))
    table.add_row(voice.choose("streams", "kết nối"), str(members["streams"]))
    for system, count in members["in_flight"].items():
        table.add_row(voice.choose("in flight to", "đang giao cho"), f"{short_system(system)}: {count}")
    for part, state in members["parts"].items():
        table.add_row(part, state)
    voice.show(table)


def _version(number: int) -> tuple[str, str]:
    return f"version {number}", f"phiên bản {number}"


def _entries(count: int) -> tuple[str, str]:
    return f"{count} entries", f"{count} mục"
