"""Whether a client is let in: how soon it is told, whose word counts, and that it does not give up by itself."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.http.server import serve
from lgsp.machine import SystemClock
from lgsp.sdk import Client, Refused, Surroundings, Unreachable
from lgsp.sdk.stream import Pace
from lgsp.testing.bus import publish
from lgsp.testing.systems import running_town
from lgsp.testing.world import FISHERIES, VERIFICATION, VERIFY, World, signer_named

QUICK = Surroundings(pace=Pace(first=0.01, longest=0.05))
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
async def town(tmp_path):
    async with running_town(tmp_path, MemoryLedger()) as running:
        yield running


@asynccontextmanager
async def estranged(folder):
    """Run a town to which the fishery system's key is unknown."""
    folder.mkdir()
    world = World.make(now=SystemClock().now(), signers={"fisheries": signer_named("another")})
    async with running_town(folder, MemoryLedger(), world=world) as running:
        yield running


async def told_why(settings, within=60.0):
    """Open a client that is not let in and return what it is told."""
    with pytest.raises((Refused, Unreachable)) as caught:
        async with asyncio.timeout(15), Client.open(settings, connect_within=within, around=QUICK):
            raise AssertionError("it was let in")
    return getattr(caught.value, "code", "unreachable")


async def test_a_system_that_is_not_known_is_told_at_once(town):
    stranger = town.settings("fisheries", system="urn:lgsp:agency:H01.12:sys:other")
    assert await told_why(stranger) == "auth_invalid"


async def test_a_system_is_told_at_once_when_every_address_says_no(town):
    another = await serve(town.bus, host="127.0.0.1", port=0)
    stranger = town.settings("fisheries", system="urn:lgsp:agency:H01.12:sys:other", other_urls=[another.url])
    assert await told_why(stranger) == "auth_invalid"
    await another.close()


async def test_the_no_of_one_gateway_is_not_that_of_the_next(town, tmp_path):
    async with estranged(tmp_path / "strange") as strange:
        settings = town.settings("fisheries", url=strange.server.url, other_urls=[town.server.url])
        async with Client.open(settings, around=QUICK) as client:
            assert (await client.send(VERIFY, **VERIFICATION)).state == "receipted"


async def test_as_long_as_an_address_may_still_say_yes_it_is_waited_for(town):
    settings = town.settings("fisheries", system="urn:lgsp:agency:H01.12:sys:other", other_urls=[NOWHERE])
    async with Client.open(settings, connect_within=None, around=QUICK) as client:
        waiting = asyncio.create_task(client.ready(30))
        async with asyncio.timeout(10):
            while client._joining._noes != {town.server.url} or client._stream.url != NOWHERE:
                await asyncio.sleep(0.005)
        assert not waiting.done()
        waiting.cancel()


async def test_a_client_that_was_refused_goes_on_trying_and_is_let_in_once_it_may(tmp_path):
    now = SystemClock().now()
    suspended = World.make(now=now, changes={FISHERIES: {"status": "suspended"}})
    async with (
        running_town(tmp_path, MemoryLedger(), world=suspended) as town,
        Client.open(town.settings("fisheries"), connect_within=None, around=QUICK) as client,
    ):
        for _ in range(2):  # what was said before is no answer to a new question
            with pytest.raises(Refused, match="sender_suspended"):
                await client.ready(15)
        await publish(town.bus, World.make(now=now, version=2, prev=suspended.directory.hash))
        await client.ready(15)
        assert client.directory.version == 2
