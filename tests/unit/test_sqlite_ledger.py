"""What is SQLite's own: a process that is killed, a disk that is full, a file that is damaged, locked, foreign or not to be written."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import structlog

from lgsp import logs
from lgsp.backends.sql import SqliteLedger
from lgsp.backends.sql.sqlite import statements
from lgsp.domain import merkle, strictjson
from lgsp.errors import Refusal, Unusable
from lgsp.ports.ledger import Done, KeepCheckpoint
from lgsp.testing.samples import accept, lease, move, note, publish, sign_receipts

WRITER = """
import asyncio, sys
from pathlib import Path
from lgsp.backends.sql import SqliteLedger
from lgsp.testing.samples import accept, sign_receipts

async def main():
    ledger = SqliteLedger.open(Path(sys.argv[1]), create=True)
    for number in range(int(sys.argv[2]), int(sys.argv[3])):
        [result] = await ledger.commit([accept(number)], sign_receipts)
        print(number, result if isinstance(result, str) else result.index, flush=True)
    await ledger.close()

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bus.sqlite"


@pytest.fixture
async def ledger(path):
    opened = SqliteLedger.open(path, create=True)
    yield opened
    await opened.close()


@pytest.fixture
def logged():
    with structlog.testing.capture_logs() as found:
        yield found


def start_writer(path, start, stop):
    command = [sys.executable, "-c", WRITER, str(path), str(start), str(stop)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def read_acknowledged(lines):
    """Return the index of each envelope that the writer was told to be accepted; the last line may be torn."""
    told = [line.split() for line in lines if line.endswith("\n")]
    return {int(number): int(index) for number, index in told if index != "duplicate"}


def in_order(acknowledged):
    return sorted(acknowledged.items(), key=lambda each: each[1])


async def check_log(ledger):
    """Return the parsed entries after checking that they are numbered without a gap and agree with their leaves."""
    size = await ledger.size()
    entries = await ledger.entries(0, size)
    assert await ledger.leaves(0, size) == [merkle.leaf_hash(entry) for entry in entries]
    parsed = [strictjson.parse_object(entry) for entry in entries]
    assert [entry["seq"] for entry in parsed] == list(range(size))
    return parsed


# Processes


@pytest.mark.parametrize("after", [1, 40])
async def test_a_killed_process_leaves_all_that_it_acknowledged(path, after):
    with start_writer(path, 1, 1000) as writer:
        lines = [writer.stdout.readline() for _ in range(after)]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
    acknowledged = read_acknowledged(lines)
    assert len(acknowledged) >= after
    ledger = SqliteLedger.open(path)
    entries = await check_log(ledger)
    # One commit may have become durable whose answer was never heard.
    assert len(acknowledged) <= len(entries) <= len(acknowledged) + 1
    for number, index in acknowledged.items():
        held = await ledger.exchange_of(accept(number).exchange.env)
        assert f'\\"index\\":{index},' in held.receipt
        assert entries[index]["env"] == held.env
    await ledger.close()


async def test_two_processes_write_one_log(path, ledger):
    with start_writer(path, 1, 31) as one, start_writer(path, 21, 61) as other:
        found = [process.communicate(timeout=60)[0].splitlines(keepends=True) for process in (one, other)]
    first, second = map(read_acknowledged, found)
    # Ten envelopes are sent through both, and each is accepted once.
    assert first.keys() & second.keys() == set()
    assert first.keys() | second.keys() == set(range(1, 61))
    entries = await check_log(ledger)
    assert [entry["env"] for entry in entries] == [
        accept(number).exchange.env for number, _ in in_order(first | second)
    ]


async def test_a_writer_waits_for_another_process_and_then_says_so(path, ledger, logged):
    ledger._writer.execute("PRAGMA busy_timeout = 50")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Refusal, match="unavailable"):
            await ledger.commit([note(1)], sign_receipts)
        other.execute("COMMIT")
    assert [line["event"] for line in logged] == ["commit.failed"]
    assert await ledger.commit([note(1)], sign_receipts) == [Done(index=0)]


# Disks


async def test_a_full_disk_refuses_the_commit_and_keeps_what_was_there(ledger, logged):
    await ledger.commit([accept(1)], sign_receipts)
    [[pages]] = ledger._writer.execute("PRAGMA page_count").fetchall()
    ledger._writer.execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(3):
        with pytest.raises(Refusal) as refused:
            await ledger.commit([note(1), accept(2, size=60_000)], sign_receipts)
    assert (refused.value.code, "full" in str(refused.value)) == ("unavailable", False)
    assert [(line["event"], line["operations"]) for line in logged] == [("commit.failed", 2)]
    assert await ledger.size() == 1
    assert await ledger.exchange_of(accept(2).exchange.env) is None
    ledger._writer.execute("PRAGMA max_page_count = 1000000")
    [done] = await ledger.commit([accept(2, size=60_000)], sign_receipts)
    assert done.index == 1
    ledger._writer.execute("PRAGMA max_page_count = 1")
    with pytest.raises(Refusal):
        await ledger.commit([accept(3, size=60_000)], sign_receipts)
    assert len(logged) == 2  # the first trouble is over: this is another one
    await check_log(ledger)


async def test_what_the_driver_says_is_logged_within_the_table_of_events(ledger, logged):
    ledger._writer.execute("PRAGMA max_page_count = 1")
    with pytest.raises(Refusal):
        await ledger.commit([accept(1, size=60_000)], sign_receipts)
    [line] = logged
    assert line.keys() - {"event", "log_level"} == logs.EVENTS["commit.failed"]


async def test_a_damaged_page_is_told_as_unavailable(path, ledger, logged):
    await ledger.commit([accept(number) for number in range(1, 50)], sign_receipts)
    roots = ledger._far.execute("SELECT rootpage FROM sqlite_master WHERE name IN ('entry', 'exchange')").fetchall()
    await ledger.close()
    content = bytearray(path.read_bytes())
    for [page] in roots:
        content[(page - 1) * 4096 : page * 4096] = os.urandom(4096)
    path.write_bytes(content)
    damaged = SqliteLedger.open(path)
    with pytest.raises(Refusal, match="unavailable"):
        await damaged.exchange_of(accept(1).exchange.env)
    with pytest.raises(Refusal, match="unavailable"):
        await damaged.entries(0, 100)
    with pytest.raises(Refusal, match="unavailable"):
        await damaged.commit([accept(50)], sign_receipts)
    assert [line["event"] for line in logged] == ["read.failed", "commit.failed"]
    await damaged.close()


# Opening


def refused(path, *, create=False):
    with pytest.raises(Unusable) as found:
        SqliteLedger.open(path, create=create)
    assert path.name in found.value.detail
    return found.value


def test_a_file_that_is_missing_is_named(path):
    assert refused(path).code == "data_missing"
    assert not path.exists()


def test_a_folder_that_is_missing_is_not_made(tmp_path):
    assert refused(tmp_path / "none" / "bus.sqlite", create=True).code == "data_missing"


def test_a_folder_is_no_ledger(tmp_path):
    assert refused(tmp_path).code == "data_missing"


@pytest.mark.parametrize("create", [True, False])
def test_a_file_of_another_kind_is_named(path, create):
    path.write_bytes(b"not a database at all, but long enough to be taken for one" * 100)
    found = refused(path, create=create)
    assert (found.code, "not a database" in found.detail) == ("data_unusable", True)


def test_a_foreign_database_is_left_alone(path):
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE other (x)")
    for create in (True, False):
        assert "no ledger" in refused(path, create=create).detail
    with contextlib.closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("other",)]


async def test_a_file_of_another_version_is_refused(path, ledger):
    ledger._writer.execute("UPDATE meta SET value = '99'")
    await ledger.close()
    for create in (True, False):
        assert refused(path, create=create).code == "data_newer"


def test_an_empty_file_is_no_ledger_until_it_is_made_one(path):
    path.touch()
    assert refused(path).code == "data_unusable"


async def test_making_a_ledger_twice_keeps_it(path, ledger):
    await ledger.commit([note(1)], sign_receipts)
    again = SqliteLedger.open(path, create=True)
    assert await again.size() == 1
    await again.close()


async def test_the_files_are_their_owners_alone(path, ledger):
    await ledger.commit([note(1)], sign_receipts)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == dict.fromkeys(["bus.sqlite", "bus.sqlite-shm", "bus.sqlite-wal"], 0o600)


@pytest.fixture
def locked_folder():
    """A folder that even the superuser, who becomes nobody for a while, cannot write to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield folder
        folder.chmod(0o700)


@contextlib.contextmanager
def without_leave(folder):
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_a_folder_that_cannot_be_written_is_told(locked_folder):
    with without_leave(locked_folder):
        found = refused(locked_folder / "bus.sqlite", create=True)
    assert (found.code, "cannot be made" in found.detail) == ("data_unusable", True)
    assert list(locked_folder.iterdir()) == []


async def test_a_ledger_in_a_folder_that_cannot_be_written_is_told(locked_folder):
    path = locked_folder / "bus.sqlite"
    await SqliteLedger.open(path, create=True).close()
    path.chmod(0o444)
    with without_leave(locked_folder):
        found = refused(path)
    assert (found.code, found.entry.family) == ("data_unusable", "operator")


# Closing


async def test_a_closed_ledger_refuses(ledger):
    await ledger.close()
    await ledger.close()
    for work in (
        ledger.commit([note(1)], sign_receipts),
        ledger.size(),
        ledger.entries(0, 1),
        ledger.in_state("leased", 1),
    ):
        with pytest.raises(Refusal, match="unavailable"):
            await work


async def test_closing_waits_for_what_is_under_way(path, ledger):
    under_way = asyncio.ensure_future(ledger.commit([accept(number) for number in range(1, 200)], sign_receipts))
    await asyncio.sleep(0)
    await ledger.close()
    assert len(await under_way) == 199
    again = SqliteLedger.open(path)
    assert await again.size() == 199
    await again.close()
    assert [each.name for each in path.parent.iterdir()] == ["bus.sqlite"]


async def test_other_connections_cannot_write(ledger):
    for connection in (ledger._near, ledger._far):
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM entry")


async def test_reads_see_a_commit_at_once_and_nothing_before_it(ledger):
    seen = []

    def sign(items, policy):
        # On the writing thread, inside the transaction.
        seen.append(ledger._far.execute(statements.SIZE).fetchone()[0])
        return sign_receipts(items, policy)

    await ledger.commit([accept(1)], sign)
    assert (seen, await ledger.size()) == ([0], 1)


# What is kept beside the ports


async def test_persons_are_tied_to_their_exchange(ledger):
    operation = accept(1, persons=2)
    await ledger.commit([operation, accept(5)], sign_receipts)
    envs = [operation.exchange.env, accept(5).exchange.env]
    assert await ledger.persons_of(envs) == {operation.exchange.env: list(operation.subjects)}


async def test_a_record_that_stays_is_stored_once(ledger):
    for version in range(1, 6):
        await ledger.commit([publish(version, ["a", "b", f"changing {version}"])], sign_receipts)
    [[rows]] = ledger._far.execute("SELECT count(*) FROM directory_record").fetchall()
    assert rows == 2 + 5


async def test_one_checkpoint_is_kept(ledger):
    for size in range(5):
        await ledger.commit([KeepCheckpoint(size=size, note=str(size))], sign_receipts)
    [[rows]] = ledger._far.execute("SELECT count(*) FROM checkpoint").fetchall()
    assert rows == 1


async def test_bodies_leave_the_file_with_their_deliveries(ledger):
    operations = [accept(number) for number in range(1, 11)]
    await ledger.commit(operations, sign_receipts)
    held = [operation.deliveries[0] for operation in operations]
    await ledger.commit([lease(each) for each in held], sign_receipts)
    await ledger.commit([move(each, "acked", expect=frozenset({"leased"})) for each in held[:7]], sign_receipts)
    [[rows]] = ledger._far.execute("SELECT count(*) FROM body").fetchall()
    assert rows == 3


# Plans

ALL_ROWS = {
    "BODY_KEYS",
    "DOCUMENTS",
    "PRESENT_RECORDS",
    "RECORDS",
    "DEPTHS",
    "IN_STATE",
    "CHECKPOINT",
    "COSIGNED",
    "COVERED",
    "ALL_META",
    "DROP_CHECKPOINTS",
    "HEAD",
    "SIZE",
    "WITHHOLDINGS",
    "SUBJECT_KEYS",
    "KEPT_BY_DAY",
    "OPEN_BY_DAY",
}
"""Statements that read whole tables or indexes on purpose, or one end of them."""
OF_A_PAGE = "SCAN used"
"""Going through the rows of a page that an index has found."""
GIVEN = "VIRTUAL TABLE"
"""What is given with a statement as a list."""


def texts():
    return {
        name: getattr(value, "text", value)
        for name, value in vars(statements).items()
        if name.isupper() and (isinstance(value, statements.Group) or (isinstance(value, str) and " " in value))
    }


@pytest.mark.parametrize("name", sorted(texts().keys() - ALL_ROWS))
async def test_no_statement_reads_a_whole_table(ledger, name):
    text = texts()[name]
    values = [1] * text.count("?") if "?" in text else _Anything()
    plan = ledger._far.execute(f"EXPLAIN QUERY PLAN {text}", values).fetchall()
    scans = [row[3] for row in plan if row[3].startswith("SCAN")]
    assert [scan for scan in scans if scan != OF_A_PAGE and GIVEN not in scan] == []


class _Anything(dict):
    """A value for every parameter."""

    def __missing__(self, name):
        return 1


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("QUEUED", "delivery_queued"),
        ("DUE", "delivery_due"),
        ("IN_STATE", "delivery_due"),
        ("DEPTHS", "delivery_due"),
        ("OUTCOMES", "delivery_news"),
        ("USED_SINCE", "exchange_used"),
        ("FORGET_NONCES", "nonce_until"),
        ("USES", "subject_person"),
        ("ENTRIES_OF", "mention_env"),
        ("MENTIONING_PERSON", "mention_env"),
        ("ENVS_OF_PERSON", "subject_person"),
    ],
)
async def test_a_query_uses_its_index(ledger, name, index):
    plan = ledger._far.execute(f"EXPLAIN QUERY PLAN {texts()[name]}", _Anything()).fetchall()
    assert any(index in row[3] for row in plan), plan


async def test_a_person_is_erased_by_an_index(ledger):
    plan = ledger._far.execute(f"EXPLAIN QUERY PLAN {statements.ERASE.text}", [b""]).fetchall()
    assert ["subject_person" in row[3] for row in plan] == [True], plan


@pytest.mark.parametrize("by", ["env", "casefile", "procedure", "officer"])
async def test_a_search_walks_its_index_in_order(ledger, by):
    plan = ledger._far.execute(f"EXPLAIN QUERY PLAN {statements.MENTIONING[by]}", _Anything()).fetchall()
    assert [row[3].partition(" (")[0] for row in plan] == [f"SEARCH mention USING COVERING INDEX mention_{by}"]


async def test_a_lane_is_read_without_sorting(ledger):
    plan = ledger._far.execute(f"EXPLAIN QUERY PLAN {statements.QUEUED}", _Anything()).fetchall()
    assert [row[3] for row in plan if "TEMP B-TREE" in row[3]] == []
