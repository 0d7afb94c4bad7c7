"""The SDK against a gateway that listens: what a program can rely on."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.sdk import Client
from lgsp.testing.systems import running_town
from lgsp.testing.world import BODY, POPULATION, VERIFY, VERIFY_SCHEMA

VERIFICATION = {
    "audience": POPULATION,
    "schema": VERIFY_SCHEMA,
    "body": dict(BODY),
    "purpose": "dpv:IdentityVerification",
    "legalbasis": "dpv:LegalObligation",
    "procedure": "1.004359",
    "casefile": "H01.12-20261122-0000001",
    "authid": "7f3a91",
}


@pytest.fixture
async def town(tmp_path):
    async with running_town(tmp_path, MemoryLedger()) as running:
        yield running


@pytest.fixture
async def fisheries(town):
    async with Client.open(town.settings("fisheries")) as client:
        yield client


@asynccontextmanager
async def answering(client, answer):
    """Let a client deal with every message by `answer(message)` for the length of the block."""

    async def serve():
        async for message in client.inbox():
            await answer(message)

    task = asyncio.create_task(serve())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def match(message):
    async with message.effect() as effect:
        effect.reply({"result": "match"})


async def test_a_request_is_answered_by_the_bridge_of_the_national_system(town, fisheries):
    async with Client.open(town.settings("ndxp")) as ndxp, answering(ndxp, match):
        reply = await fisheries.request(VERIFY, **VERIFICATION)
        assert reply.body == {"result": "match"}
        assert reply.source == POPULATION
        assert (await fisheries.outcome(reply.manifest.text("causationid"))).state == "acked"
