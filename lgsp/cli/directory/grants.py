"""`lgsp grant add`: leave for one system, or every system of an agency, to send one type to one audience, without a directory file."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from lgsp.cli.directory.change import DryRun, Reason, carry_out
from lgsp.cli.options import Registrar
from lgsp.cli.reach import Reach, reaching
from lgsp.cli.registrar import Wanted
from lgsp.cli.voice import voice_of

COMMAND: Final = "lgsp grant add"
Texts = list[str] | None

commands = typer.Typer(no_args_is_help=True, help="Grants: who may ask what of whom | quyền")


@commands.callback()
def group() -> None:
    """Grants: who may ask what of whom | quyền: ai được hỏi ai điều gì."""


@commands.command()
@reaching
def add(  # noqa: PLR0913 - one parameter for each member of the record
    context: typer.Context,
    grant: Annotated[str, typer.Argument(metavar="ID", help="Name of the grant | tên của quyền")],
    *,
    grantee: Annotated[str, typer.Option(envvar="LGSP_GRANTEE", help="System or agency | hệ thống hoặc cơ quan")],
    type_: Annotated[str, typer.Option("--type", envvar="LGSP_TYPE", help="Message type | loại thông điệp")],
    audience: Annotated[str, typer.Option(envvar="LGSP_AUDIENCE", help="System, agency or topic | bên nhận")],
    basis: Annotated[str, typer.Option(envvar="LGSP_BASIS", help="The paper that allows it | văn bản cho phép")],
    purpose: Annotated[Texts, typer.Option(envvar="LGSP_PURPOSES", help="May be given again | mục đích")] = None,
    legalbasis: Annotated[Texts, typer.Option(envvar="LGSP_LEGALBASES", help="May be given again | căn cứ")] = None,
    procedure: Annotated[Texts, typer.Option(envvar="LGSP_PROCEDURES", help="May be given again | mã thủ tục")] = None,
    officer: Annotated[
        Texts, typer.Option(envvar="LGSP_OFFICERS", help="Pseudonym; may be given again | bí danh cán bộ")
    ] = None,
    quota: Annotated[
        int | None, typer.Option(envvar="LGSP_QUOTA", min=1, help="Envelopes a day | số phong bì mỗi ngày")
    ] = None,
    lane: Annotated[str | None, typer.Option(envvar="LGSP_LANE", help="request, event or bulk | làn")] = None,
    registrar: Registrar = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    reach: Reach,
) -> None:
    """Register a grant; one of this name is replaced | đăng ký một quyền, thay quyền cùng tên."""
    stated: dict[str, Any] = {
        "kind": "grant", "id": grant, "grantee": grantee, "type": type_, "audience": audience, "purposes": purpose, "legalbases": legalbasis,
        "procedures": procedure, "officers": officer, "quota_per_day": quota, "lane": lane, "basis": basis,
    }  # fmt: skip
    row = {name: value for name, value in stated.items() if value is not None}
    carry_out(
        voice_of(context),
        reach,
        Wanted(stated=(row,)),
        command=COMMAND,
        reason=reason,
        registrar=registrar,
        dry_run=dry_run,
    )
