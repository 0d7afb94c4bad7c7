"""`lgsp directory`: show what is in force, apply a directory file under the registrar's key, print a file to start from."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from lgsp import keyfiles
from lgsp.cli.directory_file import KINDS, TEMPLATE, read_file
from lgsp.cli.gateway_door import open_kept, publish
from lgsp.cli.key_policy import read_policy
from lgsp.cli.options import DEFAULT_DATA, Data, Registrar
from lgsp.cli.registrar import Change, Plan, draw_plan, members_changed, sign_plan
from lgsp.cli.voice import Voice, voice_of
from lgsp.config import Settings
from lgsp.datafolder import DataFolder
from lgsp.domain import records
from lgsp.domain.directory import Directory
from lgsp.domain.keys import PrivateKey
from lgsp.errors import Refusal, Unusable
from lgsp.machine import SystemClock

REASON_MAX: Final = 200

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
def apply(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The directory file | tệp danh bạ")],
    data: Data = DEFAULT_DATA,
    registrar: Registrar = None,
    reason: Annotated[
        str | None,
        typer.Option(envvar="LGSP_REASON", help="Why, for the log; at most 200 characters | lý do, ghi vào nhật ký"),
    ] = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", envvar="LGSP_DRY_RUN", help="Only show the difference | chỉ xem")
    ] = False,
) -> None:
    """Make a new version in which all that the file states holds | lập phiên bản mới theo tệp."""
    voice = voice_of(context)
    said = f"lgsp directory apply {file.name}" if reason is None else reason
    if not 1 <= len(said) <= REASON_MAX:
        raise Unusable("bad_request", "--reason has 1 to 200 characters")
    settings = Settings.load(data)
    plan = asyncio.run(_plan(settings, file))
    show_difference(voice, plan)
    if plan.changes and not dry_run:
        signer = _registrar_key(settings, registrar)
        version = asyncio.run(publish(settings, sign_plan(plan, signer, SystemClock().now()), said))
        voice.tell(f"version {version} is in force", f"phiên bản {version} đã có hiệu lực")


async def _plan(settings: Settings, file: Path) -> Plan:
    wanted = read_file(file)
    async with open_kept(settings) as kept:
        return draw_plan(kept.directory, wanted, kept.documents, read_policy())


def _registrar_key(settings: Settings, chosen: Path | None) -> PrivateKey:
    """Return the registrar's private key; refuse (`directory_invalid`) one that is not pinned here."""
    path = chosen or DataFolder(root=settings.data).registrar_key
    key = keyfiles.read_private(path)
    if key.kid != settings.keys.registrar_key().kid:
        raise Refusal("directory_invalid", f"{path} is not the registrar's key that {settings.data} pins")
    return key


def show_difference(voice: Voice, plan: Plan) -> None:
    """Show what the next version changes: + added, ~ altered, - removed."""
    if not plan.changes:
        voice.tell("nothing to change", "không có gì thay đổi")
        return
    for change in plan.changes:
        voice.show(_difference(change))
    count = len(plan.changes)
    voice.tell(
        f"{count} {'record changes' if count == 1 else 'records change'} in version {plan.version}",
        f"{count} bản ghi thay đổi trong phiên bản {plan.version}",
    )


def _difference(change: Change) -> Text:
    kind, id_ = change.name
    if change.after is None:
        return Text(f"- {kind} {id_}", style="red")
    if change.before is None:
        return Text(f"+ {kind} {id_}", style="green")
    text = Text(f"~ {kind} {id_}", style="yellow")
    for member, before, after in members_changed(change):
        text.append(f"\n    {member}: {before or '∅'} → {after or '∅'}", style="default")
    return text


@commands.command()
def template(context: typer.Context) -> None:
    """Print a directory file to start from | in tệp danh bạ mẫu."""
    voice_of(context).give(TEMPLATE.rstrip("\n"))
