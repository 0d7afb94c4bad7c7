"""The bridge and the platform over TLS: a pinned authority, our certificate there, and no way to do without the check."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web

from adapters.ndxp.adapter import Ndxp
from adapters.ndxp.client import TOKEN_PATH
from adapters.ndxp.connection import Connecting
from adapters.ndxp.mock.__main__ import main, tls_of
from lgsp.errors import Unusable
from lgsp.machine import SystemClock
from lgsp.sdk import AdapterManifest, NotReady
from lgsp.sdk.errors import ConfigInvalid
from lgsp.testing.authority import Authority, Pair

ACCOUNT = {"consumer_key": "bridge", "consumer_secret": "made up"}
HERE = ["127.0.0.1"]
MANIFEST = Path(__file__).parents[2] / "adapters/ndxp/adapter.toml"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("foreign"), "another authority")


def bridge(**stated: str | Path) -> Ndxp:
    """Return the adapter with these settings; it uses nothing of its client before a message comes."""
    manifest = AdapterManifest.load(MANIFEST)
    values = manifest.values({**ACCOUNT, **{name: str(value) for name, value in stated.items()}}, {})
    return Ndxp(client=SimpleNamespace(), manifest=manifest, settings=values)  # type: ignore[arg-type]


async def give_token(_request: web.Request) -> web.Response:
    return web.json_response({"access_token": "t", "expires_in": 60})


@asynccontextmanager
async def platform(pair: Pair, clients: Authority | None = None) -> AsyncIterator[str]:
    """Run a platform that gives everybody a token who gets as far as asking."""
    application = web.Application()
    application.router.add_post(TOKEN_PATH, give_token)
    runner = web.AppRunner(application)
    await runner.setup()
    tls = tls_of(pair.cert, pair.key, None if clients is None else clients.cert)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def is_let_in(address: str, **stated: str | Path) -> bool:
    adapter = bridge(address=address, **stated)
    try:
        await adapter.check()
    except NotReady:
        return False
    finally:
        await adapter.close()
    return True


async def test_the_bridge_believes_the_platform_that_its_authority_names(authority: Authority) -> None:
    async with platform(authority.sign("platform", addresses=HERE)) as address:
        assert await is_let_in(address, ca=authority.cert)
        assert not await is_let_in(address), "an authority that nobody named was believed"


@pytest.mark.parametrize("wrong", ["expired", "another host", "unknown authority"])
async def test_the_bridge_asks_nothing_of_a_platform_whose_certificate_is_wrong(
    authority: Authority, foreign: Authority, wrong: str
) -> None:
    yesterday = SystemClock().now() - timedelta(days=1)
    pairs = {
        "expired": authority.sign("expired", addresses=HERE, until=yesterday),
        "another host": authority.sign("elsewhere", hosts=["ndxp.example.vn"]),
        "unknown authority": foreign.sign("platform", addresses=HERE),
    }
    async with platform(pairs[wrong]) as address:
        assert not await is_let_in(address, ca=authority.cert)


async def test_a_platform_that_asks_for_it_is_shown_our_certificate(authority: Authority, foreign: Authority) -> None:
    own, strange = authority.sign("bridge"), foreign.sign("bridge")
    late = authority.sign("late", until=SystemClock().now() - timedelta(days=1))
    async with platform(authority.sign("platform", addresses=HERE), authority) as address:
        for shown, let_in in ((own, True), (strange, False), (late, False)):
            stated = {"ca": authority.cert, "certificate": shown.cert, "certificate_key": shown.key}
            assert await is_let_in(address, **stated) is let_in
        assert not await is_let_in(address, ca=authority.cert)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"address": "http://ndxp.example.vn"}, "address: takes http only to this machine itself"),
        ({"address": "ndxp.example.vn"}, "address: is not an address"),
        ({"address": "https://ndxp.example.vn", "certificate": "own.pem"}, "given together"),
        ({"address": "https://ndxp.example.vn", "certificate_key": "own.key"}, "given together"),
    ],
)
def test_settings_that_would_leave_the_check_out_are_refused(stated: Mapping[str, str], words: str) -> None:
    with pytest.raises(ConfigInvalid, match=words):
        bridge(**stated)


@pytest.mark.parametrize("name", ["ca", "certificate"])
async def test_a_file_that_holds_no_certificate_is_named(authority: Authority, name: str, tmp_path: Path) -> None:
    pair, none = authority.sign("bridge"), tmp_path / "none.pem"
    none.write_text("")
    stated = {"certificate": pair.cert, "certificate_key": pair.key} | {name: none}
    with pytest.raises(Unusable, match=rf"{name}: .*none\.pem") as refused:
        bridge(address="https://127.0.0.1:1", **stated)
    assert refused.value.code == "config_invalid"


async def test_whatever_the_settings_say_the_other_end_is_checked(authority: Authority) -> None:
    pair = authority.sign("bridge")
    files = {"ca": authority.cert, "certificate": pair.cert, "certificate_key": pair.key}
    for names in ((), ("ca",), ("certificate", "certificate_key"), tuple(files)):
        manifest = AdapterManifest.load(MANIFEST)
        given = {"address": "https://127.0.0.1:1", **ACCOUNT, **{name: str(files[name]) for name in names}}
        async with Connecting.of(manifest.values(given, {})).session(1) as session:
            assert session.connector is not None
            context = session.connector._ssl  # type: ignore[attr-defined]
            if context is not True:  # aiohttp's word for the authorities of this machine
                assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_the_mock_says_which_certificate_does_not_fit(
    authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = authority.sign("platform", addresses=HERE)
    account = {"NDXP_CONSUMER_KEY": "bridge", "NDXP_CONSUMER_SECRET": "made up"}
    arguments = ["--count", "1", "--tls", "0", str(pair.cert), str(pair.key), "--client-ca", str(tmp_path / "none.pem")]
    assert main(arguments, account) == 2
    assert "--tls" in capsys.readouterr().err
