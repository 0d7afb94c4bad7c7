"""`lgsp serve` with the mock national platform as its witness, each a process of its own; and `lgsp log reopen` after a roll-back."""

import asyncio
import errno
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from lgsp import app, datafolder, ledgers
from lgsp.cli import doctor, reopening
from lgsp.config import Settings
from lgsp.datafolder import DataFolder, read_trust
from lgsp.domain.checkpoint import open_checkpoint
from lgsp.domain.limits import LIMITS
from lgsp.domain.notes import NoteKey, format_vkey, parse_vkey
from lgsp.privateserver import free_port
from lgsp.sdk import Client, SystemSettings
from lgsp.testing.samples import note
from tests.acceptance.conftest import serving

OLD, NEW = "lgsp.example.vn/91/2026", "lgsp.example.vn/91/2026/r2"
SECONDS = 30


class Witness:
    """The mock as a witness in a process of its own, on one port and one folder for all its lives."""

    def __init__(self, folder, *logs):
        self.folder, self.port, self.logs, self.process = folder, free_port(), list(logs), None

    def start(self):
        ready = self.folder.parent / "witness.port"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "adapters.ndxp.mock", "--count", "1", "--witness", self.folder]
        command += ["--port", str(self.port), "--port-file", ready]
        command += [word for log in self.logs for word in ("--witness-log", log)]
        account = {"NDXP_CONSUMER_KEY": "k", "NDXP_CONSUMER_SECRET": "s"}
        self.process = subprocess.Popen(command, env=account, stdout=subprocess.DEVNULL)
        until(ready.exists)

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(SECONDS)

    @property
    def vkey(self):
        return (self.folder / "vkey").read_text().strip()

    @property
    def key(self):
        return parse_vkey(self.vkey)

    def seen(self, origin):
        return json.loads((self.folder / "seen.json").read_text())[origin][0]


def until(found):
    end = time.monotonic() + SECONDS
    while not (seen := found()):
        assert time.monotonic() < end
        time.sleep(0.05)  # another process: there is nothing here to await
    return seen


BOTH = pytest.mark.parametrize(
    "data", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True, ids=str
)
"""On either engine."""


@pytest.fixture
def data(request, founded, tmp_path, lgsp, emptied, monkeypatch):
    """A data folder whose ledger is a file, or a database if the test says so."""
    folder = tmp_path / "data"
    if getattr(request, "param", "sqlite") == "sqlite":
        return shutil.copytree(founded, folder)
    monkeypatch.setenv("LGSP_STORAGE__URL", asyncio.run(emptied()))
    assert lgsp("init", "--data", folder, "--storage", "postgresql", "--origin", OLD).code == 0
    return folder


def asked(data, question):
    """The answer of a ledger on which no gateway runs."""

    async def ask():
        async with ledgers.open_ledger(Settings.load(data)) as store:
            return await question(store)

    return asyncio.run(ask())


@pytest.fixture
def witness(province, tmp_path):
    """A running witness that the settings of the province name."""
    found = Witness(tmp_path / "witness", format_vkey(read_trust(province / "trust.json").log))
    found.start()
    with (province / "lgsp.toml").open("a") as settings:
        settings.write(f'\n[witness]\nurl = "http://127.0.0.1:{found.port}/witness"\nvkey = "{found.vkey}"\n')
    yield found
    found.end()


def grow(data):
    """Run the bus for a moment: the log grows, and at the end what was kept is co-signed."""

    async def run():
        async with app.open_bus(Settings.load(data)) as bus:
            await bus.ledger.size()
            bus.refusals.count("signature", "192.0.2.1")

    with datafolder.hold(DataFolder(root=data)):
        asyncio.run(run())


def sqlite_rows(data, query):
    with closing(sqlite3.connect(data / "bus.sqlite")) as ledger:
        return ledger.execute(query).fetchall()


def fetch(url, path):
    try:
        with urllib.request.urlopen(url + path, timeout=SECONDS) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError:
        return ""


def serve_refused(data):
    """Start a gateway that does not start, and return how it ended."""
    command = [sys.executable, "-m", "lgsp.cli", "serve", "--data", data, "--port", "0"]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


@pytest.fixture
def rolled_back(province, witness, tmp_path, monkeypatch):
    """A data folder with an older copy of its ledger, and the last co-signed checkpoint beside it."""
    grow(province)
    roll_back = rolling(province, tmp_path, monkeypatch)
    for _ in range(2):
        grow(province)
    (tmp_path / "last.checkpoint").write_text(asked(province, lambda store: store.cosigned()))
    roll_back()
    return province


def rolling(data, folder, monkeypatch):
    """Copy the ledger as it is; return what puts the copy in its place."""
    if Settings.load(data).storage.kind == "postgresql":
        url = Settings.load(data).storage.address
        old = f"old_{uuid.uuid4().hex}"
        before, _, name = url.rpartition("/")
        asyncio.run(execute(f"{before}/template1", f"CREATE DATABASE {old} TEMPLATE {name}"))
        return lambda: monkeypatch.setenv("LGSP_STORAGE__URL", f"{before}/{old}")
    shutil.copy(data / "bus.sqlite", folder / "old.sqlite")

    def put():
        for path in data.glob("bus.sqlite*"):
            path.unlink()
        shutil.copy(folder / "old.sqlite", data / "bus.sqlite")

    return put


async def execute(url, statement):
    connection = await asyncpg.connect(url, timeout=SECONDS)
    await connection.execute(statement)
    await connection.close()


def test_a_gateway_has_its_log_cosigned_by_the_national_platform(province, witness, lgsp, tmp_path, monkeypatch):
    log = read_trust(province / "trust.json").log
    assert f"! the witness {witness.key.name} has not co-signed this log yet" in lgsp("doctor", "--data", province).out
    with serving(province) as url:
        note = until(lambda: fetch(url, "/v1/audit/checkpoint?witnessed=true"))
        assert open_checkpoint(note, log, [witness.key]).size > 0
        assert '"witness":"ok"' in fetch(url, "/readyz")
        metrics = fetch(url, "/metrics")
        assert "lgsp_witness_age_seconds" in metrics
        assert 'lgsp_part_ok{part="witness"} 1.0' in metrics
    size = sqlite_rows(province, "SELECT max(size) FROM cosigned")[0][0]
    assert size == sqlite_rows(province, "SELECT count(*) FROM entry")[0][0]
    assert (
        f"✓ the witness {witness.key.name} has co-signed {size} entries, 0:00:"
        in lgsp("doctor", "--data", province).out
    )
    monkeypatch.setattr(doctor, "LIMITS", replace(LIMITS, witness_alarm=timedelta(0)))
    assert f"! the witness {witness.key.name} has co-signed {size} entries" in lgsp("doctor", "--data", province).out
    proof = tmp_path / "entry.proof"
    assert lgsp("audit", "prove", "0", "-o", proof, "--data", province).code == 0
    trust = ("--trust", province / "trust.json")
    assert lgsp("audit", "check", proof, *trust, "--witness", witness.vkey).code == 0
    other = format_vkey(NoteKey(name="another", kind=4, public=witness.key.public))
    assert lgsp("audit", "check", proof, *trust, "--witness", other).code == 3
    assert lgsp("audit", "verify", "--data", province).code == 0


@BOTH
def test_a_gateway_on_an_old_copy_of_its_ledger_is_refused_though_the_witness_was_killed(rolled_back, witness):
    ended = serve_refused(rolled_back)
    assert (ended.returncode, "[log_broken]" in ended.stderr, "rolled back" in ended.stderr) == (3, True, True)
    witness.end()
    witness.start()
    assert serve_refused(rolled_back).returncode == 3


def test_a_gateway_on_an_old_copy_ends_when_the_witness_comes_back(rolled_back, witness, tmp_path):
    witness.end()
    address = tmp_path / "address"
    command = [sys.executable, "-m", "lgsp.cli", "serve", "--data", rolled_back, "--port", "0", "--port-file", address]
    gateway = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        until(address.exists)
        witness.start()
        _, said = gateway.communicate(timeout=SECONDS)
    finally:
        if gateway.poll() is None:
            gateway.send_signal(signal.SIGKILL)
            gateway.wait(SECONDS)
    assert gateway.returncode == 3
    assert said.index("witness.away") < said.index("[log_broken]")


def reopen(lgsp, data, after, *more):
    return lgsp("log", "reopen", "--after", after, "--reason", "disk lost on the 29th", "--data", data, *more)


def last_entry(data, event):
    async def all_of(store):
        return await store.entries(0, await store.size())

    entries = map(json.loads, reversed(asked(data, all_of)))
    return next(entry for entry in entries if entry["ev"] == event)


@BOTH
def test_a_log_that_lost_entries_goes_on_under_another_name(rolled_back, witness, lgsp, tmp_path):
    last = tmp_path / "last.checkpoint"
    old_log = read_trust(rolled_back / "trust.json").log
    quoted = open_checkpoint(last.read_text(), old_log, [witness.key])
    done = reopen(lgsp, rolled_back, last)
    assert done.code == 0, done.err
    assert f"the log goes on as {NEW}, after {quoted.size} entries of {OLD}" in done.err
    entry = last_entry(rolled_back, "log.opened")
    name, word, before, counts = entry["obj"].split(" ")
    known, seen = map(int, counts.split("/"))
    assert (name, word, before, seen, entry["by"]) == (NEW, "after", OLD, quoted.size, "local")
    assert 0 < known < seen
    assert f"entries {known} to {seen - 1} of {OLD} are no longer provable" in done.err
    assert read_trust(rolled_back / "trust.json").log == NoteKey(name=NEW, kind=1, public=old_log.public)
    assert Settings.load(rolled_back).bus.log == NEW
    assert lgsp("audit", "verify", "--data", rolled_back).code == 0
    witness.end()
    witness.logs.append(format_vkey(read_trust(rolled_back / "trust.json").log))
    witness.start()
    with serving(rolled_back) as url:
        note = until(lambda: fetch(url, "/v1/audit/checkpoint?witnessed=true"))
        assert note.startswith(f"{NEW}\n")
        assert asyncio.run(ask_and_answer(rolled_back, url)) == {"found": "a record"}
    assert witness.seen(OLD) == quoted.size
    assert lgsp("audit", "verify", "--data", rolled_back).code == 0


async def ask_and_answer(data, url):
    """Have the two systems, which pin the old name, exchange a request and its reply."""

    def settings_of(name):
        path = data / "systems" / f"H01.99-{name}" / "system.toml"
        loaded = SystemSettings.load(path)
        assert loaded.log == OLD
        return loaded.model_copy(update={"url": url})

    async def answer(client):
        async for message in client.inbox():
            async with message.effect() as effect:
                effect.reply({"found": "a record"})

    async with Client.open(settings_of("answerer")) as answering, Client.open(settings_of("asker")) as asking:
        task = asyncio.ensure_future(answer(answering))
        reply = await asking.request(
            "vn.lgsp.examples.record.ask.v1",
            key="once",
            timeout=SECONDS,
            audience="urn:lgsp:agency:H01.99:sys:answerer",
            schema="urn:lgsp:schema:examples:record:1.0.0",
            body={"wanted": "a record"},
            purpose="example",
        )
        task.cancel()
        return reply.body


@BOTH
def test_files_that_were_not_renamed_follow_the_ledger(rolled_back, witness, lgsp, tmp_path):
    files = {name: (rolled_back / name).read_text() for name in ("lgsp.toml", "trust.json")}
    assert reopen(lgsp, rolled_back, tmp_path / "last.checkpoint").code == 0
    for name, text in files.items():
        (rolled_back / name).write_text(text)
    assert serve_refused(rolled_back).returncode == 3
    followed = lgsp("log", "follow", "--data", rolled_back)
    assert (followed.code, f"the log is {NEW} from now on" in followed.err) == (0, True)
    assert (Settings.load(rolled_back).bus.log, read_trust(rolled_back / "trust.json").log.name) == (NEW, NEW)
    assert "nothing was changed" in lgsp("log", "follow", "--data", rolled_back).err


@pytest.mark.parametrize("tamper", ["older", "other", "running", "name"])
def test_a_log_is_not_reopened_on_what_proves_nothing(rolled_back, witness, lgsp, tmp_path, tamper):
    last, size = tmp_path / "last.checkpoint", (rolled_back / "bus.sqlite").read_bytes()
    more = ("--origin", OLD) if tamper == "name" else ()
    if tamper == "older":
        with closing(sqlite3.connect(rolled_back / "bus.sqlite")) as ledger:
            [(note,)] = ledger.execute("SELECT note FROM checkpoint").fetchall()
        last.write_text(note)
    if tamper == "other":
        last.write_text(last.read_text().replace("/2026\n", "/2027\n"))
    if tamper == "running":
        with datafolder.hold(DataFolder(root=rolled_back)):
            done = reopen(lgsp, rolled_back, last)
    else:
        done = reopen(lgsp, rolled_back, last, *more)
    code = {"older": "bad_request", "other": "bad_request", "running": "data_locked", "name": "config_invalid"}[tamper]
    assert (done.code, f"[{code}]" in done.err) == (2, True), done.err
    assert Settings.load(rolled_back).bus.log == OLD
    assert (rolled_back / "bus.sqlite").read_bytes() == size


@pytest.fixture
def closed(province, witness, lgsp, tmp_path):
    """The folder of a log of some hundred entries that was closed, and the trust file of its time."""
    trust = shutil.copy(province / "trust.json", tmp_path / "then.json")

    async def fill():
        async with app.open_bus(Settings.load(province)) as bus:
            await bus.sequencer.submit(*(note(number) for number in range(600)))

    with datafolder.hold(DataFolder(root=province)):
        asyncio.run(fill())
    done = lgsp(
        *("log", "rotate", "--out", tmp_path / "2026", "--origin", "lgsp.example.vn/91/2027"),
        *("--reason", "the year is over", "--data", province),
    )
    assert done.code == 0, done.err
    return tmp_path / "2026", trust


@BOTH
def test_a_closed_log_stands_in_files_that_anybody_with_its_key_checks(closed, province, witness, lgsp):
    folder, trust = closed
    verified = lgsp("audit", "verify", "--dir", folder, "--trust", trust, "--witness", witness.vkey)
    assert (verified.code, f"{OLD} verifies: " in verified.out) == (0, True), verified.err
    size = int(verified.out.split("verifies: ")[1].split()[0])
    assert size > 600
    assert last_entry(province, "log.closed")["seq"] == size - 1
    entry = last_entry(province, "log.opened")
    assert (entry["seq"], entry["obj"]) == (size, f"lgsp.example.vn/91/2027 after {OLD} {size}/{size}")
    assert lgsp("audit", "verify", "--data", province).code == 0
    assert Settings.load(province).bus.log == "lgsp.example.vn/91/2027"


@pytest.mark.parametrize(
    "place", ["tile/entries/000", "tile/entries/001", "tile/0/000", "tile/0/001", "tile/1/000.p/2", "checkpoint"]
)
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_byte_that_was_changed_in_a_closed_log_is_found(closed, lgsp, place, how):
    folder, trust = closed
    path = folder / place
    data = path.read_bytes()
    path.unlink()
    if how == "changed":
        at = len(data) // 2
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    verified = lgsp("audit", "verify", "--dir", folder, "--trust", trust)
    if place == "checkpoint" and how == "gone":
        assert (verified.code, "[data_missing]" in verified.err) == (2, True)
    else:
        assert (verified.code, "[log_broken]" in verified.err) == (3, True), verified.err
        first = {"000": 0, "001": 256}.get(place[-3:])
        if first is not None:
            index = int(verified.err.split("index ")[1].split(":")[0])
            assert first <= index < first + 256


def test_a_length_that_reaches_beyond_the_end_of_a_closed_log_is_found(closed, lgsp):
    folder, trust = closed
    [path] = (folder / "tile/entries").glob("*.p/*")
    data, at = bytearray(path.read_bytes()), 0
    while (after := at + 2 + int.from_bytes(data[at : at + 2])) < len(data):
        at = after
    data[at] ^= 0x40
    path.write_bytes(data)
    verified = lgsp("audit", "verify", "--dir", folder, "--trust", trust)
    assert (verified.code, "ends within the entry" in verified.err) == (3, True), verified.err


def test_a_log_is_not_closed_when_its_files_have_no_place(province, lgsp, tmp_path):
    (tmp_path / "2026").mkdir()
    rotate = ("log", "rotate", "--origin", NEW, "--reason", "the year is over", "--data", province)
    before = sqlite_rows(province, "SELECT count(*) FROM entry")
    for place, code in (("2026", "file_exists"), ("nowhere/2026", "data_unusable")):
        refused = lgsp(*rotate, "--out", tmp_path / place)
        assert (refused.code, f"[{code}]" in refused.err) == (2, True), refused.err
    assert sqlite_rows(province, "SELECT count(*) FROM entry") == before
    assert not list(tmp_path.glob(".*.new"))


def test_no_gateway_goes_on_with_a_log_that_was_closed(province, lgsp, tmp_path, monkeypatch):
    rotate = ("log", "rotate", "--origin", NEW, "--reason", "the year is over", "--data", province)
    with monkeypatch.context() as stopped:
        stopped.setattr(reopening, "write_static", stop)
        assert lgsp(*rotate, "--out", tmp_path / "2026").code == 2
    ended = serve_refused(province)
    assert (ended.returncode, "[config_invalid]" in ended.stderr, OLD in ended.stderr) == (2, True, True)
    assert lgsp(*rotate, "--out", tmp_path / "2026").code == 0
    with serving(province) as url:
        assert until(lambda: fetch(url, "/v1/audit/checkpoint")).startswith(f"{NEW}\n")


async def stop(*_arguments):
    raise OSError(errno.ENOSPC, "no room")


def test_a_witness_is_demanded_of_a_ledger_too(province, witness, lgsp):
    verify = ("audit", "verify", "--data", province, "--witness", witness.vkey)
    assert "no witness has co-signed" in lgsp(*verify).err
    grow(province)
    assert lgsp(*verify).code == 0
    other = format_vkey(NoteKey(name="another", kind=4, public=witness.key.public))
    refused = lgsp("audit", "verify", "--data", province, "--witness", other)
    assert (refused.code, "no signature of a known witness" in refused.err) == (3, True)
