"""The blocking client cannot drift from the asynchronous one: same methods, same arguments, same words."""

import inspect
import re

import pytest

from lgsp.sdk import BlockingClient, BlockingFailure, BlockingMessage, Client, Failure, Message
from lgsp.sdk.stream import Listener

OF_THE_STREAM = {name for name in vars(Listener) if not name.startswith("_")}
"""What the stream calls, and no program."""
OF_THE_RECEIVER = {"wire", "settles", "lease", "held_since", "has_credit", "size"}
"""What of a message the client itself needs."""
OWN = {"serve"}
"""A loop that an adapter has its runner for."""
AWAITED = [
    (r"AbstractAsyncContextManager", "AbstractContextManager"),
    (r"AsyncIterator", "Iterator"),
    (r"\bMessage\b", "BlockingMessage"),
    (r"\bFailure\b", "BlockingFailure"),
]


def public(kind):
    return {name for name in dir(kind) if not name.startswith("_")}


def parameters(member):
    found = inspect.signature(member).parameters.values()
    return [
        each.replace(annotation=waited(each.annotation) if isinstance(each.annotation, str) else each.annotation)
        for each in found
        if each.name != "self"
    ]


def waited(annotation):
    for pattern, word in AWAITED:
        annotation = re.sub(pattern, word, annotation)
    return annotation


def described(member):
    return inspect.getdoc(member.fget if isinstance(member, property) else member)


METHODS = sorted(public(Client) - OF_THE_STREAM)


def test_there_is_a_twin_of_every_method():
    assert {"opened", "frame", "closed"} == OF_THE_STREAM
    assert public(BlockingClient) - OWN == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_twin_takes_the_same_and_says_the_same(name):
    first, twin = getattr(Client, name), getattr(BlockingClient, name)
    assert described(twin) == described(first)
    if not isinstance(first, property):
        assert parameters(twin) == parameters(first)
        returned = [inspect.signature(inspect.unwrap(each)).return_annotation for each in (first, twin)]
        assert returned[1] == waited(returned[0])
        assert not inspect.iscoroutinefunction(twin)
        assert not inspect.isasyncgenfunction(twin)


@pytest.mark.parametrize(("first", "twin"), [(Message, BlockingMessage), (Failure, BlockingFailure)])
def test_a_message_and_a_failure_have_their_twins_too(first, twin):
    wanted = public(first) - OF_THE_RECEIVER - {"act"}
    assert public(twin) - {"message", "failure", "background"} == wanted
    assert described(twin.effect) == described(first.effect)
    assert parameters(twin.effect) == parameters(first.effect)
