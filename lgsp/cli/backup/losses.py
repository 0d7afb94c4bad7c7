"""What a restored log no longer proves, as the boxes of systems remember it: receipts and acks over entries that it does not hold.

A receipt names index and leaf of its entry. Where the log has another leaf there, or none, the entry is lost. That is compared with the log as it
is now, so it can be asked at any time after a restore. Nothing is changed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lgsp.bus.retention import KEPT
from lgsp.domain import base64url, statements, strictjson
from lgsp.errors import Unusable
from lgsp.machine import SystemClock
from lgsp.ports.store import Store
from lgsp.sdk import box_schema, outbox

ROWS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One exchange that a box has proof of and the log has not."""

    what: str
    """`sent`: a receipt; `taken`: an ack of this system's own."""
    index: int | None
    """That the receipt names."""
    id: str
    env: str
    state: str
    """Of what was sent: `repeated` when the bus has given another receipt, `queued` when it is on its way again, else what became of it."""


async def losses(store: Store, box: Path) -> AsyncIterator[Loss]:
    """Yield what a box proves and the log does not, in the order of the box; refuse (`data_unusable`) a file that is none."""
    try:
        with closing(box_schema.open_to_look(box)) as reader:
            for receipted in outbox.receipts(reader):
                index, leaf = _stated(receipted.receipt)
                if await _leaf(store, index) != leaf:
                    yield Loss(what="sent", index=index, id=receipted.id, env=receipted.env, state=receipted.state)
            for identifier, env in _taken(reader):
                if await store.exchange_of(env) is None:
                    yield Loss(what="taken", index=None, id=identifier, env=env, state="")
    except sqlite3.DatabaseError:
        raise Unusable("data_unusable", f"{box}: it is no box of a system, or cannot be read") from None


def directory_seen(box: Path) -> int:
    """Return the newest version of the directory that a box holds."""
    with closing(box_schema.open_to_look(box)) as reader:
        (version,) = reader.execute("SELECT coalesce(max(version), 0) FROM lgsp_directories").fetchone()
    return int(version)


def _stated(receipt: str) -> tuple[int, str]:
    item = strictjson.parse_object(statements.from_text(receipt).item.encode())
    return int(item["index"]), str(item["leaf"])


async def _leaf(store: Store, index: int) -> str:
    found = await store.leaves(index, index + 1)
    return "sha-256:" + base64url.encode(found[0]) if found else ""


def _taken(reader: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    # What expired longer ago the bus has forgotten in good order, its log entries apart.
    since = (SystemClock().now() - KEPT).timestamp()
    cursor = reader.execute("SELECT id, env FROM lgsp_inbox WHERE state = 'done' AND until > ?", (since,))
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        yield from rows
