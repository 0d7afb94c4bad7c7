"""The world and the clock that most of these tests stand in; a module that needs another says so itself."""

import pytest

from lgsp.testing.clock import ManualClock
from lgsp.testing.world import World


@pytest.fixture
def world() -> World:
    """Return the usual made-up province."""
    return World.make()


@pytest.fixture
def clock(world: World) -> ManualClock:
    """Return a clock that stands at the moment of the world, moved by hand."""
    return ManualClock(world.now)
