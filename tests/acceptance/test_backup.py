"""Backups: taken under load, verified, refused when touched, restored; and what becomes of all that happened after them."""

import asyncio
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from lgsp.backends.sql import postgresql
from lgsp.cli.backup.folder import part_of
from lgsp.cli.kept import open_kept
from lgsp.config import Settings
from lgsp.domain.notes import WITNESS_KEY, NoteKey, format_vkey
from lgsp.errors import Unusable
from lgsp.privateserver import free_port
from lgsp.sdk import Client, SystemSettings, directories
from lgsp.sdk.box import Box

ASK = "vn.lgsp.examples.record.ask.v1"
ANSWERER = "urn:lgsp:agency:H01.99:sys:answerer"
STATED = {
    "audience": ANSWERER,
    "schema": "urn:lgsp:schema:examples:record:1.0.0",
    "body": {"wanted": "a record"},
    "purpose": "example",
}
READY_SECONDS = 30
EARLY = 50
"""Questions of the time before the backup, and while it is taken."""


class Served:
    """A gateway in a process of its own, on one port for all its lives."""

    def __init__(self, data):
        self.data, self.port, self.process = data, free_port(), None
        self.url = f"http://127.0.0.1:{self.port}"
        for name in ("asker", "answerer"):
            settings = data / "systems" / f"H01.99-{name}" / "system.toml"
            settings.write_text(re.sub('url = ".*"', f'url = "{self.url}"', settings.read_text()))

    def start(self):
        address = self.data.parent / "address"
        address.unlink(missing_ok=True)
        command = [sys.executable, "-m", "lgsp.cli", "serve", "--data", self.data, "--port", str(self.port)]
        with (self.data.parent / "serve.txt").open("a") as output:
            self.process = subprocess.Popen([*command, "--port-file", address], stdout=output, stderr=output)
        end = time.monotonic() + READY_SECONDS
        while not address.exists():
            assert self.process.poll() is None, (self.data.parent / "serve.txt").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)  # another process: there is nothing here to await

    def end(self, how):
        self.process.send_signal(how)
        return self.process.wait(READY_SECONDS)


@pytest.fixture
def served(province):
    """A running gateway with two systems, ended by its process id whatever happens."""
    gateway = Served(province)
    gateway.start()
    yield gateway
    if gateway.process.poll() is None:
        gateway.end(signal.SIGKILL)


def settings_of(data, name):
    return SystemSettings.load(data / "systems" / f"H01.99-{name}" / "system.toml")


async def answer(client):
    """Answer every request, and count in a table of one's own how often each took effect."""
    await client.write(lambda tables: tables.execute("CREATE TABLE IF NOT EXISTS effect (id TEXT)"))
    async for message in client.inbox():
        async with message.effect() as effect:
            effect.execute("INSERT INTO effect VALUES (?)", (message.id,))
            effect.reply({"found": "a record"})


async def ask_many(client, first, count):
    """Ask under a key each, a few dozen at a time; return the keys."""
    keys = [f"question {number}" for number in range(first, first + count)]
    places = asyncio.Semaphore(64)

    async def ask(key):
        async with places:
            await client.request(ASK, key=key, timeout=60, **STATED)

    async with asyncio.TaskGroup() as asked:
        for key in keys:
            asked.create_task(ask(key))
    return keys


def run(*arguments, **environment):
    """Run the command in a process of its own, so that this one's systems go on."""
    done = subprocess.run(
        [sys.executable, "-m", "lgsp.cli", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


def rows(box, query):
    with closing(sqlite3.connect(box)) as connection:
        return connection.execute(query).fetchall()


def erase_ledger(data):
    for path in data.glob("bus.sqlite*"):
        path.unlink()


def later_checkpoint(served, size):
    """Return the text of a signed checkpoint over more than `size` entries, as anybody may fetch it."""
    with urllib.request.urlopen(served.url + "/v1/audit/checkpoint", timeout=10) as answered:
        text = answered.read().decode()
    assert int(text.split("\n")[1]) > size
    return text


async def story(served, more, backed_up, erase):
    """Exchange, back up meanwhile, exchange `more`, lose the machine, restore; return what the systems knew before the loss."""
    data = served.data
    async with Client.open(settings_of(data, "asker")) as asker:
        async with Client.open(settings_of(data, "answerer")) as answerer:
            answering = asyncio.create_task(answer(answerer))
            taking = asyncio.create_task(asyncio.to_thread(run, "backup", "create", backed_up, "--data", data))
            await ask_many(asker, 0, EARLY)
            assert (await taking).returncode == 0, taking.result().stderr
            size = json.loads((backed_up / "manifest.json").read_text())["entries"]
            await ask_many(asker, EARLY, more)
            answering.cancel()
        # The receiver is away: these have a receipt and no end.
        pending = [await asker.send(ASK, key=f"pending {number}", **STATED) for number in range(40)]
        (data.parent / "checkpoint.txt").write_text(await asyncio.to_thread(later_checkpoint, served, size))
        served.end(signal.SIGKILL)
        await erase()
        restore = ("backup", "restore", backed_up, "--data", data, "--reason", "the disk is gone")
        known = ("--last", data.parent / "checkpoint.txt")
        refused = await asyncio.to_thread(run, *restore, *known)
        done = await asyncio.to_thread(run, *restore, *known, "--accept-loss")
        served.start()
        async with Client.open(settings_of(data, "answerer")) as answerer:
            answering = asyncio.create_task(answer(answerer))
            outcomes = [await asker.outcome(sent.id, 60) for sent in pending]
            replies = await asyncio.gather(
                *(asker.request(ASK, key=f"pending {n}", timeout=60, **STATED) for n in range(40))
            )
            answering.cancel()
    return {"size": size, "refused": refused, "done": done, "outcomes": outcomes, "replies": replies}


async def check_story(served, backed_up, more, erase, entries_of):
    told = await story(served, more, backed_up, erase)
    data, size = served.data, told["size"]
    given_out = int((data.parent / "checkpoint.txt").read_text().split("\n")[1])
    assert told["refused"].returncode == 2
    assert "loss_unconfirmed" in told["refused"].stderr
    assert f"entries {size} to {given_out - 1}" in told["refused"].stderr
    assert told["done"].returncode == 0, told["done"].stderr
    assert f"no longer provable: entries {size} to {given_out - 1} at least" in told["done"].stdout
    assert [outcome.state for outcome in told["outcomes"]] == ["acked"] * 40
    assert len(told["replies"]) == 40
    asked, answered = (data / "systems" / f"H01.99-{name}" / "box.sqlite" for name in ("asker", "answerer"))
    effects = rows(answered, "SELECT id, count(*) FROM effect GROUP BY id")
    assert len(effects) == EARLY + 40 + more
    assert {count for _, count in effects} == {1}
    assert rows(asked, "SELECT DISTINCT state FROM lgsp_outbox") == [("receipted",)]
    check_losses(data, asked, size, more)
    served.end(signal.SIGTERM)
    assert run("audit", "verify", "--data", data).returncode == 0
    entry = (await entries_of(data))[size]
    assert (entry["ev"], entry["by"], entry["obj"]) == ("admin.log.restored", "local", f"{size}/{given_out}")
    assert entry["reason"] == "the disk is gone"


def check_losses(data, box, size, more):
    """Everything whose first receipt is of a lost entry is named: what went out again, and what had come to its end."""
    listed = run("backup", "losses", box, "--data", data, "--json")
    assert listed.returncode == 0, listed.stderr
    found = [json.loads(line) for line in listed.stdout.splitlines()]
    sent = [loss for loss in found if loss["what"] == "sent"]
    assert all(loss["index"] >= size for loss in sent)
    repeated = {loss["id"] for loss in sent if loss["state"] == "repeated"}
    pending = {identifier for (identifier,) in rows(box, "SELECT id FROM lgsp_outbox WHERE key LIKE 'pending %'")}
    assert pending <= repeated
    ended = {loss["id"] for loss in sent if loss["state"] == "acked"}
    later = {
        identifier for number, identifier in rows(box, "SELECT CAST(substr(key, 10) AS INTEGER), id FROM lgsp_outbox WHERE key LIKE 'question %'")
        if number >= EARLY
    }  # fmt: skip
    assert len(later) == more
    assert later <= ended | repeated
    # Replies of the other side that were taken over have an ack and no entry any more.
    assert {loss["what"] for loss in found} == {"sent", "taken"}


@pytest.mark.timeout(300)
async def test_what_came_after_the_backup_is_named_and_what_had_no_end_is_repeated_once(served, tmp_path, entries_of):
    """A question is two exchanges: its request and its reply."""

    async def erase():
        erase_ledger(served.data)

    await check_story(served, tmp_path / "backup", 500, erase, entries_of)


@pytest.fixture
def in_a_database(province, database, tmp_path, monkeypatch):
    """Bring the ledger of a data folder from its file into a database, by a backup."""
    assert run("backup", "create", tmp_path / "moved", "--data", province).returncode == 0
    erase_ledger(province)
    monkeypatch.setenv("LGSP_STORAGE__KIND", "postgresql")
    monkeypatch.setenv("LGSP_STORAGE__URL", database)
    checkpoint = tmp_path / "moved.txt"
    checkpoint.write_text(json.loads((tmp_path / "moved" / "manifest.json").read_text())["checkpoint"])
    moved = run("backup", "restore", tmp_path / "moved", "--data", province, "--last", checkpoint, "--reason", "moved")
    assert moved.returncode == 0, moved.stderr
    return database


@pytest.fixture
def restore_into_database(province, database, lgsp, tmp_path, monkeypatch):
    """Return what restores a backup with keys into an empty database and a new data folder."""
    backup = tmp_path / "backup"
    assert lgsp("backup", "create", backup, "--data", province, "--with-keys").code == 0
    monkeypatch.setenv("LGSP_STORAGE__KIND", "postgresql")
    monkeypatch.setenv("LGSP_STORAGE__URL", database)
    command = ("backup", "restore", backup, "--data", tmp_path / "new", "--reason", "a test", "--accept-loss")
    return lambda: lgsp(*command)


def failing(monkeypatch, *, after, reachable=True):
    """Have the filling of a database fail as a lost connection does, after it was done or before; then it is reachable or not."""
    fill = postgresql.fill_database

    async def fill_and_fail(dsn, source):
        if after:
            await fill(dsn, source)
        raise Unusable("database_away", "no answer (ConnectionResetError)")

    if not reachable:
        ask = postgresql.was_filled
        monkeypatch.setattr(
            postgresql, "was_filled", lambda _dsn, source: ask("postgresql://nobody@127.0.0.1:9/none", source)
        )
    monkeypatch.setattr(postgresql, "fill_database", fill_and_fail)


def test_a_ledger_that_was_written_though_no_answer_came_keeps_its_keys(
    restore_into_database, lgsp, tmp_path, monkeypatch
):
    failing(monkeypatch, after=True)
    restored = restore_into_database()
    assert restored.code == 0, restored.err
    assert lgsp("status", "--data", tmp_path / "new").code == 0


def test_a_ledger_that_was_not_written_leaves_no_keys_behind(restore_into_database, tmp_path, monkeypatch):
    failing(monkeypatch, after=False)
    refused = restore_into_database()
    assert "[database_away]" in refused.err
    assert {path.name for path in (tmp_path / "new").rglob("*") if path.is_file()} == {"lock"}


def test_where_nobody_knows_whether_the_ledger_was_written_its_keys_are_left(
    restore_into_database, lgsp, tmp_path, monkeypatch
):
    with monkeypatch.context() as away:
        failing(away, after=True, reachable=False)
        refused = restore_into_database()
    assert refused.code != 0
    assert "it is not known whether the ledger was written" in refused.err
    assert "[file_exists]" in restore_into_database().err
    assert lgsp("status", "--data", tmp_path / "new").code == 0


@pytest.mark.parametrize("place", ["/nowhere/gateway.pem", "../gateway.pem", "keys/../../gateway.pem"])
def test_settings_in_a_backup_put_no_key_outside_the_data_folder(province, lgsp, tmp_path, place):
    backup, new = tmp_path / "backup", tmp_path / "new"
    assert lgsp("backup", "create", backup, "--data", province, "--with-keys").code == 0
    settings = (backup / "lgsp.toml").read_text()
    (backup / "lgsp.toml").write_text(settings.replace("keys/gateway-a.pem", place))
    renew(backup, json.loads((backup / "manifest.json").read_text()))
    refused = lgsp("backup", "restore", backup, "--data", new, "--reason", "a test", "--accept-loss")
    assert refused.code == 2
    assert "[keys_elsewhere]" in refused.err
    assert f"keys.gateway = {place}" in refused.err
    assert [path.name for path in new.iterdir()] == ["lock"]
    assert not (new / place).exists()


def put_ledger_at(data, path):
    """Have the settings of a data folder say that the ledger lies there."""
    settings = data / "lgsp.toml"
    written = settings.read_text()
    assert '"bus.sqlite"' in written
    settings.write_text(written.replace('"bus.sqlite"', f'"{path}"'))


@pytest.fixture
def with_its_ledger_elsewhere(province, tmp_path):
    """A data folder whose settings say that the ledger lies on another disk, and where that is."""
    path = tmp_path / "disk" / "bus.sqlite"
    path.parent.mkdir()
    (province / "bus.sqlite").rename(path)
    put_ledger_at(province, path)
    return province, path


def test_a_ledger_outside_the_data_folder_is_backed_up_and_restored_to_where_the_settings_say(
    with_its_ledger_elsewhere, lgsp, tmp_path
):
    data, path = with_its_ledger_elsewhere
    backup = tmp_path / "backup"
    assert lgsp("backup", "create", backup, "--data", data).code == 0
    restore = ("backup", "restore", backup, "--data", data, "--reason", "a test", "--accept-loss")
    assert "[file_exists]" in lgsp(*restore).err
    path.unlink()
    assert lgsp(*restore).code == 0
    assert path.is_file()
    assert lgsp("audit", "verify", "--data", data).code == 0
    assert not (data / "bus.sqlite").exists()


@pytest.mark.parametrize("place", ["{disk}/bus.sqlite", "../disk/bus.sqlite"])
def test_settings_in_a_backup_put_no_ledger_outside_the_data_folder(province, lgsp, tmp_path, place):
    backup, new, disk = tmp_path / "backup", tmp_path / "new", tmp_path / "disk"
    assert lgsp("backup", "create", backup, "--data", province, "--with-keys").code == 0
    put_ledger_at(backup, place.format(disk=disk))
    renew(backup, json.loads((backup / "manifest.json").read_text()))
    disk.mkdir()
    restore = ("backup", "restore", backup, "--data", new, "--reason", "a test", "--accept-loss")
    refused = lgsp(*restore)
    assert refused.code == 2
    assert "[ledger_elsewhere]" in refused.err
    assert "/disk/bus.sqlite" in refused.err
    assert [path.name for path in new.iterdir()] == ["lock"]
    assert list(disk.iterdir()) == []
    shutil.copy(backup / "lgsp.toml", new)
    assert lgsp(*restore).code == 0
    assert [path.name for path in disk.iterdir()] == ["bus.sqlite"]


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_in_a_database_too_what_came_after_the_backup_is_named_and_what_had_no_end_is_repeated_once(
    in_a_database, served, tmp_path, entries_of, emptied
):
    await check_story(served, tmp_path / "backup", 1_000, emptied, entries_of)


def test_a_backup_is_refused_when_a_byte_of_it_was_changed(province, lgsp, tmp_path):
    backup = tmp_path / "backup"
    assert lgsp("backup", "create", backup, "--data", province).code == 0
    assert lgsp("backup", "verify", backup).code == 0
    ledger = bytearray((backup / "ledger.sqlite").read_bytes())
    ledger[-1] ^= 1
    (backup / "ledger.sqlite").write_bytes(ledger)
    refused = lgsp("backup", "verify", backup)
    assert refused.code == 2
    assert "ledger.sqlite: is not the file that was written" in refused.err
    assert (
        lgsp("backup", "restore", backup, "--data", tmp_path / "new", "--reason", "a test", "--accept-loss").code == 2
    )
    assert not (tmp_path / "new").exists()


def test_a_backup_holds_no_secret_unless_it_is_asked_for(province, lgsp, tmp_path):
    assert lgsp("backup", "create", tmp_path / "plain", "--data", province).code == 0
    assert lgsp("backup", "create", tmp_path / "whole", "--data", province, "--with-keys").code == 0
    assert sorted(path.name for path in (tmp_path / "plain").iterdir()) == [
        "ledger.sqlite",
        "manifest.json",
        "trust.json",
    ]
    found = [path for path in (tmp_path / "whole").rglob("*") if path.is_file() and path.name != "manifest.json"]
    assert {path.name for path in found} > {"gateway.pem", "log.pem", "body.key", "subject.key", "lgsp.toml"}
    assert {path.stat().st_mode & 0o777 for path in found} == {0o600}
    assert (tmp_path / "whole").stat().st_mode & 0o777 == 0o700


def test_a_backup_with_keys_makes_a_whole_gateway_from_nothing(province, lgsp, tmp_path):
    backup, new = tmp_path / "backup", tmp_path / "new"
    assert lgsp("backup", "create", backup, "--data", province, "--with-keys").code == 0
    restored = lgsp("backup", "restore", backup, "--data", new, "--reason", "a new machine", "--accept-loss")
    assert restored.code == 0, restored.err
    assert lgsp("audit", "verify", "--data", new).code == 0
    assert lgsp("status", "--data", new).code == 0
    (new / "keys" / "body.key").unlink()
    again = lgsp("backup", "restore", backup, "--data", new, "--reason", "a new machine", "--accept-loss")
    assert again.code == 2
    assert "file_exists" in again.err
    assert not (new / "keys" / "body.key").exists()  # a refusal leaves nothing behind


@pytest.fixture
def other_disk(tmp_path):
    """A folder on another disk than the test's."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        assert Path(folder).stat().st_dev != tmp_path.stat().st_dev
        yield Path(folder)


def test_a_ledger_on_another_disk_than_the_data_folder_is_restored(province, lgsp, tmp_path, other_disk):
    backup, new = tmp_path / "backup", shutil.copytree(province, tmp_path / "new")
    assert lgsp("backup", "create", backup, "--data", province).code == 0
    erase_ledger(new)
    settings = (new / "lgsp.toml").read_text()
    restore = ("backup", "restore", backup, "--data", new, "--reason", "a test", "--accept-loss")
    (new / "lgsp.toml").write_text(settings.replace('"bus.sqlite"', f'"{other_disk}/gone/bus.sqlite"'))
    refused = lgsp(*restore)
    assert "[data_missing]" in refused.err
    assert f"{other_disk}/gone: No such file or directory" in refused.err
    (new / "lgsp.toml").write_text(settings.replace('"bus.sqlite"', f'"{other_disk}/bus.sqlite"'))
    restored = lgsp(*restore)
    assert restored.code == 0, restored.err
    assert [path.name for path in other_disk.iterdir()] == ["bus.sqlite"]
    assert lgsp("audit", "verify", "--data", new).code == 0


def test_a_restore_warns_of_the_witness_that_a_drill_must_not_meet(province, lgsp, tmp_path):
    backup, new = tmp_path / "backup", tmp_path / "new"
    vkey = format_vkey(NoteKey(name="far.example.vn", kind=WITNESS_KEY, public=bytes(32)))
    with (province / "lgsp.toml").open("a") as settings:
        settings.write(f'\n[witness]\nurl = "https://far.example.vn"\nvkey = "{vkey}"\n')
    assert lgsp("backup", "create", backup, "--data", province, "--with-keys").code == 0
    restored = lgsp("backup", "restore", backup, "--data", new, "--reason", "a drill", "--accept-loss")
    assert (restored.code, "the witness far.example.vn" in restored.err) == (0, True)


def test_the_old_file_shows_what_a_restore_would_lose_as_far_as_it_can_be_read(province, lgsp, tmp_path):
    backup, old = tmp_path / "backup", tmp_path / "old.sqlite"
    assert lgsp("backup", "create", backup, "--data", province).code == 0
    (tmp_path / "end.toml").write_text('[[remove]]\nkind = "grant"\nid = "ask"\n')
    assert lgsp("directory", "apply", tmp_path / "end.toml", "--data", province).code == 0
    (province / "bus.sqlite").rename(old)
    size = json.loads((backup / "manifest.json").read_text())["entries"]
    refused = lgsp("backup", "restore", backup, "--data", province, "--reason", "a test", "--last", old)
    assert f"entries {size} to {size} would no longer be provable" in refused.err


def test_without_evidence_that_nothing_is_missing_the_loss_has_to_be_accepted(province, lgsp, tmp_path):
    backup, new = tmp_path / "backup", shutil.copytree(province, tmp_path / "new")
    assert lgsp("backup", "create", backup, "--data", province).code == 0
    erase_ledger(new)
    restore = ("backup", "restore", backup, "--data", new, "--reason", "a test")
    refused = lgsp(*restore)
    assert (refused.code, "loss_unconfirmed" in refused.err) == (2, True)
    assert list(new.glob("bus.sqlite*")) == []
    checkpoint = tmp_path / "checkpoint.txt"
    checkpoint.write_text(json.loads((backup / "manifest.json").read_text())["checkpoint"])
    assert lgsp(*restore, "--last", checkpoint).code == 0


async def keep_directory(data, box):
    """Keep the version in force in a system's box, as its client does."""
    async with open_kept(Settings.load(data)) as kept:
        opened = Box.open(box, sign=lambda _items: [])
        await opened.write(lambda writing: directories.keep(writing, kept.directory))
        await opened.close()


def test_versions_of_the_directory_that_came_after_the_backup_are_brought_back_as_they_were_signed(
    province, lgsp, tmp_path
):
    backup, box = tmp_path / "backup", tmp_path / "box.sqlite"
    assert lgsp("backup", "create", backup, "--data", province).code == 0
    (tmp_path / "end.toml").write_text('[[remove]]\nkind = "grant"\nid = "ask"\n')
    assert lgsp("directory", "apply", tmp_path / "end.toml", "--data", province).code == 0
    asyncio.run(keep_directory(province, box))
    ended = lgsp("directory", "show", "--data", province)
    erase_ledger(province)
    assert lgsp("backup", "restore", backup, "--data", province, "--reason", "a test", "--accept-loss").code == 0
    assert "grant" in lgsp("directory", "show", "--data", province).out
    told = lgsp("backup", "losses", box, "--data", province)
    assert f"lgsp directory bring {box}" in told.err
    assert "version 3 is in force again" in lgsp("directory", "bring", box, "--data", province).err
    assert lgsp("directory", "show", "--data", province) == ended
    assert "no version that follows" in lgsp("directory", "bring", box, "--data", province).err


def test_a_backup_of_another_log_does_not_fit_the_settings(province, lgsp, tmp_path):
    backup, other = tmp_path / "backup", tmp_path / "other"
    assert lgsp("init", "--data", other, "--origin", "lgsp.example.vn/91/2027").code == 0
    assert lgsp("backup", "create", backup, "--data", province).code == 0
    erase_ledger(other)
    refused = lgsp("backup", "restore", backup, "--data", other, "--reason", "a test", "--accept-loss")
    assert refused.code == 2
    assert "config_invalid" in refused.err
    assert list(other.glob("bus.sqlite*")) == []


def test_a_changed_entry_is_found_though_the_manifest_fits(province, lgsp, tmp_path):
    backup = tmp_path / "backup"
    assert lgsp("backup", "create", backup, "--data", province).code == 0
    with closing(sqlite3.connect(backup / "ledger.sqlite")) as ledger:
        ledger.execute(
            "UPDATE entry SET data = CAST(replace(CAST(data AS TEXT), 'log.opened', 'log.closed') AS BLOB) WHERE seq = 0"
        )
        ledger.commit()
    manifest = json.loads((backup / "manifest.json").read_text())
    renew(backup, manifest)
    refused = lgsp("backup", "verify", backup)
    assert refused.code == 3
    assert "log_broken" in refused.err


def renew(backup, manifest):
    """Write hashes and sizes of the parts anew, as somebody would who changed them."""
    for part in manifest["parts"]:
        found = part_of(backup, part["name"])
        part["bytes"], part["hash"] = found.bytes, found.hash
    (backup / "manifest.json").write_text(json.dumps(manifest, separators=(",", ":")))
