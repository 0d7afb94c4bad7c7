"""A change of the directory by command: what it comes to is shown, signed with the registrar's key here, and brought to the bus.

What a change consists of is said by the commands (`directory apply`, `officer`, `system add`, `keys add`, `grant add`, `subscription`) in the words
of a directory file; one that is in force already changes nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from lgsp.cli.directory.present import Present, look
from lgsp.cli.gateway_door import publish
from lgsp.cli.keys.policy import read_policy
from lgsp.cli.reach import Reach
from lgsp.cli.registrar import Change, Plan, Wanted, draw_plan, members_changed, sign_plan
from lgsp.cli.voice import Voice
from lgsp.domain.entries import check_reason
from lgsp.machine import SystemClock

Reason = Annotated[
    str | None,
    typer.Option(envvar="LGSP_REASON", help="Why, for the log; at most 200 characters | lý do, ghi vào nhật ký"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", envvar="LGSP_DRY_RUN", help="Only show the difference | chỉ xem")]


def present_of(reach: Reach) -> Present:
    """Return the present directory and its schema documents."""
    return asyncio.run(look(reach))


def carry_out(
    voice: Voice,
    reach: Reach,
    wanted: Wanted,
    *,
    command: str,
    reason: str | None,
    registrar: Path | None,
    dry_run: bool = False,
    present: Present | None = None,
) -> None:
    """Show what a wanted change comes to and, unless it is a dry run, put it in force; refuse as `draw_plan` and the bus do."""
    said = check_reason(command if reason is None else reason)
    found = present or present_of(reach)
    plan = draw_plan(found.directory, wanted, found.documents, read_policy())
    show_difference(voice, plan)
    if plan.changes and not dry_run:
        sealed = sign_plan(plan, reach.registrar(registrar), SystemClock().now())
        version = asyncio.run(publish(reach, sealed, said, command=command))
        voice.tell(f"version {version} is in force", f"phiên bản {version} đã có hiệu lực")


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
