"""`lgsp directory`: show what is in force, apply a directory file under the registrar's key, print a file to start from."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from lgsp.cli.directory import returning
from lgsp.cli.directory.change import DryRun, Reason, carry_out
from lgsp.cli.directory.file import KINDS, TEMPLATE, read_file
from lgsp.cli.kept import open_kept
from lgsp.cli.options import DEFAULT_DATA, Data, Registrar
from lgsp.cli.reach import Reach, reaching
from lgsp.cli.voice import Voice, voice_of
from lgsp.config import Settings
from lgsp.domain import records
from lgsp.domain.directory import Directory
from lgsp.domain.entries import REASON_FORM
from lgsp.errors import Unusable

COMMAND: Final = "lgsp directory apply"

commands = typer.Typer(no_args_is_help=True, help="The directory: who may do what | danh bạ: ai được làm gì")


@commands.command()
def show(
    context: typer.Context,
    data: Data = DEFAULT_DATA,
    kind: Annotated[
        str | None, typer.Option(envvar="LGSP_KIND", help=f"Only one of {', '.join(KINDS)} | chỉ một loại")
    ] = None,
    *,
    lines: Annotated[
        bool, typer.Option("--json", envvar="LGSP_JSON", help="Records as they are signed | dạng gốc")
    ] = False,
) -> None:
    """Show the directory in force | xem danh bạ đang có hiệu lực."""
    voice = voice_of(context)
    if kind is not None and kind not in KINDS:
        raise Unusable("bad_request", f"--kind is one of {', '.join(KINDS)}")
    directory = asyncio.run(_directory(Settings.load(data)))
    chosen = [record for record in directory.encoded if kind in {None, records.parse(record).kind}]
    if lines:
        for record in chosen:
            voice.give(record.decode())
    else:
        _show_table(voice, directory, chosen)


async def _directory(settings: Settings) -> Directory:
    async with open_kept(settings) as kept:
        return kept.directory


def _show_table(voice: Voice, directory: Directory, encoded: list[bytes]) -> None:
    table = voice.table(("kind", "loại"), ("id", "mã"), ("what it is", "nội dung"))
    for record in sorted(map(records.parse, encoded), key=lambda record: (KINDS.index(record.kind), record.id)):
        table.add_row(record.kind, record.id, _summary(record, voice))
    voice.show(table)
    voice.tell(
        f"version {directory.version} of {directory.bus}, signed {directory.at:%Y-%m-%d %H:%M:%S}Z",
        f"phiên bản {directory.version} của {directory.bus}, ký lúc {directory.at:%Y-%m-%d %H:%M:%S}Z",
    )


def _summary(record: records.Record, voice: Voice) -> str:
    match record:
        case records.KeyRecord():
            until = "" if record.until is None else f", until {record.until}"
            return f"{record.role} {record.owner}, since {record.since}{until}"
        case records.GrantRecord():
            return f"{record.grantee} → {record.type} → {record.audience}"
        case records.DelegationRecord():
            return f"{record.bridge} for {record.principal}"
        case records.SubscriptionRecord():
            return f"{record.subscriber} ← {record.type}"
        case records.OfficerRecord():
            return ", ".join(record.roles)
    name, name_vi = getattr(record, "name", None), getattr(record, "name_vi", None)
    return voice.choose(name or name_vi or "", name_vi or name or "")


@commands.command()
@reaching
def apply(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The directory file | tệp danh bạ")],
    registrar: Registrar = None,
    reason: Reason = None,
    *,
    dry_run: DryRun = False,
    reach: Reach,
) -> None:
    """Make a new version in which all that the file states holds | lập phiên bản mới theo tệp."""
    carry_out(
        voice_of(context),
        reach,
        read_file(file),
        command=COMMAND,
        reason=_own_reason(file) if reason is None else reason,
        registrar=registrar,
        dry_run=dry_run,
    )


def _own_reason(file: Path) -> str:
    """Return what stands in the log when nobody gives a reason; a name of a file that the log may not hold is left out."""
    said = f"{COMMAND} {file.name}"
    return said if REASON_FORM.fullmatch(said) else COMMAND


@commands.command()
@reaching
def bring(
    context: typer.Context,
    box: Annotated[Path, typer.Argument(metavar="BOX", help="box.sqlite of a system | tệp box.sqlite của hệ thống")],
    schema: Annotated[
        list[Path] | None,
        typer.Option(
            envvar="LGSP_SCHEMA_FILES", metavar="FILE", help="A schema document that the bus has lost too | tệp lược đồ"
        ),
    ] = None,
    reason: Reason = None,
    *,
    reach: Reach,
) -> None:
    """Bring back signed versions that a restored bus has lost and a system's box holds | đưa lại các phiên bản danh bạ đã mất."""
    brought = asyncio.run(returning.bring(reach, box, schema or [], reason or returning.COMMAND))
    voice = voice_of(context)
    if not brought:
        voice.tell(
            "the box holds no version that follows the one in force",
            "tệp không có phiên bản nào tiếp theo phiên bản hiện tại",
        )
    for version in brought:
        voice.tell(f"version {version} is in force again", f"phiên bản {version} có hiệu lực trở lại")


@commands.command()
def template(context: typer.Context) -> None:
    """Print a directory file to start from | in tệp danh bạ mẫu."""
    voice_of(context).give(TEMPLATE.rstrip("\n"))
