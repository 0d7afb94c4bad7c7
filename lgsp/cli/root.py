"""The command `lgsp` as a whole: its groups, its language, and how every failure ends: one clear line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from importlib import metadata
from typing import Annotated

import typer

from lgsp.cli import (
    adapter_commands,
    audit_commands,
    checking,
    directory_commands,
    doctor,
    founding,
    key_commands,
    serving,
    systems,
)
from lgsp.cli.demo import command as demo_command
from lgsp.cli.voice import VARIABLE, lead_with_language, own_voice
from lgsp.errors import LgspError, Unusable

root = typer.Typer(
    name="lgsp", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None
)


class LanguageChoice(StrEnum):
    """The languages of texts for people."""

    en = "en"
    vi = "vi"


def _show_version(asked: bool) -> None:  # noqa: FBT001 - a callback of the option
    if asked:
        sys.stdout.write(metadata.version("lgsp") + "\n")
        raise typer.Exit


@root.callback()
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


root.command()(founding.init)
root.command()(serving.serve)
root.command()(demo_command.demo)
root.command()(doctor.doctor)
root.command()(checking.check)
root.add_typer(key_commands.commands, name="keys")
root.add_typer(directory_commands.commands, name="directory")
root.add_typer(systems.commands, name="system")
root.add_typer(audit_commands.commands, name="audit")
root.add_typer(adapter_commands.commands, name="adapter")


def run(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process: 0 done, 1 refused or something is wrong, 2 used wrongly, 3 the log is bad, 70 our fault."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    voice = own_voice(given)
    code = 0
    try:
        root(args=lead_with_language(given), prog_name="lgsp", obj=voice)
    except LgspError as error:
        code = voice.explain(error)
    except BaseExceptionGroup as group:
        code = voice.explain(only_reason(group))
    except OSError as error:
        code = voice.explain(Unusable("data_unusable", f"{error.filename or ''}: {error.strerror or error}"))
    sys.exit(code)


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
