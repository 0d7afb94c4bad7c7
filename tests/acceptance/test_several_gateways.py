"""A second gateway joins by command, and finishes what the first one held when that is killed and never comes back."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import time
from datetime import timedelta

import aiohttp
import psutil
import pytest

from lgsp import keyfiles
from lgsp.domain import envelope, statements
from lgsp.machine import SystemClock, SystemEntropy

pytestmark = pytest.mark.timeout(240)

BUS = "urn:lgsp:bus:91"
ASKER = "urn:lgsp:agency:H01.99:sys:asker"
ANSWERER = "urn:lgsp:agency:H01.99:sys:answerer"
ASK = "vn.lgsp.examples.record.ask.v1"
SCHEMA = "urn:lgsp:schema:examples:record:1.0.0"
RECORD = json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA, "type": "object"})
PROVINCE = f"""
[[agency]]
id = "H01.99"
[[system]]
id = "H01.99/asker"
[[system]]
id = "H01.99/answerer"
consumes = ["{ASK}"]
[[schema]]
id = "{SCHEMA}"
file = "record.json"
[[service]]
id = "{ASK}"
name = "Ask for a record"
schemas = ["{SCHEMA}"]
reply_schemas = ["{SCHEMA}"]
[[grant]]
id = "ask"
grantee = "H01.99/asker"
type = "{ASK}"
audience = "H01.99/answerer"
basis = "a test"
[[key]]
owner = "H01.99/asker"
role = "system"
file = "asker/key.jwk"
[[key]]
owner = "H01.99/answerer"
role = "system"
file = "answerer/key.jwk"
"""


@pytest.fixture(params=["embedded"])
def carrier(request):
    """The address of the broker, where there is one."""
    return request.getfixturevalue("rabbitmq").url if request.param == "rabbitmq" else ""


@pytest.fixture
def engines(database, carrier):
    """The settings that the environment gives."""
    return {"LGSP_STORAGE__URL": database} | ({"LGSP_TRANSPORT__URL": carrier} if carrier else {})


@pytest.fixture
def joined(tmp_path, lgsp, engines, carrier, monkeypatch):
    """The data folders of two gateways on one database, and two systems."""
    for name, value in engines.items():
        monkeypatch.setenv(name, value)
    data = tmp_path / "a"
    chosen = ("--storage", "postgresql", "--transport", "rabbitmq" if carrier else "embedded")
    assert lgsp("init", "--data", data, "--origin", "lgsp.example.vn/91/2026", *chosen).code == 0
    for name in ("asker", "answerer"):
        made = lgsp("system", "new", f"H01.99/{name}", "--data", data, "--out", tmp_path / name)
        assert made.code == 0, made.err
    (tmp_path / "record.json").write_text(RECORD)
    (tmp_path / "province.toml").write_text(PROVINCE)
    applied = lgsp("directory", "apply", tmp_path / "province.toml", "--data", data)
    assert applied.code == 0, applied.err
    made = lgsp("gateway", "new", "b", "--data", data, "--out", tmp_path / "b", "--reason", "a second gateway")
    assert made.code == 0, made.err
    assert "+ key" in made.out
    return tmp_path


@pytest.fixture
def serve(start, joined, engines):
    """Start the gateway of a folder in a process of its own; give the process and its address."""

    runs = []

    def served(name, *options):
        address = joined / f"{name}.address"
        run = start(
            *("serve", "--data", str(joined / name), "--port", "0", "--port-file", str(address), *options),
            cwd=joined,
            **engines,
        )
        runs.append(run)
        until = time.monotonic() + 60
        while not address.exists():
            assert run.process.poll() is None, run.process.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.05)
        return run, address.read_text().strip()

    yield served
    for run in runs:  # the database is the next test's
        if run.process.poll() is None:
            run.process.send_signal(signal.SIGTERM)
            run.end()


class System:
    """One of the two systems, at any gateway."""

    def __init__(self, folder, urn, session):
        self.key, self.urn, self.session = keyfiles.read_private(folder / "key.pem"), urn, session

    def envelope(self):
        now = SystemClock().now()
        stated = {
            "specversion": "1.0", "id": SystemEntropy().uuid7(), "source": self.urn, "type": ASK, "time": envelope.format_time(now),
            "recordedtime": envelope.format_time(now), "expirytime": envelope.format_time(now + timedelta(minutes=10)),
            "audience": ANSWERER, "datacontenttype": "application/json", "dataschema": SCHEMA, "dataclassification": "internal",
        }  # fmt: skip
        return envelope.sign(stated, b"{}", self.key)

    async def post(self, url, wire):
        headers = {"lgsp-env": wire.compact.decode(), "Content-Type": "application/json"}
        async with self.session.post(f"{url}/v1/envelopes", data=wire.body, headers=headers) as answer:
            return answer.status, await answer.read()

    async def call(self, url, method, path, body=b""):
        auth = statements.sign_auth(
            signer=self.key, iss=self.urn, aud=BUS, method=method, path=path, body=body,
            at=SystemClock().now(), jti=SystemEntropy().uuid7(),
        )  # fmt: skip
        headers = {"Authorization": f"LGSP {auth}"}
        async with self.session.request(method, url + path, data=body or None, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


@pytest.mark.parametrize("carrier", ["embedded", "rabbitmq"], indirect=True)
async def test_what_a_gateway_held_that_was_killed_for_ever_is_finished_by_the_other(joined, serve, lgsp):
    (killed, first), (_, second) = serve("a"), serve("b")
    limit = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=limit) as session:
        asker, answerer = System(joined / "asker", ASKER, session), System(joined / "answerer", ANSWERER, session)
        sent = [asker.envelope() for _ in range(30)]
        answers = await asyncio.gather(*(asker.post(first, wire) for wire in sent))
        assert {status for status, _ in answers} == {202}
        held = (await answerer.call(first, "GET", "/v1/inbox?max=20&wait=20"))["items"]
        assert len(held) == 20
        os.kill(killed.process.pid, signal.SIGKILL)
        died = time.monotonic()
        assert (await asyncio.to_thread(killed.end))[0] == -signal.SIGKILL
        found = {}
        async with asyncio.timeout(40):
            while len(found) < 30:
                for item in (await answerer.call(second, "GET", "/v1/inbox?max=30&wait=10"))["items"]:
                    found[envelope.from_structured(item["envelope"]).hash] = item["attempt"]
        assert time.monotonic() - died < 15
        assert found == {wire.hash: 1 for wire in sent}  # no attempt was counted
        # The first receipts, byte for byte, from the gateway that did not give them.
        assert await asyncio.gather(*(asker.post(second, wire) for wire in sent)) == answers
    verified = await asyncio.to_thread(lgsp, "audit", "verify", "--data", joined / "b")
    assert verified.code == 0, verified.err


def test_joining_is_done_once_and_a_gateway_that_the_directory_does_not_know_does_not_begin(joined, lgsp):
    again = lgsp("gateway", "new", "b", "--data", joined / "a", "--out", joined / "b")
    assert again.code == 0
    assert "nothing to change" in again.err
    other = lgsp("gateway", "new", "b", "--data", joined / "a", "--out", joined / "asker")
    assert (other.code, "file_exists" in other.err) == (2, True)
    own = lgsp("gateway", "new", "a", "--data", joined / "a", "--out", joined / "x")
    assert (own.code, "config_invalid" in own.err) == (2, True)
    (joined / "a" / "registrar" / "registrar.pem").rename(joined / "registrar.pem")
    made = lgsp("gateway", "new", "c", "--data", joined / "a", "--out", joined / "c")
    assert made.code == 0
    assert "lgsp gateway add c gateway.jwk" in made.err
    begun = lgsp("serve", "--data", joined / "c", "--port", "0")
    assert (begun.code, "gateway_unknown" in begun.err) == (2, True)
    given = ("--data", joined / "a", "--registrar", joined / "registrar.pem")
    added = lgsp("gateway", "add", "c", joined / "c" / "gateway.jwk", *given)
    assert added.code == 0, added.err
    told = lgsp("doctor", "--data", joined / "c")
    assert "not a key of" not in told.out


def test_a_ledger_in_a_file_has_no_second_gateway(data, lgsp):
    refused = lgsp("gateway", "new", "b", "--data", data, "--out", data.parent / "b")
    assert (refused.code, "one_gateway_only" in refused.err) == (2, True)


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """A made-up service manager that listens."""
    place = f"lgsp-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(f"\0{place}")
        door.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{place}")
        yield door


async def test_workers_share_a_port_and_one_that_dies_is_started_again(joined, serve, lgsp, manager):
    run, url = serve("b", "--workers", "2")
    assert manager.recv(64) == b"READY=1"
    parent = psutil.Process(run.process.pid)
    first, second = sorted(parent.children(), key=lambda child: child.create_time())
    limit = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=limit) as session:
        asker, answerer = System(joined / "asker", ASKER, session), System(joined / "answerer", ANSWERER, session)
        sent = [asker.envelope() for _ in range(10)]
        assert {status for status, _ in await asyncio.gather(*(asker.post(url, wire) for wire in sent))} == {202}
        held = (await answerer.call(url, "GET", "/v1/inbox?max=5&wait=20"))["items"]
        assert held
        assert figure(await text_of(session, url), "lgsp_envelopes_total", 'outcome="accepted"') == {"0", "1"}
        first.kill()
        second.kill()
        found = set()
        async with asyncio.timeout(60):
            while len(found) < len(sent):
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    for item in (await answerer.call(url, "GET", "/v1/inbox?max=10&wait=2"))["items"]:
                        found.add(envelope.from_structured(item["envelope"]).hash)
                await asyncio.sleep(0.2)
        assert found == {wire.hash for wire in sent}
    asked = await asyncio.to_thread(lgsp, "status", "--data", joined / "b")
    assert asked.code == 0, asked.err
    run.process.send_signal(signal.SIGTERM)
    code, _, err = await asyncio.to_thread(run.end)
    assert code == 0, err
    assert not parent.is_running() or parent.status() == psutil.STATUS_ZOMBIE
    assert err.count("gateway.stopped") == 2
    assert manager.recv(64) == b"STOPPING=1"


async def send_until_stopped(sender, url, told):
    """Post one envelope after the other until the worker that was reached says no, or takes no connection any more."""
    with contextlib.suppress(aiohttp.ClientConnectionError):
        while True:
            wire = sender.envelope()
            status, said = await sender.post(url, wire)
            told[wire.hash] = status, json.loads(said).get("code", "")
            if status != 202:
                return


async def test_workers_that_are_told_to_stop_under_load_have_answered_whatever_they_accepted(joined, serve, entries_of):
    run, url = serve("b", "--workers", "2")
    limit, told = aiohttp.ClientTimeout(total=60), {}
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(60), asyncio.TaskGroup() as senders:
        for _ in range(8):  # a connection each, which the machine gives to either worker
            session = await stack.enter_async_context(aiohttp.ClientSession(timeout=limit))
            senders.create_task(send_until_stopped(System(joined / "asker", ASKER, session), url, told))
        while len(told) < 100:
            await asyncio.sleep(0.005)
        began = time.monotonic()
        run.process.send_signal(signal.SIGTERM)
    code, _, said = await asyncio.to_thread(run.end)
    assert (code, time.monotonic() - began < 20) == (0, True), said
    assert (said.count("gateway.draining"), said.count("gateway.stopped")) == (2, 2), said
    assert set(told.values()) <= {(202, ""), (503, "draining")}
    entries = [entry for entry in await entries_of(joined / "b") if entry["ev"] == "msg.accepted"]
    assert {entry["env"] for entry in entries} == {env for env, (status, _) in told.items() if status == 202}
    assert len(entries) >= 100


async def text_of(session, url):
    async with session.get(f"{url}/metrics") as answer:
        return await answer.text()


def figure(text, name, label):
    """Return the workers for which a figure is told."""
    return {
        re.search('worker="([^"]*)"', line)[1] for line in text.splitlines() if line.startswith(name) and label in line
    }


def test_workers_on_a_ledger_in_a_file_are_refused(data, lgsp):
    refused = lgsp("serve", "--data", data, "--workers", "2")
    assert (refused.code, "one_gateway_only" in refused.err) == (2, True)
