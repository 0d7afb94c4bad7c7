import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from adapters.ndxp.client import (
    SERVICE_PATH,
    TOKEN_PATH,
    BrokenAnswer,
    Credentials,
    NdxpError,
    PopulationClient,
    Refused,
    Unavailable,
)
from adapters.ndxp.mapping import Asker
from adapters.ndxp.mock.__main__ import main
from adapters.ndxp.mock.faults import Faults, Rates
from adapters.ndxp.mock.registry import Entry
from adapters.ndxp.mock.server import Platform, started
from adapters.ndxp.mock.service import Rules
from adapters.ndxp.mock.tokens import Tokens

NAME, NUMBER = "NGUYỄN THỊ NGỌC ÁNH", "099165000123"
BODY = {"personalNumber": NUMBER, "fullName": NAME, "birthDate": "1965-05-12"}
CREDENTIALS = Credentials(key="bridge", secret="made up: \u0111")
ASKER = Asker(request_id="7", procedure="1.001612.000.00.00.H01", officer="cb-01", unit="H01.12")
ENTRY = Entry(name="NGUYENTHINGOCANH", birth="1965-05-12", deceased=False)
RULES = Rules(procedures=frozenset({ASKER.procedure}), officers=frozenset({ASKER.officer}))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class CountedTokens(Tokens):
    issued = 0

    def issue(self) -> str:
        self.issued += 1
        return super().issue()


def platform(clock: Callable[[], float], *, rates: Rates | None = None, rules: Rules = RULES) -> Platform:
    return Platform(
        registry={NUMBER: (ENTRY,)},
        rules=rules,
        credentials=CREDENTIALS,
        tokens=CountedTokens(lifetime=100.0, clock=clock),
        faults=Faults(rates or Rates(), seed=1),
    )


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@asynccontextmanager
async def running(mock: Platform) -> AsyncIterator[str]:
    runner, port = await started(mock, 0)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def client(session: aiohttp.ClientSession, address: str, **more: Any) -> PopulationClient:
    settings = {"clock": Clock(), "credentials": CREDENTIALS, "seconds": 5.0} | more
    return PopulationClient(session, address=address, **settings)


async def test_a_citizen_is_verified_with_one_token_for_many_questions(
    session: aiohttp.ClientSession,
) -> None:
    mock = platform(Clock())
    async with running(mock) as address:
        bridge = client(session, address)
        replies = await asyncio.gather(*(bridge.verify(BODY, ASKER) for _ in range(20)))
        assert replies == [{"result": "match"}] * 20
        wrong = await bridge.verify({**BODY, "birthDate": "1966"}, ASKER)
    assert wrong == {"result": "mismatch", "fields": ["birthDate"]}
    assert mock.tokens.issued == 1


async def test_a_token_is_renewed_before_it_expires(session: aiohttp.ClientSession) -> None:
    clock = Clock()
    mock = platform(clock)
    async with running(mock) as address:
        bridge = client(session, address, clock=clock)
        await bridge.verify(BODY, ASKER)
        clock.now += 89.0
        await bridge.verify(BODY, ASKER)
        assert mock.tokens.issued == 1
        clock.now += 1.0
        await bridge.verify(BODY, ASKER)
    assert mock.tokens.issued == 2


async def test_a_token_that_expired_early_is_renewed_once_for_all(session: aiohttp.ClientSession) -> None:
    platform_clock = Clock()
    mock = platform(platform_clock)
    async with running(mock) as address:
        bridge = client(session, address)
        await bridge.verify(BODY, ASKER)
        platform_clock.now += 101.0
        replies = await asyncio.gather(*(bridge.verify(BODY, ASKER) for _ in range(10)))
    assert replies == [{"result": "match"}] * 10
    assert mock.tokens.issued == 2


async def test_a_platform_that_never_accepts_its_token_refuses(session: aiohttp.ClientSession) -> None:
    mock = platform(Clock())
    object.__setattr__(mock, "tokens", CountedTokens(lifetime=0.0, clock=Clock()))
    async with running(mock) as address:
        with pytest.raises(Refused) as refused:
            await client(session, address).verify(BODY, ASKER)
    assert refused.value.code == "http-401"
    assert mock.tokens.issued == 2


async def test_wrong_credentials_are_refused(session: aiohttp.ClientSession) -> None:
    async with running(platform(Clock())) as address:
        bridge = client(session, address, credentials=Credentials(key="bridge", secret="guess"))
        with pytest.raises(Refused) as refused:
            await bridge.verify(BODY, ASKER)
    assert refused.value.code == "invalid_client"


async def test_an_officer_who_is_not_on_the_list_is_refused(session: aiohttp.ClientSession) -> None:
    rules = Rules(procedures=RULES.procedures, officers=frozenset())
    async with running(platform(Clock(), rules=rules)) as address:
        with pytest.raises(Refused) as refused:
            await client(session, address).verify(BODY, ASKER)
    assert refused.value.code == "OFFICER_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("rates", "error"),
    [
        (Rates(bad_gateway=1.0), Unavailable),
        (Rates(empty=1.0), BrokenAnswer),
        (Rates(delay=5.0), Unavailable),
    ],
)
async def test_a_failing_platform_is_told_apart(
    session: aiohttp.ClientSession, rates: Rates, error: type[NdxpError]
) -> None:
    async with running(platform(Clock(), rates=rates)) as address:
        with pytest.raises(error):
            await client(session, address, seconds=0.5).verify(BODY, ASKER)


async def test_a_platform_that_is_down_is_unavailable(session: aiohttp.ClientSession) -> None:
    async with running(platform(Clock())) as address:
        pass
    with pytest.raises(Unavailable):
        await client(session, address).verify(BODY, ASKER)


def responding(status: int, body: bytes) -> Callable[[web.Request], Any]:
    async def respond(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers={"Location": "/elsewhere"})

    return respond


TOKEN = (200, b'{"access_token":"t","expires_in":100}')


@pytest.mark.parametrize(
    ("token", "answer", "error"),
    [
        ((200, b""), TOKEN, BrokenAnswer),
        ((200, b"[]"), TOKEN, BrokenAnswer),
        ((200, b'{"access_token":"t","expires_in":"soon"}'), TOKEN, BrokenAnswer),
        ((503, b""), TOKEN, Unavailable),
        ((400, b"{}"), TOKEN, Refused),
        (TOKEN, (200, b"<html>" + b" " * 70_000), BrokenAnswer),
        (TOKEN, (200, b"<html></html>"), BrokenAnswer),
        (TOKEN, (302, b""), Unavailable),
        (TOKEN, (429, b""), Unavailable),
        (TOKEN, (403, b""), Refused),
    ],
)
async def test_whatever_a_platform_says_becomes_a_typed_error(
    session: aiohttp.ClientSession,
    token: tuple[int, bytes],
    answer: tuple[int, bytes],
    error: type[NdxpError],
) -> None:
    application = web.Application()
    application.router.add_post(TOKEN_PATH, responding(*token))
    application.router.add_post(SERVICE_PATH, responding(*answer))
    async with AsyncExitStack() as stack:
        runner = web.AppRunner(application)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        with pytest.raises(error) as raised:
            await client(session, address).verify(BODY, ASKER)
    told = repr(raised.value) + repr(raised.value.__cause__)
    assert not any(secret in told for secret in (NUMBER, NAME, "1965-05-12", CREDENTIALS.secret))


def test_secrets_stand_in_no_representation() -> None:
    assert CREDENTIALS.secret not in repr(CREDENTIALS)


@pytest.mark.parametrize("rates", [{"delay": -1}, {"empty": -0.1}, {"empty": 0.6, "bad_gateway": 0.6}])
def test_impossible_faults_are_refused(rates: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="shares"):
        Rates(**rates)


def test_the_same_seed_draws_the_same_mishaps() -> None:
    rates = Rates(bad_gateway=0.2, empty=0.2)
    draws = [[faults.draw() for _ in range(50)] for faults in (Faults(rates, 1), Faults(rates, 1))]
    assert draws[0] == draws[1]
    assert set(draws[0]) == {"none", "bad_gateway", "empty"}


def test_the_mock_lets_nobody_in_without_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--count", "1"], {"NDXP_CONSUMER_KEY": "bridge"}) == 2
    assert "NDXP_CONSUMER_SECRET" in capsys.readouterr().err


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


async def test_the_mock_runs_as_a_program_of_its_own(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    allowed = ["--allow-procedure", ASKER.procedure, "--allow-officer", ASKER.officer]
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "adapters.ndxp.mock", "--seed", "1", "--count", "20"),
        *("--port-file", str(port_file), *allowed),
        env={**os.environ, "NDXP_CONSUMER_KEY": CREDENTIALS.key, "NDXP_CONSUMER_SECRET": CREDENTIALS.secret},
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        port = (await program.stdout.readline()).decode().strip()
        reply = await client(session, f"http://127.0.0.1:{port}").verify(BODY, ASKER)
        program.send_signal(signal.SIGTERM)
        assert await program.wait() == 0
    assert reply == {"result": "not_found"}
    assert contents(tmp_path) == {"port": f"{port}\n"}
