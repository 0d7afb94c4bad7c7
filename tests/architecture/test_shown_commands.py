"""Every command that a document shows is one that the program takes: command, flags, number of arguments."""

import re
import shlex
from itertools import takewhile

import pytest
import typer

from lgsp.cli.root import COMMANDS, build
from lgsp.errors import catalogue

BLOCK = re.compile(r"^```sh\b[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`(lgsp [^`]+)`")
ROW = re.compile(r"^\| `lgsp (\w+(?: \w+)?)` \| (.*) \|$", re.MULTILINE)
LEFT_OUT = re.compile(r"(?<=\s)…(?=\s|$)")
ENDS = {"&", "&&", "||", ">", "2>", "2>>", "|", ";"}
"""What ends a command in a shell, or begins what is no longer its arguments."""
UsageError = typer.BadParameter.__mro__[1]
"""What the parser raises for a command line that it does not take."""


@pytest.fixture(scope="module")
def lgsp():
    return typer.main.get_command(build())


@pytest.fixture(scope="module")
def documents(project_files):
    return {path: text for path, text in project_files.items() if path.endswith(".md")}


def arguments_of(line):
    words = shlex.split(LEFT_OUT.sub("", line), comments=True)
    return list(takewhile(lambda word: word not in ENDS, words[1:]))


def commands_in_blocks(text):
    lines = "\n".join(BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("lgsp ")]


def commands_in_sentences(text):
    return [" ".join(span.split()) for span in SPAN.findall(text)]


def parse(command, arguments):
    """Parse as the program does, without doing anything; raise `UsageError` for what it would not take."""
    context = command.make_context("lgsp", list(arguments))
    while getattr(context.command, "commands", None) and (rest := [*context._protected_args, *context.args]):
        name, found, rest = context.command.resolve_command(context, rest)
        context = found.make_context(name, rest, parent=context)
    return context


def problem_of(lgsp, line, *, whole):
    """What is wrong with a command line, "" when nothing is; one that is not `whole` may leave out what must be given."""
    arguments = [word for word in arguments_of(line) if word != "--help"]
    try:
        parse(lgsp, arguments)
    except UsageError as error:
        is_short = error.__class__.__name__ in {"MissingParameter", "NoArgsIsHelpError"}
        return "" if is_short and not whole else f"{line}: {error.format_message()}"
    return ""


def test_every_command_in_a_block_of_a_document_parses(documents, lgsp):
    shown = [(path, line) for path, text in documents.items() for line in commands_in_blocks(text)]
    assert len(shown) > 20
    problems = [(path, problem_of(lgsp, line, whole=True)) for path, line in shown]
    assert [each for each in problems if each[1]] == []


def test_every_command_in_a_sentence_of_a_document_is_one(documents, lgsp):
    shown = [(path, line) for path, text in documents.items() for line in commands_in_sentences(text)]
    assert len(shown) > 20
    problems = [(path, problem_of(lgsp, line, whole=False)) for path, line in shown]
    assert [each for each in problems if each[1]] == []


def test_every_command_that_a_hint_names_is_one():
    hints = [hint for entry in catalogue().values() for hint in entry.hint.values()]
    named = {name for hint in hints for name in re.findall(r"\blgsp (\w+)", hint)}
    assert named
    assert named <= set(COMMANDS)


@pytest.mark.parametrize(
    "line",
    [
        "lgsp sreve --data DIR",
        "lgsp serve --daat DIR",
        "lgsp audit prove --data DIR -o FILE",
        "lgsp keys neww FILE",
        "lgsp doctor FILE",
        "lgsp init --port high",
    ],
)
def test_a_command_that_the_program_would_not_take_is_found(lgsp, line):
    assert problem_of(lgsp, line, whole=True)


@pytest.mark.parametrize("line", ["lgsp serve --data DIR 2> file &", "lgsp audit prove 17 --data DIR -o FILE"])
def test_a_command_that_the_program_takes_passes(lgsp, line):
    assert problem_of(lgsp, line, whole=True) == ""
