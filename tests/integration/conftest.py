"""The world and the clock that most of these tests stand in; a module that needs another says so itself."""

from typing import Any

import pytest

from lgsp.http import admin, edge, openapi
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import Answer, Edge
from lgsp.testing.world import World
from tests.integration.described import Description


@pytest.fixture
def world() -> World:
    """Return the usual made-up province."""
    return World.make()


@pytest.fixture
def clock(world: World) -> ManualClock:
    """Return a clock that stands at the moment of the world, moved by hand."""
    return ManualClock(world.now)


@pytest.fixture(scope="session")
def description() -> Description:
    """Return the description of all calls of a gateway, as a judge of answers."""
    return Description(openapi.document((*edge.CALLS, *admin.COMMANDS), version="0"))


@pytest.fixture(autouse=True)
def every_answer_is_as_it_is_described(description: Description, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold the answer of each call that a test makes against the description."""
    plain = Edge.call

    async def call(self: Edge, method: str, path: str, **given: Any) -> Answer:
        answer = await plain(self, method, path, **given)
        assert description.complaints(method, path, answer) == []
        return answer

    monkeypatch.setattr(Edge, "call", call)
