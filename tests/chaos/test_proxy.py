"""The network of our own does what its name for a trouble says, and is well again afterwards."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from tests.chaos.proxy import SLOW_SECONDS, Proxy

AT_ONCE, WHILE = 0.1, 0.4


@asynccontextmanager
async def echo():
    """Run a server that gives back what it gets, and give its port."""

    async def serve(reader, writer):
        while data := await reader.read(1024):
            writer.write(data)
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        server.close()


@asynccontextmanager
async def through():
    async with echo() as port, Proxy(targets=[port]).running() as proxy:
        yield proxy


@asynccontextmanager
async def connected(proxy):
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def said(connection, words=b"hello"):
    """Say something and return what comes back, b"" when the connection ends first."""
    reader, writer = connection
    writer.write(words)
    try:
        return await reader.read(len(words))
    except ConnectionError:
        return b""


@pytest.mark.parametrize("trouble", ["stall", "slow", "narrow"])
async def test_what_is_held_up_arrives_over_the_same_connection(trouble):
    async with asyncio.timeout(10), through() as proxy, connected(proxy) as connection:
        assert await said(connection) == b"hello"
        suffering = asyncio.create_task(proxy.suffer(trouble, WHILE))
        await asyncio.sleep(0)
        began = time.monotonic()
        assert await said(connection, b"x" * 1024) == b"x" * 1024
        least = {"stall": WHILE / 2, "slow": SLOW_SECONDS, "narrow": 0.0}[trouble]
        assert time.monotonic() - began >= least
        await suffering
        assert await said(connection) == b"hello"


@pytest.mark.parametrize("trouble", ["cut", "refuse", "mute"])
async def test_a_connection_in_trouble_ends_without_an_answer_and_the_next_works(trouble):
    async with asyncio.timeout(10), through() as proxy, connected(proxy) as connection:
        assert await said(connection) == b"hello"
        suffering = asyncio.create_task(proxy.suffer(trouble, WHILE))
        await asyncio.sleep(0)
        assert await said(connection) == b""
        await suffering
        async with connected(proxy) as another:
            assert await said(another) == b"hello"


async def test_nobody_is_let_in_while_the_link_refuses():
    async with through() as proxy, asyncio.timeout(10):
        suffering = asyncio.create_task(proxy.suffer("refuse", WHILE))
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        await suffering


async def test_a_target_that_takes_no_connection_is_passed_over():
    async with echo() as port, Proxy(targets=[1, port]).running() as proxy:
        for _ in range(2):
            async with connected(proxy) as connection:
                assert await said(connection) == b"hello"
