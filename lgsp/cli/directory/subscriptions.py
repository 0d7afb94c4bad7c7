"""`lgsp subscription`: who receives the events of a type from the next version of the directory on, and who no longer, without a directory file."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from lgsp.cli.directory.change import DryRun, Reason, carry_out, present_of
from lgsp.cli.options import Registrar
from lgsp.cli.reach import Reach, reaching
from lgsp.cli.registrar import NEXT, Wanted
from lgsp.cli.voice import voice_of
from lgsp.domain import records
from lgsp.domain.directory import Directory
from lgsp.errors import Refusal

Id = Annotated[str, typer.Argument(metavar="ID", help="Name of the subscription | tên của đăng ký nhận tin")]
KIND: Final = "subscription"

commands = typer.Typer(no_args_is_help=True, help="Subscriptions: who receives events | đăng ký nhận tin")


@commands.callback()
def group() -> None:
    """Subscriptions: who receives which events | đăng ký nhận tin: ai nhận sự kiện nào."""


@commands.command()
@reaching
def add(
    context: typer.Context,
    subscription: Id,
    *,
    subscriber: Annotated[str, typer.Option(envvar="LGSP_SUBSCRIBER", help="System | hệ thống")],
    type_: Annotated[str, typer.Option("--type", envvar="LGSP_TYPE", help="Message type | loại thông điệp")],
    registrar: Registrar = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    reach: Reach,
) -> None:
    """Subscribe a system to the events of a type | đăng ký cho một hệ thống nhận sự kiện của một loại."""
    row = {"kind": KIND, "id": subscription, "subscriber": subscriber, "type": type_}
    carry_out(
        voice_of(context),
        reach,
        Wanted(stated=(row,)),
        command="lgsp subscription add",
        reason=reason,
        registrar=registrar,
        dry_run=dry_run,
    )


@commands.command()
@reaching
def end(
    context: typer.Context,
    subscription: Id,
    *,
    registrar: Registrar = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    reach: Reach,
) -> None:
    """End a subscription: what still waits is withdrawn | chấm dứt đăng ký nhận tin: những gì còn chờ bị rút lại."""
    present = present_of(reach)
    carry_out(
        voice_of(context),
        reach,
        Wanted(stated=(_ended(subscription, present.directory),)),
        command="lgsp subscription end",
        reason=reason,
        registrar=registrar,
        dry_run=dry_run,
        present=present,
    )


def _ended(subscription: str, directory: Directory) -> dict[str, Any]:
    """Return the row that ends a subscription; refuse (`not_found`) one that was never there."""
    for record in map(records.parse, directory.encoded):
        if isinstance(record, records.SubscriptionRecord) and record.id == subscription:
            held = {"subscriber": record.subscriber, "type": record.type}
            return {"kind": KIND, "id": subscription, "until": NEXT, **held}
    raise Refusal("not_found", f"no subscription {subscription} in version {directory.version}")
