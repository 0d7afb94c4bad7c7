"""The command `lgsp` as a whole: its groups, its language, and how every failure ends: one clear line and an exit code.

Only the module of the command that is called is loaded: an adapter's process has no use for the database of the gateway.
"""

from __future__ import annotations

import gc
import logging
import sys
import traceback
from collections.abc import Sequence
from enum import StrEnum
from importlib import import_module, metadata
from typing import Annotated, Final

import typer

from lgsp import logs
from lgsp.cli.voice import FLAG, VARIABLE, Voice, lead_with_language, own_voice
from lgsp.errors import Ending, LgspError, Unusable

COMMANDS: Final = {
    "init": "founding:init",
    "serve": "serving:serve",
    "demo": "demo.command:demo",
    "doctor": "doctor:doctor",
    "health": "health:health",
    "db": "db_commands:commands",
    "backup": "backup.commands:commands",
    "check": "checking:check",
    "send": "messages:send",
    "inbox": "messages:inbox",
    "gateway": "gateway_commands:commands",
    "keys": "keys.commands:commands",
    "directory": "directory.commands:commands",
    "system": "systems:commands",
    "audit": "audit.commands:commands",
    "log": "log_commands:commands",
    "evidence": "evidence.commands:commands",
    "grant": "directory.grants:commands",
    "subscription": "directory.subscriptions:commands",
    "officer": "officer_commands:commands",
    "status": "status_command:status",
    "parked": "parked.commands:commands",
    "bodies": "bodies_commands:commands",
    "subject": "subject_commands:commands",
    "adapter": "adapter_commands:commands",
}
"""Command or group -> where it is: module of this package, and the function or group in it; the order is that of the help."""


class LanguageChoice(StrEnum):
    """The languages of texts for people."""

    en = "en"
    vi = "vi"


def _show_version(asked: bool) -> None:  # noqa: FBT001 - a callback of the option
    if asked:
        sys.stdout.write(metadata.version("lgsp") + "\n")
        raise typer.Exit


def _everywhere(
    lang: Annotated[
        LanguageChoice | None, typer.Option(envvar=VARIABLE, help="Language of messages | ngôn ngữ")
    ] = None,
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version | in phiên bản")
    ] = False,
) -> None:
    """A provincial data-sharing bus | trục chia sẻ dữ liệu cấp tỉnh."""


def build(names: Sequence[str] = tuple(COMMANDS)) -> typer.Typer:
    """Return the command with these commands and groups in it."""
    root = typer.Typer(
        name="lgsp", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None
    )
    root.callback()(_everywhere)
    for name in names:
        module, _, member = COMMANDS[name].partition(":")
        found = getattr(import_module(f"lgsp.cli.{module}"), member)
        if isinstance(found, typer.Typer):
            root.add_typer(found, name=name)
        else:
            root.command(name)(found)
    return root


def called(arguments: Sequence[str]) -> list[str]:
    """Return the command that is called, or all of them when none is: for the help, and for what to say of a misspelt one."""
    rest = list(arguments[2:] if arguments[:1] == [FLAG] else arguments)
    return rest[:1] if rest and rest[0] in COMMANDS else list(COMMANDS)


def run(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process with one of `Ending`."""
    given = lead_with_language(sys.argv[1:] if arguments is None else arguments)
    voice = own_voice(given)
    code: int = Ending.DONE
    # A command that is over in a moment tells its result itself; `serve` and `adapter run` log all they do.
    logs.configure(level=logging.ERROR)
    try:
        command = build(called(given))
        gc.enable()
        command(args=given, prog_name="lgsp", obj=voice)
    except LgspError as error:
        code = voice.explain(error)
    except BaseExceptionGroup as group:
        code = _explain_group(voice, group)
    except OSError as error:
        code = voice.explain(Unusable("data_unusable", f"{error.filename or ''}: {error.strerror or error}"))
    except Exception:  # noqa: BLE001 - whatever it is, the fault is ours, and whoever mends it needs the whole of it
        traceback.print_exc()
        code = Ending.OUR_FAULT
    sys.exit(code)


def _explain_group(voice: Voice, group: BaseExceptionGroup[BaseException]) -> int:
    try:
        return voice.explain(only_reason(group))
    except ExceptionGroup:
        traceback.print_exc()
        return Ending.OUR_FAULT


def only_reason(group: BaseExceptionGroup[BaseException]) -> LgspError:
    """Return the first error of ours in a group of tasks that ended together; raise the group when it holds anything else."""
    ours, others = group.split(LgspError)
    if ours is None or others is not None:
        raise group
    found: BaseException = ours
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    if not isinstance(found, LgspError):
        raise group
    return found
