"""The log beside an SQLite file is copied and begun anew while a writer goes on."""

import sqlite3
import time
from contextlib import closing

import pytest

from lgsp.walkeeper import WalKeeper


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.sqlite"


@pytest.fixture
def writer(path):
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("CREATE TABLE row (number INTEGER PRIMARY KEY, data BLOB)")
        yield connection


def fill(writer, count, size=4_000):
    for _ in range(count):
        writer.execute("INSERT INTO row (data) VALUES (zeroblob(?))", (size,))


def eventually(condition, seconds=20.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def main_file_holds(path, count):
    """Tell whether the rows are in the file itself, its log left aside; what is read halfway through a copy counts as no."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as alone:
        try:
            return alone.execute("SELECT count(*) FROM row").fetchone()[0] == count
        except sqlite3.DatabaseError:
            return False


def test_what_is_committed_comes_into_the_file_while_the_writer_stays_open(path, writer):
    keeper = WalKeeper(path, every=0.01)
    keeper.start()
    try:
        fill(writer, 50)
        eventually(lambda: main_file_holds(path, 50))
    finally:
        keeper.stop()


def test_the_log_of_a_writer_that_never_rests_stays_bounded(path, writer):
    keeper = WalKeeper(path, every=0.01, long=200)
    log = path.with_name(path.name + "-wal")
    keeper.start()
    try:
        written = 0
        until = time.monotonic() + 3
        while time.monotonic() < until or written < 1_000:
            fill(writer, 10)
            time.sleep(0.01)  # what a gateway does between two transactions
            keeper.begin_anew(writer)
            written += 10
        assert log.stat().st_size < written * 4_000 / 2, "it began anew again and again"
    finally:
        keeper.stop()
    assert writer.execute("SELECT count(*) FROM row").fetchone() == (written,)


def test_it_stops_at_once_and_lets_go_of_the_file(path, writer):
    keeper = WalKeeper(path, every=60)
    keeper.start()
    started = time.monotonic()
    keeper.stop()
    assert time.monotonic() - started < 5
    writer.execute("PRAGMA locking_mode = EXCLUSIVE")
    fill(writer, 1)


def test_a_file_that_is_gone_ends_it_without_making_one(tmp_path):
    keeper = WalKeeper(tmp_path / "gone.sqlite", every=0.01)
    keeper.start()
    keeper.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_short_log_is_left_as_it_is(path, writer):
    keeper = WalKeeper(path)
    fill(writer, 50)
    keeper.begin_anew(writer)
    assert path.with_name(path.name + "-wal").stat().st_size > 50 * 4_000


def test_a_log_that_must_be_emptied_is_empty_even_while_the_keeper_copies(path, writer):
    log = path.with_name(path.name + "-wal")
    keeper = WalKeeper(path, every=0.0001)
    keeper.start()
    try:
        for _ in range(500):
            fill(writer, 2)
            keeper.begin_anew(writer, empty=True)
            assert log.stat().st_size == 0
    finally:
        keeper.stop()


def test_the_writer_waits_for_no_reader_and_keeps_its_patience(path, writer):
    writer.execute("PRAGMA busy_timeout = 5000")
    keeper = WalKeeper(path, every=0.01, long=10)
    keeper.start()
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM row").fetchone()
        fill(writer, 50)
        keeper._is_long = True
        started = time.monotonic()
        keeper.begin_anew(writer)
        assert time.monotonic() - started < 2
    keeper.stop()
    assert writer.execute("PRAGMA busy_timeout").fetchone() == (5000,)


def test_a_reader_that_stays_hinders_neither_writer_nor_keeper(path, writer):
    keeper = WalKeeper(path, every=0.01, long=50)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        fill(writer, 5)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM row").fetchone() == (5,)
        keeper.start()
        fill(writer, 300)
        keeper.begin_anew(writer)
        assert reader.execute("SELECT count(*) FROM row").fetchone() == (5,)
        reader.execute("COMMIT")
        fill(writer, 1)
        eventually(lambda: main_file_holds(path, 306))
    keeper.stop()


def test_while_a_reader_stays_in_the_past_the_log_is_not_begun_anew(path, writer):
    keeper = WalKeeper(path, long=50)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader, closing(keeper._connect()) as copying:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM row").fetchone()
        fill(writer, 300)
        keeper._copy(copying)
        assert not keeper._is_long
        reader.execute("COMMIT")
        keeper._copy(copying)
        assert keeper._is_long
