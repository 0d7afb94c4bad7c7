"""`lgsp db`: which form the ledger's tables have, and bringing them up to date; for a file and for a database."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

import typer

from lgsp import datafolder, ledgers
from lgsp.cli.options import DEFAULT_DATA, Data
from lgsp.cli.voice import Voice, voice_of
from lgsp.config import Settings
from lgsp.datafolder import DataFolder
from lgsp.errors import Ending, Refusal, Unusable

commands = typer.Typer(
    no_args_is_help=True, help="The tables of the ledger: status, upgrade | các bảng của sổ cái", rich_markup_mode=None
)


@commands.command()
def status(context: typer.Context, data: Data = DEFAULT_DATA) -> None:
    """Tell the version of the tables; exit code 1 when the program needs another | phiên bản của các bảng."""
    voice = voice_of(context)
    settings = Settings.load(data)
    form = asyncio.run(ledgers.ledger_form(settings))
    if form is None:
        raise Unusable("data_missing", "there are no tables yet")
    _tell(voice, settings, form.version)
    try:
        form.check(settings.storage.kind)
    except Refusal as refusal:
        voice.explain(refusal)
        raise typer.Exit(Ending.NOT_DONE) from None


@commands.command()
def upgrade(context: typer.Context, data: Data = DEFAULT_DATA) -> None:
    """Bring the tables to this program's version; again changes nothing | nâng các bảng lên phiên bản của chương trình."""
    voice = voice_of(context)
    settings = Settings.load(data)
    # A file is one process's; a database serves the gateways of the version before while its tables gain what is new.
    alone = (
        datafolder.hold(DataFolder(root=settings.data), command="lgsp db upgrade")
        if settings.storage.kind == "sqlite"
        else nullcontext()
    )
    with alone:
        before = asyncio.run(ledgers.ledger_form(settings))
        if before is None:
            raise Unusable("data_missing", "there are no tables yet")
        if not before.is_current:
            asyncio.run(ledgers.upgrade_ledger(settings))
        after = asyncio.run(ledgers.ledger_form(settings))
    if after is None or not after.is_current:
        raise Unusable("data_newer", f"version {before.version}")
    if before.is_current:
        voice.tell("the tables are up to date; nothing was changed", "các bảng đã đúng phiên bản; không thay đổi gì")
    _tell(voice, settings, after.version)


def _tell(voice: Voice, settings: Settings, version: int) -> None:
    kind = settings.storage.kind
    voice.tell(f"{kind}: tables of version {version}", f"{kind}: các bảng phiên bản {version}")
