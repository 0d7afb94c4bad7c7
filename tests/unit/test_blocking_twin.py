"""Blocking client and simulator cannot drift from the asynchronous ones: same methods, same arguments, same words."""

import inspect
import re

import pytest

from lgsp.sdk import BlockingClient, BlockingFailure, BlockingMessage, Client, Failure, Message
from lgsp.sdk.stream import Listener
from lgsp.testing import BlockingBusSimulator, BusSimulator

OF_THE_STREAM = {name for name in vars(Listener) if not name.startswith("_")}
"""What the stream calls, and no program."""
OF_THE_RECEIVER = {"wire", "settles", "lease", "held_since", "has_credit", "size"}
"""What of a message the client itself needs."""
OWN = {"serve", "kind"}
"""A loop that an adapter has its runner for; whose twin it is."""
AWAITED = [
    (r"AbstractAsyncContextManager", "AbstractContextManager"),
    (r"AsyncIterator", "Iterator"),
    (r"\bClient\b", "BlockingClient"),
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


def returned(member):
    found = inspect.signature(inspect.unwrap(member)).return_annotation
    is_block = hasattr(member, "__wrapped__")  # what a context manager's decorator leaves
    return re.sub(r"^(Async)?Iterator", "AbstractContextManager", found) if is_block else found


def described(member):
    return inspect.getdoc(member.fget if isinstance(member, property) else member)


TWINS = [
    *((Client, BlockingClient, name) for name in sorted(public(Client) - OF_THE_STREAM)),
    *((BusSimulator, BlockingBusSimulator, name) for name in sorted(public(BusSimulator) | {"__init__"})),
]


def test_there_is_a_twin_of_every_method():
    assert {"opened", "hear", "closed", "ended"} == OF_THE_STREAM
    assert public(BlockingClient) - OWN == public(Client) - OF_THE_STREAM
    assert public(BlockingBusSimulator) == public(BusSimulator)


@pytest.mark.parametrize(("kind", "blocking", "name"), TWINS)
def test_a_twin_takes_the_same_and_says_the_same(kind, blocking, name):
    first, twin = getattr(kind, name), getattr(blocking, name)
    assert described(twin) == described(first)
    if not isinstance(first, property):
        assert parameters(twin) == parameters(first)
        assert returned(twin) == waited(returned(first))
        assert not inspect.iscoroutinefunction(twin)
        assert not inspect.isasyncgenfunction(twin)


@pytest.mark.parametrize(("first", "twin"), [(Message, BlockingMessage), (Failure, BlockingFailure)])
def test_a_message_and_a_failure_have_their_twins_too(first, twin):
    wanted = public(first) - OF_THE_RECEIVER - {"act"}
    assert public(twin) - {"message", "failure", "background"} == wanted
    assert described(twin.effect) == described(first.effect)
    assert parameters(twin.effect) == parameters(first.effect)
