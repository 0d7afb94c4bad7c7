"""What a witness outside says of the log: it co-signs the kept checkpoints, and shows when this is not the log that it has seen before.

Only kept checkpoints are offered, so a witness never knows more than a sound ledger does. Whoever has seen more, or another root, proves that the
ledger was rolled back or changed: the gateway does not start, and ends when it learns of it later. Signing checkpoints is the auditor's, keeping
what the witness has seen the witness's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from lgsp.bus.auditor import Auditor, broken
from lgsp.bus.ingress import Ingress
from lgsp.domain.checkpoint import Checkpoint
from lgsp.domain.limits import Limits
from lgsp.domain.notes import NoteInvalid, is_named_in
from lgsp.errors import Refusal
from lgsp.logs import get_logger
from lgsp.ports.anchor import Anchor, AnchorAway, Answer, Cosigned, HoldsSize, OtherRoot
from lgsp.ports.ledger import KeepCosigned

EVERY: Final = 5.0
"""Seconds between looks whether the kept checkpoint has grown."""
AGAIN: Final = 60.0
"""Seconds after which a witness is asked though nothing has grown: whether it is there is known before it is needed."""
ROUND_SECONDS: Final = 20.0
"""How long one look may take, all questions of it included."""
START_SECONDS: Final = 6.0
"""How long a start waits for the witness; without it the gateway starts, says so, and compares as soon as the witness is there."""
END_SECONDS: Final = 5.0
"""How long an orderly end waits for it: nobody should find a log that has stopped and whose last entries no witness has seen."""
QUESTIONS: Final = 6
"""In one look: other gateways may have the witness sign meanwhile."""
CLOSED: Final = "witness_away"
"""The code under which nothing is taken in after too long without a witness."""


@dataclass(slots=True, kw_only=True)
class Witnessing:
    """Has checkpoints co-signed; without an anchor it does nothing."""

    anchor: Anchor | None
    auditor: Auditor
    ingress: Ingress
    limits: Limits
    monotonic: Callable[[], float] = time.monotonic
    _stored: str = ""
    """The co-signed checkpoint that the ledger held at the last look."""
    _size: int = 0
    """How many entries that is over."""
    _heard: float = 0.0
    """When a witness's word last came, to this gateway or another."""
    _is_compared: bool = False
    """Whether this gateway has had an answer since its start."""
    _was_away: bool = False
    """Whether the last question of this gateway's own got no answer."""
    _was_overdue: bool = False

    @property
    def is_wanted(self) -> bool:
        """Whether there is a witness to ask."""
        return self.anchor is not None

    @property
    def size(self) -> int:
        """How many entries the last co-signed checkpoint covers."""
        return self._size

    def seconds_ago(self) -> float:
        """Return how long it is ago that a witness's word came."""
        return self.monotonic() - self._heard

    def state(self) -> str:
        """Return `ok`, or `away` when somebody has to be told."""
        return "away" if self._is_past(self.limits.witness_alarm) else "ok"

    def _is_past(self, most: timedelta) -> bool:
        return self.seconds_ago() >= most.total_seconds()

    async def start(self) -> None:
        """Compare the log with what the witness has seen; refuse (`log_broken`) when it contradicts, go on when it is away."""
        self._heard = self.monotonic()
        if self.anchor is None:
            return
        await self._take_up(at_start=True)
        await self._round(START_SECONDS)

    async def end(self) -> None:
        """Have the last kept checkpoint co-signed before this gateway stops; refuse and go on as `start` does."""
        if self.anchor is not None:
            await self._round(END_SECONDS)

    async def run(self) -> None:
        """Have what has grown co-signed until cancelled; raise (`log_broken`) when the witness has seen another log."""
        while self.anchor is not None:
            await asyncio.sleep(EVERY)
            await self._round(ROUND_SECONDS)

    async def _round(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.once()
        except (AnchorAway, TimeoutError) as error:
            self._note_away(str(error) or "no answer in time")
        except Refusal as refusal:
            if refusal.code == "log_broken":
                self.auditor.contradicted = True
                raise
            get_logger().warning("task.failed", task="witness")  # the ledger is away
        self._look()

    async def once(self) -> None:
        """Offer the kept checkpoint to the witness unless it is co-signed already and was so a moment ago."""
        if self.anchor is None:
            return
        await self._take_up()
        note, offered = await self.auditor.kept()
        if self._size > offered.size:
            raise broken(f"the kept checkpoint covers {offered.size} entries, a co-signed one {self._size}")
        if offered.size > self._size or not self._is_compared or self.seconds_ago() >= AGAIN:
            await self._offer(self.anchor, note, offered)

    async def _take_up(self, *, at_start: bool = False) -> None:
        """Take over what the ledger holds of the witness's word: another gateway may have got it."""
        stored = await self.auditor.cosigned()
        if not stored or stored == self._stored:
            return
        checkpoint, since = self._opened(stored)
        self._stored, self._size = stored, checkpoint.size
        ago = max(self.auditor.clock.now().timestamp() - since, 0.0) if at_start else 0.0
        self._heard = self.monotonic() - ago

    def _opened(self, note: str) -> tuple[Checkpoint, int]:
        """Return a co-signed checkpoint and when it was; one of a witness that is none any more counts as of now."""
        assert self.anchor is not None
        try:
            return self.auditor.open_cosigned(note, self.anchor.key)
        except NoteInvalid as error:
            opened = self.auditor.opened(note)
            if is_named_in(self.anchor.key, note):
                raise broken(f"the co-signed checkpoint: {error}") from None
            return opened, int(self.auditor.clock.now().timestamp())

    async def _offer(self, anchor: Anchor, note: str, offered: Checkpoint) -> None:
        old, refuted = self._size, False
        for _ in range(QUESTIONS):
            answer = await self._ask(anchor, old, note, offered)
            match answer:
                case Cosigned(lines=lines):
                    await self._keep(anchor, note + lines, offered)
                    return
                case HoldsSize(size=size):
                    old, refuted = size, False
                    if old > offered.size:
                        note, offered = await self._grown(old)
                case OtherRoot() if not refuted:
                    refuted = True  # once more: another gateway may have been between question and answer
                case OtherRoot():
                    raise broken(
                        f"the witness has seen another log under this name: its first {old} entries were others"
                    )
        raise AnchorAway("its size changes with every question")

    async def _ask(self, anchor: Anchor, old: int, note: str, offered: Checkpoint) -> Answer:
        path = await self.auditor.consistency(old, offered)
        return await anchor.add_checkpoint(old, path, note)

    async def _grown(self, seen: int) -> tuple[str, Checkpoint]:
        """Return the kept checkpoint as another gateway has meanwhile kept it; one that still covers less than was seen is of a log rolled back."""
        note, offered = await self.auditor.kept()
        if seen > offered.size:
            raise broken(
                f"the witness has seen {seen} entries, the kept checkpoint covers {offered.size}: the log was rolled back"
            )
        return note, offered

    async def _keep(self, anchor: Anchor, note: str, offered: Checkpoint) -> None:
        try:
            self.auditor.open_cosigned(note, anchor.key)
        except NoteInvalid as error:
            raise AnchorAway(f"its answer: {error}") from None
        await self.auditor.sequencer.submit(KeepCosigned(size=offered.size, note=note))
        self._stored, self._size, self._is_compared = note, offered.size, True
        self._heard = self.monotonic()
        if self._was_away:
            get_logger().info("witness.back", size=self._size)
        self._was_away = False

    def _note_away(self, reason: str) -> None:
        if not self._was_away:
            get_logger().warning("witness.away", reason=reason)
        self._was_away = True

    def _look(self) -> None:
        """Raise the alarm, and close or open the door, as time has it."""
        is_overdue = self._is_past(self.limits.witness_alarm)
        if is_overdue and not self._was_overdue:
            get_logger().error("witness.overdue", seconds=round(self.seconds_ago()), size=self._size)
        self._was_overdue = is_overdue
        most = self.limits.unwitnessed
        self.ingress.closed = CLOSED if most is not None and self._is_past(most) else ""
