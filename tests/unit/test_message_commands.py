"""What `lgsp send` tells a person when no word came: whether the envelope is on its way, and whether the command may be repeated."""

from __future__ import annotations

import pytest
import typer

from lgsp.cli.messages import _run
from lgsp.cli.voice import Voice
from lgsp.sdk import OutcomeUnknown, Unreachable

ID = "0199a1f2-7b1c-7000-8000-000000000001"


def told(capsys, error, key):
    """Return what is told, in English, of a command under this key that ended in this error."""

    async def work():
        raise error

    with pytest.raises(typer.Exit) as caught:
        _run(Voice(language="en"), work(), key=key)
    assert caught.value.exit_code == 1
    return capsys.readouterr().err


def test_whoever_gave_a_key_is_told_to_repeat_the_command(capsys):
    assert "Repeat the command with the same --key" in told(capsys, OutcomeUnknown(ID), "k")


@pytest.mark.parametrize("error", [OutcomeUnknown(ID), Unreachable(ID)])
def test_whoever_gave_no_key_is_told_that_a_repetition_sends_twice(capsys, error):
    said = told(capsys, error, None)
    assert ID in said
    assert "would send it a second time" in said
    assert "same --key" not in said


def test_what_never_came_into_the_outbox_is_not_said_to_be_there(capsys):
    said = told(capsys, Unreachable(), "k")
    assert "nothing was sent" in said
    assert "outbox" not in said
