"""`lgsp log`: go on with the log under another name after a loss, and have a data folder take that name over."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from lgsp import datafolder
from lgsp.cli.directory.change import carry_out
from lgsp.cli.files import read_text
from lgsp.cli.founding import is_origin
from lgsp.cli.options import DEFAULT_DATA, Data, Registrar
from lgsp.cli.reach import Reach
from lgsp.cli.registrar import Wanted
from lgsp.cli.reopening import Reopened, check_renamable, close, follow, next_origin, reopen
from lgsp.cli.voice import Voice, voice_of
from lgsp.config import Settings
from lgsp.datafolder import DataFolder
from lgsp.errors import Unusable

commands = typer.Typer(no_args_is_help=True, help="The log's name | tên nhật ký")


@commands.command("reopen")
def reopen_log(
    context: typer.Context,
    after: Annotated[
        Path,
        typer.Option(
            envvar="LGSP_AFTER",
            metavar="CHECKPOINT",
            help="The newest checkpoint known under the old name, co-signed if there is one | điểm chốt mới nhất đã biết",
        ),
    ],
    reason: Annotated[
        str,
        typer.Option(envvar="LGSP_REASON", help="Why, for the log; at most 200 characters | lý do, ghi vào nhật ký"),
    ],
    data: Data = DEFAULT_DATA,
    origin: Annotated[
        str | None,
        typer.Option(
            envvar="LGSP_ORIGIN", help="The new name; the old one with /r2 if not given | tên mới của nhật ký"
        ),
    ] = None,
    registrar: Registrar = None,
) -> None:
    """Go on with the log under another name, quoting the last checkpoint of the old one | tiếp tục nhật ký dưới tên mới."""
    voice = voice_of(context)
    settings = Settings.load(data)
    check_renamable(settings)
    chosen = origin or next_origin(settings.bus.log)
    _check_new(chosen, settings)
    text = read_text(after)
    with datafolder.hold(DataFolder(root=settings.data), command="lgsp log reopen"):
        done = asyncio.run(reopen(settings, text, origin=chosen, reason=reason))
        asyncio.run(follow(settings))
    _tell(voice, done)
    _tell_registrar(voice, data, chosen, registrar, reason)


@commands.command()
def rotate(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Option(envvar="LGSP_OUT", metavar="DIR", help="Where the closed log goes, as files | thư mục kết quả"),
    ],
    origin: Annotated[str, typer.Option(envvar="LGSP_ORIGIN", help="The new name | tên mới của nhật ký")],
    reason: Annotated[
        str,
        typer.Option(envvar="LGSP_REASON", help="Why, for the log; at most 200 characters | lý do, ghi vào nhật ký"),
    ],
    data: Data = DEFAULT_DATA,
    registrar: Registrar = None,
) -> None:
    """Close the log, write all of it as files, and go on under another name | đóng nhật ký, ghi ra tệp, tiếp tục dưới tên mới."""
    voice = voice_of(context)
    settings = Settings.load(data)
    check_renamable(settings)
    _check_new(origin, settings)
    with datafolder.hold(DataFolder(root=settings.data), command="lgsp log rotate"):
        note = asyncio.run(close(settings, out, reason=reason))
        voice.tell(f"wrote the closed log to {out}", f"đã ghi nhật ký đã đóng vào {out}")
        done = asyncio.run(reopen(settings, note, origin=origin, reason=reason))
        asyncio.run(follow(settings))
    _tell(voice, done)
    _tell_registrar(voice, data, origin, registrar, reason)


def _check_new(origin: str, settings: Settings) -> None:
    if not is_origin(origin) or origin == settings.bus.log:
        raise Unusable("config_invalid", "--origin is another name, of 3 to 120 of a-z, 0-9, dot, slash and -")


def _tell(voice: Voice, done: Reopened) -> None:
    quoted = done.quoted
    voice.tell(
        f"the log goes on as {done.origin}, after {quoted.size} entries of {quoted.origin}",
        f"nhật ký tiếp tục với tên {done.origin}, sau {quoted.size} mục của {quoted.origin}",
    )
    if done.known < quoted.size:
        voice.tell(
            f"entries {done.known} to {quoted.size - 1} of {quoted.origin} are no longer provable: "
            "receipts and proofs for them are evidence of their own; systems compare with lgsp backup losses",
            f"không còn chứng minh được các mục {done.known} đến {quoted.size - 1} của {quoted.origin}: "
            "biên nhận và bằng chứng của chúng tự nó là chứng cứ; các hệ thống đối chiếu bằng lgsp backup losses",
        )
    else:
        voice.tell("nothing that it covers is lost", "không mất mục nào mà điểm chốt đó bao trùm")
    if not done.is_witnessed:
        voice.tell("no witness had signed that checkpoint", "điểm chốt đó không có chữ ký của nhân chứng")
    if done.witness_says is None:
        voice.tell("no witness was asked what it has seen", "chưa hỏi được nhân chứng đã thấy bao nhiêu mục")


def _tell_registrar(voice: Voice, data: Path, origin: str, registrar: Path | None, reason: str) -> None:
    """Have the directory name the log, here where the registrar's key is, else tell what the registrar has to do."""
    settings = Settings.load(data)
    row = {"kind": "bus", "id": settings.bus.urn, "log": origin}
    if registrar is None and not DataFolder(root=data).registrar_key.exists():
        voice.tell(
            f'before a gateway starts, the registrar publishes bus "{settings.bus.urn}" with log = "{origin}": lgsp directory apply',
            f'trước khi cổng chạy lại, bộ phận quản lý danh bạ công bố bus "{settings.bus.urn}" với log = "{origin}": lgsp directory apply',
        )
    else:
        wanted = Wanted(stated=(row,))
        carry_out(voice, Reach(data=data), wanted, command="lgsp log reopen", reason=reason, registrar=registrar)
    voice.tell(
        "hand the new trust.json to whoever verifies, tell the witness the log's new key, and run lgsp log follow at the other gateways",
        "giao trust.json mới cho bên kiểm chứng, báo khóa mới của nhật ký cho nhân chứng, và chạy lgsp log follow ở các cổng khác",
    )


@commands.command("follow")
def follow_log(context: typer.Context, data: Data = DEFAULT_DATA) -> None:
    """Have settings and trust.json of a data folder name the log as the ledger does | lấy tên nhật ký theo sổ cái."""
    voice = voice_of(context)
    settings = Settings.load(data)
    with datafolder.hold(DataFolder(root=settings.data), command="lgsp log follow"):
        origin = asyncio.run(follow(settings))
    if origin == settings.bus.log:
        voice.tell(f"the log is {origin}; nothing was changed", f"nhật ký là {origin}; không thay đổi gì")
    else:
        voice.tell(f"the log is {origin} from now on", f"từ nay nhật ký là {origin}")
