"""What a client does when the bus no longer knows what it receipted last: its log was restored from a copy, and what came after the copy is gone.

All that has a receipt and no end yet goes out again, the same bytes under the same name: what the bus does know it answers with the first receipt,
what a receiver has dealt with the receiver answers with its first ack. What has expired meanwhile cannot be repeated; the program is told of it.
The receipts of before stay: they prove what the bus had promised.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lgsp.domain.envelope import manifest_of
from lgsp.sdk import outbox
from lgsp.sdk.box import Writing
from lgsp.sdk.outbox import Outcome

LOST: Final = "log_rolled_back"
"""The code of an envelope that the bus has lost and that can no longer be repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """How many envelopes go out again, and the end of each that could not."""

    again: int
    over: tuple[Outcome, ...]


def repeat(writing: Writing, now: datetime) -> Repeated:
    """Put what is receipted and not over back on its way, once for each time that the bus is found rolled back."""
    writing.connection.execute("DELETE FROM lgsp_newest")
    unended = writing.connection.execute("SELECT seq FROM lgsp_outbox WHERE state = 'receipted' AND body IS NOT NULL")
    again, over = 0, []
    for (seq,) in unended.fetchall():
        row = writing.connection.execute("SELECT id, env, key, type, compact FROM lgsp_outbox WHERE seq = ?", (seq,))
        identifier, env, key, type_, compact = row.fetchone()
        if manifest_of(compact).expires > now:
            again += 1
            _queue_anew(writing, seq)
        else:
            writing.connection.execute("UPDATE lgsp_outbox SET body = NULL WHERE seq = ?", (seq,))
            over.append(Outcome(id=identifier, key=key, type=type_, env=env, to="", state="expired", code=LOST))
    outbox.tell(writing, over)
    return Repeated(again=again, over=tuple(over))


def _queue_anew(writing: Writing, seq: int) -> None:
    writing.connection.execute(
        "INSERT INTO lgsp_superseded (id, env, receipt) SELECT id, env, receipt FROM lgsp_outbox WHERE seq = ?", (seq,)
    )
    writing.connection.execute("UPDATE lgsp_outbox SET state = 'queued', receipt = NULL WHERE seq = ?", (seq,))
