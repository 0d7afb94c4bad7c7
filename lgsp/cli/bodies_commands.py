"""`lgsp bodies`: sealed bodies by the day of their acceptance, and the destruction of a day's key, with which they are erased for good."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from lgsp.cli.gateway_door import ask
from lgsp.cli.reach import Reach, reaching
from lgsp.cli.voice import Voice, voice_of
from lgsp.domain import strictjson
from lgsp.domain.entries import check_reason
from lgsp.domain.records import DAY_FORM
from lgsp.errors import Unusable

commands = typer.Typer(no_args_is_help=True, help="Sealed bodies, by day | nội dung đã niêm phong, theo ngày")


@commands.command("list")
@reaching
def list_(
    context: typer.Context,
    *,
    lines: Annotated[bool, typer.Option("--json", envvar="LGSP_JSON", help="As JSON | dạng JSON")] = False,
    reach: Reach,
) -> None:
    """Tell how many bodies of each day are held, and why | cho biết còn giữ bao nhiêu nội dung của mỗi ngày."""
    voice = voice_of(context)
    answer = asyncio.run(ask(reach, "GET", "/admin/bodies", command="lgsp bodies list"))
    if lines:
        voice.give(answer.decode())
    else:
        _show(voice, strictjson.parse_object(answer)["days"])


def _show(voice: Voice, days: list[dict[str, Any]]) -> None:
    if not days:
        voice.tell("no body is held, and no key", "không giữ nội dung hay khóa nào")
        return
    table = voice.table(
        ("day", "ngày"),
        ("key", "khóa"),
        ("in flight", "đang giao"),
        ("parked", "đang tạm giữ"),
        ("archived", "lưu trữ"),
    )
    for each in days:
        key = voice.choose("kept", "còn giữ") if each["key"] else voice.choose("destroyed", "đã hủy")
        table.add_row(each["day"], key, str(each["in_flight"]), str(each["parked"]), str(each["archived"]))
    voice.show(table)


@commands.command()
@reaching
def destroy(
    context: typer.Context,
    day: Annotated[str, typer.Argument(metavar="DAY", help="Such as 2026-11-22, of the bus's zone | ngày cần xóa")],
    *,
    reason: Annotated[
        str, typer.Option("--reason", envvar="LGSP_REASON", help="Why, for the log | lý do, ghi nhật ký")
    ],
    even_undelivered: Annotated[
        bool,
        typer.Option(
            "--even-undelivered",
            envvar="LGSP_EVEN_UNDELIVERED",
            help="Though some is not delivered yet, and will be lost | kể cả nội dung chưa giao, sẽ mất hẳn",
        ),
    ] = False,
    reach: Reach,
) -> None:
    """Destroy the key of a day: its bodies are erased for good | hủy khóa của một ngày: xóa hẳn nội dung của ngày đó."""
    voice = voice_of(context)
    if DAY_FORM.fullmatch(day) is None:
        raise Unusable("bad_request", "DAY is written YYYY-MM-DD")
    asked = {"day": day, "reason": check_reason(reason), "even_undelivered": even_undelivered}
    answer = asyncio.run(ask(reach, "POST", "/admin/bodies/destroy", asked, command="lgsp bodies destroy"))
    done = strictjson.parse_object(answer)
    lost = done["in_flight"] + done["parked"]
    voice.tell(
        f"destroyed the key of {day}, entry {done['entry']}: erased {done['archived']} archived bodies and {lost} undelivered ones; "
        "a backup made before holds the key still",
        f"đã hủy khóa của ngày {day}, mục {done['entry']}: xóa {done['archived']} nội dung lưu trữ và {lost} nội dung chưa giao; "
        "bản sao lưu tạo trước đó vẫn còn khóa",
    )
