"""TLS with a private authority: whom a client believes, whom a gateway believes, and certificates that change under open streams."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import pytest
import structlog
from cryptography import x509

from lgsp.backends.memory import MemoryLedger
from lgsp.domain import envelope, strictjson
from lgsp.errors import Unusable
from lgsp.http.certificates import Certificates, TlsFiles
from lgsp.http.server import serve
from lgsp.machine import SystemClock, SystemEntropy
from lgsp.sdk import Client, Refused, Unreachable
from lgsp.testing.authority import Authority
from lgsp.testing.bus import running_bus
from lgsp.testing.edge import behind_edge
from lgsp.testing.systems import running_town
from lgsp.testing.world import FISHERIES, NDXP, OFFICER, VERIFICATION, VERIFY, World
from lgsp.tls import trusting

DAY = timedelta(days=1)
HERE = ["127.0.0.1"]
FORM = {"Content-Type": envelope.MEDIA_TYPE}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    return Authority.make(tmp_path_factory.mktemp("foreign"), "another authority")


@pytest.fixture(scope="module")
def pair(authority):
    return authority.sign("gateway", addresses=HERE)


@pytest.fixture
async def bus():
    world = World.make(now=SystemClock().now())
    async with running_bus(world, MemoryLedger(), clock=SystemClock(), entropy=SystemEntropy()) as running:
        yield world, running


def looking(pair, authority, *, demand=False, **other):
    """Return a gateway's certificates that look at those of clients."""
    return Certificates(TlsFiles(cert=pair.cert, key=pair.key, client_ca=authority.cert, demand=demand, **other))


@asynccontextmanager
async def connected(bus, tls, authority, client=None):
    """Put an edge before the bus, with a client that shows this pair."""
    shown = {} if client is None else {"certificate": client.cert, "key": client.key}
    async with behind_edge(*bus, tls=tls, trusting=trusting(authority.cert, **shown)) as edge:
        yield edge


# --- whom a client believes --------------------------------------------------------------------------------------------------------


async def test_a_client_believes_the_gateway_that_its_authority_names(bus, authority, pair):
    tls = Certificates(TlsFiles(cert=pair.cert, key=pair.key))
    async with connected(bus, tls, authority) as edge:
        assert (await edge.call("GET", "/healthz")).status == 200


async def test_a_client_does_not_speak_with_a_gateway_whose_certificate_is_wrong(bus, authority, foreign):
    wrong = {
        "expired": authority.sign("expired", addresses=HERE, until=SystemClock().now() - DAY),
        "another host": authority.sign("elsewhere", hosts=["elsewhere.example.vn"]),
        "unknown authority": foreign.sign("gateway", addresses=HERE),
    }
    for name, pair in wrong.items():
        async with connected(bus, Certificates(TlsFiles(cert=pair.cert, key=pair.key)), authority) as edge:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                raise AssertionError(f"{name}: {(await edge.call('GET', '/healthz')).status}")


async def test_tls_1_2_is_spoken_only_where_the_settings_allow_it(bus, authority, pair):
    old = trusting(authority.cert)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    strict, lenient = (Certificates(TlsFiles(cert=pair.cert, key=pair.key, oldest=each)) for each in ("1.3", "1.2"))
    async with behind_edge(*bus, tls=strict, trusting=old) as edge:
        with pytest.raises(aiohttp.ClientConnectorError):
            await edge.call("GET", "/healthz")
    async with behind_edge(*bus, tls=lenient, trusting=old) as edge:
        assert (await edge.call("GET", "/healthz")).status == 200


# --- whom a gateway believes -------------------------------------------------------------------------------------------------------


async def test_a_client_whose_certificate_is_bound_to_it_does_all_that_it_may(bus, authority, pair):
    world, _ = bus
    own = authority.sign("fisheries", uris=[FISHERIES])
    async with connected(bus, looking(pair, authority, demand=True), authority, own) as edge:
        assert (await edge.call("GET", "/v1/inbox", signer="fisheries")).status == 200
        assert (await edge.post(world.envelope(number=1))).status == 202
        async with edge.stream("fisheries") as stream:
            await stream.send(1, world.envelope(number=2))
            assert (await stream.receive("receipt", "refused"))["op"] == "receipt"


async def test_a_certificate_of_another_system_opens_nothing(bus, authority, pair):
    world, running = bus
    other = authority.sign("ndxp", uris=[NDXP])
    async with connected(bus, looking(pair, authority), authority, other) as edge:
        for refused in (
            await edge.call("GET", "/v1/inbox", signer="fisheries"),
            await edge.post(world.envelope()),
            await edge.post_structured(world.envelope()),
            await edge.call("POST", "/v1/check", body=strictjson.compact(world.envelope().structured()), headers=FORM),
            await edge.call("GET", "/admin/status", signer="officer"),
        ):
            assert (refused.status, refused.code) == (403, "certificate_mismatch")
        async with edge.stream("fisheries") as stream:
            assert (await stream.closing())["reason"] == "certificate_mismatch"
        async with edge.stream("ndxp") as stream:
            await stream.send(1, world.envelope())
            answer = await stream.receive("receipt", "refused")
            assert (answer["op"], answer["problem"]["code"]) == ("refused", "certificate_mismatch")
        assert (await edge.call("GET", "/healthz")).status == 200
    assert running.refusals.total["certificate_mismatch"] == 7
    accepted = [entry for entry in await running.ledger.entries(0, await running.ledger.size()) if b"msg." in entry]
    assert accepted == []


async def test_a_certificate_without_a_urn_is_nobodys(bus, authority, pair):
    nameless = authority.sign("nameless", hosts=["fisheries.example.vn"], uris=["https://fisheries.example.vn"])
    async with connected(bus, looking(pair, authority), authority, nameless) as edge:
        refused = await edge.call("GET", "/v1/inbox", signer="fisheries")
        assert (refused.status, refused.code) == (403, "certificate_mismatch")


async def test_one_certificate_may_name_several_of_one_machine(bus, authority, pair):
    several = authority.sign("machine", uris=[FISHERIES, NDXP, OFFICER])
    async with connected(bus, looking(pair, authority), authority, several) as edge:
        for signer in ("fisheries", "ndxp"):
            assert (await edge.call("GET", "/v1/inbox", signer=signer)).status == 200


async def test_without_a_certificate_systems_are_refused_only_where_it_is_demanded(bus, authority, pair):
    world, _ = bus
    async with connected(bus, looking(pair, authority), authority) as edge:
        assert (await edge.call("GET", "/v1/inbox", signer="fisheries")).status == 200
    async with connected(bus, looking(pair, authority, demand=True), authority) as edge:
        refused = await edge.call("GET", "/v1/inbox", signer="fisheries")
        assert (refused.status, refused.code) == (403, "certificate_missing")
        assert (await edge.post(world.envelope())).code == "certificate_missing"
        async with edge.stream("fisheries") as stream:
            assert (await stream.closing())["reason"] == "certificate_missing"


async def test_officers_probes_and_public_proofs_need_no_certificate(bus, authority, pair):
    async with connected(bus, looking(pair, authority, demand=True), authority) as edge:
        assert [(await edge.call("GET", path)).status for path in ("/healthz", "/metrics")] == [200, 200]
        officer = await edge.call("GET", "/v1/audit/entries", signer="officer")
        assert officer.members.get("code") != "certificate_missing"


async def test_a_client_whose_certificate_is_wrong_gets_no_connection(bus, authority, foreign, pair):
    expired = authority.sign("late", uris=[FISHERIES], until=SystemClock().now() - DAY)
    for wrong in (expired, foreign.sign("fisheries", uris=[FISHERIES])):
        async with connected(bus, looking(pair, authority), authority, wrong) as edge:
            with pytest.raises(aiohttp.ClientError):
                await edge.call("GET", "/healthz")


async def test_the_sdk_shows_the_certificate_of_its_settings(authority, pair, tmp_path):
    own, other = authority.sign("own", uris=[FISHERIES]), authority.sign("other", uris=[NDXP])
    async with running_town(tmp_path, MemoryLedger()) as town:
        server = await serve(town.bus, host="127.0.0.1", port=0, tls=looking(pair, authority, demand=True))
        far = {"url": server.url, "ca": authority.cert}
        shown = far | {"certificate": own.cert, "certificate_key": own.key}
        async with Client.open(town.settings("fisheries", **shown)) as client:
            assert (await client.send(VERIFY, **VERIFICATION)).receipt is not None
        foreign = far | {"certificate": other.cert, "certificate_key": other.key}
        with pytest.raises(Refused) as refused:
            async with Client.open(town.settings("fisheries", **foreign), connect_within=2):
                raise AssertionError("it was let in")
        assert refused.value.code == "certificate_mismatch"
        with pytest.raises(Unreachable):
            async with Client.open(town.settings("fisheries", url=server.url), connect_within=0.5):
                raise AssertionError("it believed an authority that nobody named")
        await server.close()


# --- certificates that change ------------------------------------------------------------------------------------------------------


async def shown_by(edge, authority):
    """Return the serial number of the certificate that a new connection is shown."""
    context = trusting(authority.cert)
    _, writer = await asyncio.open_connection("127.0.0.1", edge.running.port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(der).serial_number


def serial(pair):
    return x509.load_pem_x509_certificate(pair.cert.read_bytes()).serial_number


async def figures(edge):
    lines = (await edge.call("GET", "/metrics")).body.decode().splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if line.startswith("lgsp_tls_"))
    return float(found["lgsp_tls_certificate_days"]), float(found["lgsp_tls_certificate_stale"])


async def test_new_handshakes_take_a_new_certificate_and_open_streams_stay(bus, authority):
    first = authority.sign("changing", addresses=HERE, until=SystemClock().now() + 20 * DAY)
    tls, old = looking(first, authority), serial(first)
    async with connected(bus, tls, authority) as edge, edge.stream("ndxp") as stream:
        assert await shown_by(edge, authority) == old
        days, stale = await figures(edge)
        assert (19.9 < days < 20, stale) == (True, 0)
        second = authority.sign("changing", addresses=HERE)
        with structlog.testing.capture_logs() as logs:
            tls.refresh(SystemClock().now())
        assert [line["event"] for line in logs] == ["tls.renewed"]
        assert await shown_by(edge, authority) == serial(second) != old
        await stream.put(op="ping")
        assert (await stream.receive("pong"))["op"] == "pong"
        days, stale = await figures(edge)
        assert (89.9 < days < 90, stale) == (True, 0)


async def test_a_change_is_noticed_without_being_told_and_at_once_when_told(bus, authority):
    first = authority.sign("watched", addresses=HERE)
    tls = looking(first, authority)
    async with connected(bus, tls, authority) as edge, asyncio.TaskGroup() as tasks:
        for every, told in ((0.01, False), (600, True)):
            watching = tasks.create_task(tls.keep_fresh(SystemClock(), every))
            changed = authority.sign("watched", addresses=HERE)
            if told:
                tls.ask()
            async with asyncio.timeout(10):
                while await shown_by(edge, authority) != serial(changed):
                    await asyncio.sleep(0.01)
            watching.cancel()


async def test_files_that_cannot_be_used_leave_the_certificate_before_in_its_place(bus, authority, tmp_path):
    own = Authority.make(tmp_path / "own")
    first = authority.sign("kept", addresses=HERE)
    tls, held = looking(first, own), serial(first)
    breaking = {
        "no certificate": lambda: first.cert.write_text("no certificate\n"),
        "key of another": lambda: first.key.write_bytes(authority.sign("another").key.read_bytes()),
        "gone": first.cert.unlink,
        "expired": lambda: authority.sign("kept", addresses=HERE, until=SystemClock().now() - DAY),
        "no authority": lambda: own.cert.write_text(""),
    }
    async with connected(bus, tls, authority) as edge:
        for name, break_ in breaking.items():
            break_()
            with structlog.testing.capture_logs() as logs:
                for _ in range(3):
                    tls.refresh(SystemClock().now())
            assert [(line["event"], line["log_level"]) for line in logs] == [("tls.kept", "warning")], name
            assert (await shown_by(edge, authority), (await figures(edge))[1]) == (held, 1), name
            whole = authority.sign("kept", addresses=HERE)
            own.cert.write_bytes(authority.cert.read_bytes())
            tls.refresh(SystemClock().now())
            held = serial(whole)
            assert (await shown_by(edge, authority), (await figures(edge))[1]) == (held, 0), name


async def test_clients_of_an_authority_that_was_replaced_get_no_connection(bus, authority, pair, tmp_path):
    trusted, own = tmp_path / "clients.pem", authority.sign("replaced", uris=[FISHERIES])
    trusted.write_bytes(authority.cert.read_bytes())
    tls = Certificates(TlsFiles(cert=pair.cert, key=pair.key, client_ca=trusted, demand=True))
    async with connected(bus, tls, authority, own) as edge:
        assert (await edge.call("GET", "/v1/inbox", signer="fisheries")).status == 200
        trusted.write_bytes(Authority.make(tmp_path / "next").cert.read_bytes())
        tls.refresh(SystemClock().now())
    async with connected(bus, tls, authority, own) as edge:
        with pytest.raises(aiohttp.ClientError):
            await edge.call("GET", "/v1/inbox", signer="fisheries")


@pytest.mark.parametrize("missing", ["cert", "key", "client_ca"])
def test_a_gateway_does_not_begin_with_files_that_cannot_be_used(authority, pair, tmp_path, missing):
    stated = {"cert": pair.cert, "key": pair.key, "client_ca": authority.cert} | {missing: tmp_path / "nowhere.pem"}
    with pytest.raises(Unusable, match=r"http\.(tls_cert|client_ca)") as refused:
        Certificates(TlsFiles(**stated))
    assert refused.value.code == "config_invalid"
