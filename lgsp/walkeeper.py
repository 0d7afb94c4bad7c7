"""Keeps the write-ahead log of an SQLite file short, on a thread of its own.

SQLite would copy the log into the file at the end of some transaction, and whoever waits for that one waits for the copying too: tens of
milliseconds, several times a second under load. Here another connection copies while the writer goes on. The writer itself begins a long log
anew, between two of its transactions: then it copies no more than what came since.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Final

from lgsp.logs import get_logger

BACKSTOP: Final = 65_536
"""Pages (of 4 KiB) after which the writer copies by itself, should nobody else have done it: `PRAGMA wal_autocheckpoint`."""
EVERY: Final = 0.25
"""Seconds between two copies."""
LONG: Final = 8_192
"""Pages after which the log is to begin anew."""
REST: Final = 1 / 8
"""How much of a long log may be left to copy when it is begun anew."""

EMPTYING: Final = 5_000
"""Milliseconds for which emptying the log waits for whoever reads it."""


def empty_log(writer: sqlite3.Connection, patience: int) -> bool:
    """Copy all of the log into the file and cut the log to nothing; return False when somebody still read it after `patience` milliseconds."""
    return _checkpoint(writer, "TRUNCATE", patience)


def _checkpoint(writer: sqlite3.Connection, mode: str, patience: int) -> bool:
    """Copy in a mode that waits at most so many milliseconds for others, and tell whether it came to its end."""
    (usual,) = writer.execute("PRAGMA busy_timeout").fetchone()
    writer.execute(f"PRAGMA busy_timeout = {patience}")
    try:
        (busy, *_) = writer.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    finally:
        writer.execute(f"PRAGMA busy_timeout = {int(usual)}")
    return not busy


class WalKeeper:
    """One file's keeper; from `start` to `stop`."""

    def __init__(self, path: Path, *, every: float = EVERY, long: int = LONG) -> None:
        self._path = path
        self._every = every
        self._long = long
        self._is_long = False
        self._is_to_be_emptied = False
        self._copying = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"wal {path.name}", daemon=True)

    def start(self) -> None:
        """Begin; the file is there and in WAL mode."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the copy that is under way."""
        self._ended.set()
        self._thread.join()

    def begin_anew(self, writer: sqlite3.Connection, *, empty: bool = False) -> None:
        """Let a log that has grown long begin anew; to be called between two transactions of the writer, on its thread. Never raises.

        With `empty` the log is emptied now, long or not, because of what it holds; where somebody reads at length, after a later transaction.
        """
        self._is_to_be_emptied = self._is_to_be_emptied or empty
        if not (self._is_long or self._is_to_be_emptied):
            return
        # Of two who copy SQLite turns the second away at once, however patient it is.
        if not self._copying.acquire(blocking=self._is_to_be_emptied):
            return
        self._is_long = False
        try:
            if self._is_to_be_emptied:
                self._is_to_be_emptied = not empty_log(writer, EMPTYING if empty else 0)
            else:
                _checkpoint(writer, "RESTART", 0)  # the next turn tries again
        except sqlite3.Error as error:  # a full disk, say: what was committed stays so
            get_logger().warning("wal.busy", reason=error.sqlite_errorname)
        finally:
            self._copying.release()

    def _run(self) -> None:
        try:
            with closing(self._connect()) as connection:
                self._keep(connection)
        except sqlite3.Error:
            # The file cannot be opened by a second connection: the writer's own backstop remains.
            get_logger().warning("task.failed", task="wal keeper", exc_info=True)

    def _connect(self) -> sqlite3.Connection:
        # A file that is gone is not made anew.
        uri = f"{self._path.absolute().as_uri()}?mode=rw"
        return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)

    def _keep(self, connection: sqlite3.Connection) -> None:
        seen = -1
        while not self._ended.wait(self._every):
            try:
                (version,) = connection.execute("PRAGMA data_version").fetchone()
                if version != seen:
                    self._copy(connection)
                    seen = version
            except sqlite3.OperationalError as error:
                # Busy, or the disk is full: the log stays as it is, and the next turn tries again.
                get_logger().debug("wal.busy", reason=error.sqlite_errorname)

    def _copy(self, connection: sqlite3.Connection) -> None:
        with self._copying:
            _, pages, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        # Not while much cannot be copied: for a reader that stays in the past the writer would be held up in vain, turn after turn.
        self._is_long = pages > self._long and pages - copied <= self._long * REST
