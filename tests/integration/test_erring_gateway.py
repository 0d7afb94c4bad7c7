"""A gateway that errs, as a client sees it: streams that break off or speak nonsense, answers that are none."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
import structlog
from aiohttp import web

from lgsp.backends.memory import MemoryLedger
from lgsp.http import frames
from lgsp.machine import SystemClock
from lgsp.sdk import Client, Refused, Surroundings, Unreachable
from lgsp.sdk.gateway import Gateway
from lgsp.sdk.stream import Pace, Stream
from lgsp.testing.systems import running_town
from lgsp.testing.world import FISHERIES, VERIFICATION, VERIFY

ENV = "sha-256:" + "A" * 43


@asynccontextmanager
async def listening(path, handle):
    """Answer GET and POST to a path on loopback by `handle`, and give the address."""
    app = web.Application()
    app.router.add_route("*", path, handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


# --- streams -----------------------------------------------------------------------------------------------------------------------


async def say_nothing(ws):
    await ws.receive()


async def greet_oddly(ws):
    await ws.send_str('{"op":"welcome","nonce":"n","max_inflight":0,"now":"2026-11-22T00:16:31.123Z"}')
    await ws.receive()


def greeting(*said, binary=None):
    """Greet as a gateway does, say these frames, and wait for the other end to hang up; close where nothing is said."""

    async def script(ws):
        now = SystemClock().now()
        await ws.send_str(frames.welcome(nonce="0199a1f2-7b1c-7000-8000-000000000001", max_inflight=8, now=now))
        await ws.receive()
        await ws.receive()
        await ws.send_str(frames.pong(now))
        for frame in said:
            await ws.send_str(frame)
        if binary is not None:
            await ws.send_bytes(binary)
        if said or binary is not None:
            await ws.receive()

    return script


ERRING = {
    "says welcome and takes nothing": (greet_oddly, "BadFrame"),
    "closes without a word": (greeting(), "closed"),
    "sends no text": (greeting(binary=b"{}"), "closed"),
    "sends a frame beyond all bounds": (greeting('{"op":"' + "x" * 40_000 + '"}'), "broken"),
    "sends half a frame": (greeting('{"op":'), "not strict JSON"),
    "sends a frame without op": (greeting("{}"), "a frame has no op"),
    "delivers nothing": (greeting('{"op":"deliver","attempt":1}'), "a delivery without envelope"),
    "refuses without a problem": (greeting('{"op":"refused","ref":"1"}'), "a refusal without problem"),
}


@asynccontextmanager
async def streaming(script):
    async def stream(request):
        ws = web.WebSocketResponse(protocols=("lgsp.v1",))
        await ws.prepare(request)
        await script(ws)
        return ws

    async with listening("/v1/stream", stream) as url:
        yield url


@pytest.fixture
async def town(tmp_path, monkeypatch):
    monkeypatch.setattr("lgsp.sdk.joining.DIRECTORY_PAUSE", 0.01)
    async with running_town(tmp_path, MemoryLedger()) as running:
        yield running


def reasons(events):
    return [event["reason"] for event in events if event["event"] == "client.disconnected"]


async def passed(town, *scripts, **pace):
    """Return why a client leaves gateways that keep to these scripts, before it comes to one that does not err."""
    around = Surroundings(pace=Pace(first=0.01, longest=0.02, **pace))
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(streaming(script)) for script in scripts]
        settings = town.settings("fisheries", url=urls[0], other_urls=[*urls[1:], town.server.url])
        with structlog.testing.capture_logs() as events:
            async with Client.open(settings, connect_within=30, around=around) as client:
                assert (await client.send(VERIFY, **VERIFICATION)).state == "receipted"
    found = [event["reason"] for event in events if event["event"] == "client.disconnected"]
    return found[: len(scripts)]


async def test_gateways_that_err_are_passed_by_until_there_is_one_that_does_not(town, monkeypatch):
    monkeypatch.setattr("lgsp.sdk.stream.LARGEST_FRAME", 32_768)
    assert await passed(town, *(script for script, _ in ERRING.values())) == [reason for _, reason in ERRING.values()]


async def test_a_gateway_that_never_says_welcome_is_passed_by(town):
    assert await passed(town, say_nothing, connect=0.3) == ["TimeoutError"]


async def test_a_gateway_that_falls_silent_is_left_for_the_next(town):
    async def fall_silent(ws):
        await greeting('{"op":"pong"}')(ws)
        while not ws.closed:  # whatever is said to it
            await ws.receive()

    assert await passed(town, fall_silent, ping=0.05, silence=0.3) == ["silence"]


class Listening:
    """A listener that takes whatever comes."""

    def opened(self, welcome):
        """Nothing is due."""

    def closed(self):
        """Nothing is taken back."""

    def ended(self, url, ended):
        """Nobody waits."""

    async def hear(self, found):
        """Nobody is told."""


async def test_whoever_is_called_off_while_a_stream_is_ending_is_called_off(monkeypatch):
    """Python 3.11 drops a cancellation that meets a group which is ending already."""
    begun, ending, let_go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def close_then(ws):
        await greeting()(ws)
        await begun.wait()

    async def slow_to_end(_self, _socket):
        begun.set()
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                ending.set()

    monkeypatch.setattr(Stream, "_write", slow_to_end)
    async with streaming(close_then) as url, aiohttp.ClientSession() as http, asyncio.timeout(10):
        given = {"urls": [url], "system": FISHERIES, "http": http, "authorize": lambda welcome: "", "pace": Pace()}
        running = asyncio.create_task(Stream(**given, listener=Listening(), chance=lambda: 0.5).run())
        await ending.wait()
        running.cancel()
        await asyncio.sleep(0)
        let_go.set()
        await asyncio.wait([running])
    assert running.cancelled()


# --- plain calls -------------------------------------------------------------------------------------------------------------------


def problem(code, *, retryable=False):
    return json.dumps({"type": "about:blank", "title": "no", "code": code, "retryable": retryable}).encode()


def directory(**members):
    return json.dumps({"version": 1, "statement": "{}", "records": ["{}"]} | members).encode()


NOT_FOUND = (404, problem("not_found"))
STRANGE = (502, b"<html>Bad Gateway</html>")
CUT = (0, b"")
CALLS = {
    "directory": lambda gateway: gateway.directory(1),
    "knows": lambda gateway: gateway.knows(ENV, "authorization"),
    "evidence": lambda gateway: gateway.evidence(ENV, "authorization", b"{}"),
}
REFUSED = [
    ("directory", (503, problem("unavailable", retryable=True)), "unavailable", True),
    ("directory", (200, directory(version="1")), "directory_invalid", False),
    ("directory", (200, directory(records=[{}])), "directory_invalid", False),
    ("directory", (200, b" " * 5_000), "too_large", False),
    ("knows", (403, problem("auth_invalid")), "auth_invalid", False),
    ("evidence", NOT_FOUND, "not_found", False),
]


@asynccontextmanager
async def answering(status, body):
    """Answer every call like this, or cut the connection where the status is 0."""

    async def handle(request):
        if not status:
            request.transport.abort()
        return web.Response(status=status or 200, body=body)

    async with listening("/v1/{call:.*}", handle) as url, aiohttp.ClientSession() as http:
        yield Gateway(url=lambda: url, http=http)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("answer", [STRANGE, CUT])
async def test_what_no_gateway_says_counts_as_no_answer(call, answer):
    async with answering(*answer) as gateway:
        with pytest.raises(Unreachable):
            await CALLS[call](gateway)


@pytest.mark.parametrize(("call", "answer", "code", "retryable"), REFUSED)
async def test_a_no_is_told_with_its_code(monkeypatch, call, answer, code, retryable):
    monkeypatch.setattr("lgsp.sdk.gateway.LARGEST", 4_096)
    async with answering(*answer) as gateway:
        with pytest.raises(Refused) as caught:
            await CALLS[call](gateway)
    assert (caught.value.code, caught.value.retryable) == (code, retryable)


async def test_what_the_gateway_does_not_find_it_does_not_know():
    async with answering(*NOT_FOUND) as gateway:
        assert not await gateway.knows(ENV, "authorization")
    async with answering(200, b"{}") as gateway:
        assert await gateway.knows(ENV, "authorization")


async def test_a_directory_and_a_bundle_are_given_as_they_came():
    async with answering(200, directory()) as gateway:
        assert (await gateway.directory(None)).records == (b"{}",)
    async with answering(200, b"a bundle") as gateway:
        assert await gateway.evidence(ENV, "authorization", b"") == b"a bundle"


async def test_a_directory_that_cannot_be_had_is_asked_for_again(town):
    """Something in between answers in the gateway's place for a moment."""
    asked = []

    async def forward(request):
        asked.append(request.path)
        if len(asked) == 1:
            return web.Response(status=502, body=b"<html>")
        async with aiohttp.ClientSession() as http, http.get(town.server.url + request.path_qs) as answer:
            return web.Response(status=answer.status, body=await answer.read())

    async with (
        listening("/v1/directory", forward) as url,
        Client.open(town.settings("fisheries"), connect_within=None) as client,
    ):
        client._gateway._url = lambda: url
        with structlog.testing.capture_logs() as events:
            await client.ready(10)
        assert client.directory.version == 1
    assert [event["code"] for event in events if event["event"] == "client.refused"] == ["unavailable"]
    assert len(asked) == 2
