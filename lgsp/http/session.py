"""One stream of one system after its hello: frames in, work beside it, frames out, and its end.

Reading goes on while work is committed, so that acks and sends which arrive together share a transaction. Whoever wants the stream to end
calls `end` with a reason; the first reason counts, and is told to the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

from aiohttp import WSMsgType, web

from lgsp.bus.authentication import Caller
from lgsp.bus.courier import Attachment
from lgsp.bus.inbox import Handover
from lgsp.bus.ingress import Answer, Receipted
from lgsp.bus.progress import Sighting
from lgsp.bus.refusing import EnvelopeRefused
from lgsp.bus.supervisor import Bus
from lgsp.domain import envelope
from lgsp.domain.directory import Directory
from lgsp.domain.envelope import Wire
from lgsp.domain.exchange import Delivery
from lgsp.domain.statements import Statement
from lgsp.errors import Language, Refusal
from lgsp.gathering import Gathering
from lgsp.http import frames
from lgsp.http.clients import Presented
from lgsp.http.leavings import Leavings
from lgsp.http.metrics import Metrics
from lgsp.http.outgoing import Outgoing
from lgsp.http.problems import problem_text
from lgsp.http.settings import HttpLimits
from lgsp.http.telling import Telling
from lgsp.logs import get_logger

GONE: Final = "gone"
"""The client closed in order."""
LOST: Final = "lost"
"""The connection broke, or nothing was heard for too long."""
ORDERLY: Final = frozenset({GONE, "drain", "suspended"})
"""Ends that say nothing against the deliveries in flight; when the client ends so over one delivery time after time, see `leavings`."""
PATIENT: Final = frozenset({"drain", "slow_reader"})
"""Ends whose last frames may take `drain_seconds`."""
LISTENING: Final = 0.02
"""Seconds between looks at whether a receiver has settled all, while a drain waits for it."""

TAKEN_IN_A_ROW: Final = 32
"""Frames of one stream that are taken before the other streams get their turn; what is of one kind among them is worked on together."""

ROW_BYTES: Final = 128 * 1024
"""Bytes of envelopes after which others have their turn sooner: decoding a few large ones takes as long as many small ones."""

Send = tuple[str, int, object]
"""The sender's reference as JSON text, the size of the envelope, and the envelope as it came."""

Close = Callable[[str], Awaitable[None]]

Socket = web.WebSocketResponse[Literal[False]]
"""A WebSocket whose texts come as bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every session of an application works with, and what this one's handshake said."""

    bus: Bus
    settings: HttpLimits
    metrics: Metrics
    leavings: Leavings
    language: Language
    peer: str
    presented: Presented | None
    """The client's certificate, where such are looked at."""


class Session:
    """A stream that knows whose it is; the courier sees it as a receiver."""

    def __init__(self, around: Surroundings, caller: Caller, *, grouped: bool) -> None:
        """Serve a caller; with `grouped` it agreed to several frames in one message."""
        self.system = caller.urn
        self._grouped = grouped
        self._around = around
        self._bus = around.bus
        self._kid = caller.kid
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._running: set[asyncio.Task[None]] = set()
        self._busy = 0
        """Frames that are worked on."""
        self._unanswered = 0
        self._unanswered_bytes = 0
        self._row_bytes = 0
        """Of the envelopes taken since others had their turn."""
        self._outstanding: set[str] = set()
        """Env hashes of what was handed over and is neither settled nor put back."""
        self._problem = ""
        self._telling = Telling(
            around.bus.progress,
            caller.urn,
            self._tell_outcome,
            page=around.settings.outcome_items,
            look_again=around.settings.outcomes_again_seconds,
        )
        self._sends = Gathering[Send](self._start_sends)
        self._acks = Gathering[Statement](self._start_acks)
        self._sightings = Gathering[Sighting](self._start_sightings)
        self._takes: dict[str, Callable[[dict[str, Any]], None]] = {
            "send": self._take_send,
            "credit": self._take_credit,
            "ack": self._take_ack,
            "nack": self._take_nack,
            "extend": self._take_extension,
            "seen": self._take_sighting,
            "ping": self._take_ping,
        }
        self._tasks: asyncio.TaskGroup
        self._outgoing: Outgoing
        self._attachment: Attachment

    # --- what the courier calls ----------------------------------------------------------------------------------------------------

    def hand_over(self, handover: Handover) -> None:
        """Put a delivery on its way; one that comes after the end goes back when the stream is detached."""
        if not self._ended.done():
            self._outstanding.add(handover.env)
            self._outgoing.put(frames.deliver(handover, self._bus.clock.now()))

    def outcome(self, delivery: Delivery) -> None:
        """Tell what became of something this system sent."""
        if not self._ended.done():
            self._telling.happened(delivery)

    def _tell_outcome(self, delivery: Delivery) -> None:
        self._outgoing.put(frames.outcome(delivery))

    # --- its life ------------------------------------------------------------------------------------------------------------------

    def end(self, reason: str) -> None:
        """End the stream for this reason; only the first one counts."""
        if not self._ended.done():
            self._ended.set_result(reason)

    def overflow(self) -> None:
        """End the stream, for its client does not read what it asked for."""
        self.end("slow_reader")

    async def run(self, ws: Socket, outgoing: Outgoing, close: Close) -> None:
        """Serve the stream until it ends, tell the client why, `close` the connection for that reason, take back what it held."""
        self._outgoing = outgoing
        self._attachment = self._bus.courier.attach(self.system, self)
        forget = self._bus.registry.on_change(self._look_at)
        self._look_at(self._bus.registry.current)
        get_logger().info("stream.opened", system=self.system, peer=self._around.peer)
        reason = LOST
        try:
            async with asyncio.TaskGroup() as self._tasks:
                reason = await self._serve(ws, close)
        finally:
            forget()
            await self._detach(orderly=self._is_orderly(reason))
            get_logger().info("stream.closed", system=self.system, reason=reason, outstanding=len(self._outstanding))

    async def _serve(self, ws: Socket, close: Close) -> str:
        """Run what the stream consists of until it is closed; what is still being committed then is awaited by the caller's group."""
        reading = self._tasks.create_task(self._watched(self._read(ws), "read"))
        beside = [
            self._tasks.create_task(self._watched(self._outgoing.run(), "write")),
            self._tasks.create_task(self._watched(self._tell(), "tell")),
        ]
        try:
            reason = await self._ended
            self._flush()
            self._attachment.close()
            there = reason != "drain" or await self._hear_out(reading)
            reading.cancel()
            self._flush()
            if there:
                await self._say_goodbye(reason)
        finally:
            for task in (reading, *beside):
                task.cancel()
        await asyncio.wait((reading, *beside))
        await close(reason)
        return reason

    async def _hear_out(self, reading: asyncio.Task[None]) -> bool:
        """Let the receiver settle what it holds, for it would go out a second time; tell whether the receiver is still there."""
        until = asyncio.get_running_loop().time() + self._around.settings.drain_seconds
        while (self._outstanding or self._running) and not reading.done():
            left = until - asyncio.get_running_loop().time()
            if left <= 0:
                break
            await asyncio.wait((reading,), timeout=min(left, LISTENING))
        return not reading.done()

    async def _watched(self, work: Coroutine[Any, Any, None], name: str) -> None:
        try:
            await work
        except ConnectionError:
            self.end(LOST)
        except Exception:  # noqa: BLE001 - a fault in one stream is logged and ends that stream alone
            get_logger().exception("task.failed", task=f"stream {name}")
            self.end("internal")

    async def _tell(self) -> None:
        with suppress(Refusal):  # the log is away: checkpoints are told for convenience, and can be asked for
            self._outgoing.put(frames.checkpoint(await self._bus.auditor.checkpoint()))
        await self._telling.run()

    async def _say_goodbye(self, reason: str) -> None:
        settings = self._around.settings
        if reason in {GONE, LOST}:
            return
        limit = settings.drain_seconds if reason in PATIENT else settings.closing_seconds
        if reason == "drain" and self._running:
            await asyncio.wait(self._running, timeout=limit)
        if reason == "slow_reader":
            self._outgoing.drop()
        pause = settings.retry_after if reason in PATIENT else None
        self._outgoing.finish(frames.closing(reason, retry_after=pause, problem=self._problem))
        with suppress(TimeoutError):  # it does not read; the connection is cut by the caller
            async with asyncio.timeout(limit):
                await self._outgoing.flush()

    def _is_orderly(self, reason: str) -> bool:
        if reason == GONE:
            return not self._around.leavings.left(self.system, self._outstanding)
        return reason in ORDERLY

    async def _detach(self, *, orderly: bool) -> None:
        try:
            await self._attachment.detach(orderly=orderly)
        except Refusal:
            # The ledger is away. The leases end by themselves and the sweep takes the deliveries back.
            get_logger().warning("task.failed", task="stream detach")

    def _look_at(self, directory: Directory) -> None:
        """End when the system or its key is not in force any more."""
        system, key = directory.systems.get(self.system), directory.keys.get(self._kid)
        known = system is not None and system.status == "active"
        if not known or key is None or key.owner != self.system or not key.record.holds_at(directory.version):
            self.end("suspended")

    # --- frames in -----------------------------------------------------------------------------------------------------------------

    async def _read(self, ws: Socket) -> None:
        limits = self._bus.limits
        most = limits.max_inflight + limits.credit
        taken = 0
        while True:
            message = await ws.receive()
            if message.type is not WSMsgType.TEXT:
                self._stop_at(message.type)
                return
            for frame in self._frames_of(message.data):
                self._take(frame)
                if self._is_cut:
                    return
                taken += 1
                if taken % TAKEN_IN_A_ROW == 0 or self._row_bytes >= ROW_BYTES:
                    self._row_bytes = 0
                    await asyncio.sleep(0)  # frames that lie here already are received without a pause for others
            while self._busy >= most or self._unanswered_bytes >= limits.inflight_bytes:
                self._flush()
                if not self._running:
                    break  # what was begun with has failed, and ends the stream
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    def _stop_at(self, kind: WSMsgType) -> None:
        if kind is WSMsgType.CLOSE:
            self.end(GONE)
        elif kind is WSMsgType.BINARY:
            self._end_at(Refusal("bad_request", "frames are text"))
        else:
            self.end(LOST)

    def _frames_of(self, message: bytes) -> list[dict[str, Any]]:
        try:
            found = frames.parse(message, grouped=self._grouped)
        except Refusal as refusal:
            self._end_at(refusal)
            return []
        return found

    def _take(self, frame: dict[str, Any]) -> None:
        take = self._takes.get(frame["op"])
        if take is None:
            self._end_at(Refusal("bad_request", "no such op", pointer="/op"))
            return
        try:
            take(frame)
        except Refusal as refusal:
            self._count(refusal)
            self._outgoing.put(frames.refused(frames.about(frame), self._problem_of(refusal)))

    @property
    def _is_cut(self) -> bool:
        """Whether the stream ends and nothing more of it is taken; in a drain receivers still settle what they hold."""
        return self._ended.done() and self._ended.result() != "drain"

    def _end_at(self, refusal: Refusal) -> None:
        """End at what is no frame: nobody could tell which one an answer belongs to."""
        self._count(refusal)
        self._problem = self._problem_of(refusal)
        self.end("bad_frame")

    def _count(self, refusal: Refusal) -> None:
        """Count a frame that was refused before anything in it was proven."""
        self._bus.refusals.count(refusal.code, self._around.peer)
        self._around.metrics.count_refusal(refusal.code)

    def _take_send(self, frame: dict[str, Any]) -> None:
        ref = frames.read_ref(frame)
        if self._unanswered >= self._bus.limits.max_inflight:
            self.end("too_many_inflight")
            return
        value = frame.get("envelope")
        size = _size(value)
        self._unanswered += 1
        self._unanswered_bytes += size
        self._row_bytes += size
        self._sends.add((ref, size, value))

    def _take_credit(self, frame: dict[str, Any]) -> None:
        credit = frames.read_credit(frame)
        self._attachment.credit(credit.n, credit.size)

    def _take_ack(self, frame: dict[str, Any]) -> None:
        self._acks.add(frames.read_ack(frame.get("ack")))

    def _take_nack(self, frame: dict[str, Any]) -> None:
        nack = frames.read_nack(frame)
        self._start(self._answer(frames.about_env(nack.env), self._put_back(nack)))

    def _take_extension(self, frame: dict[str, Any]) -> None:
        asked = frames.read_extension(frame)
        self._start(self._answer(frames.about_env(asked.env), self._extend(asked)))

    def _take_sighting(self, frame: dict[str, Any]) -> None:
        self._sightings.add(frames.read_sighting(frame))

    def _take_ping(self, _frame: dict[str, Any]) -> None:
        self._outgoing.put(frames.pong(self._bus.clock.now()))

    # --- work beside the reading -----------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Begin with what was read and not begun with."""
        for gathered in (self._sends, self._acks, self._sightings):
            gathered.flush()

    def _start_sends(self, sends: list[Send]) -> None:
        self._start(self._submit(sends), len(sends))

    def _start_acks(self, acks: list[Statement]) -> None:
        self._start(self._acknowledge(acks), len(acks))

    def _start_sightings(self, sightings: list[Sighting]) -> None:
        self._start(self._see(sightings), len(sightings))

    def _start(self, work: Coroutine[Any, Any, None], count: int = 1) -> None:
        """Work on so many frames beside the reading; a fault that is nobody's answer ends the stream."""
        task = self._tasks.create_task(self._watched(work, "work"))
        self._busy += count
        self._running.add(task)
        task.add_done_callback(partial(self._done, count))

    def _done(self, count: int, task: asyncio.Task[None]) -> None:
        self._busy -= count
        self._running.discard(task)

    async def _answer(self, about: str, work: Coroutine[Any, Any, None]) -> None:
        """Do what a frame asks that is answered only when it is refused; `about` is the member that says which one it was."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - a fault of ours is logged and answered like any refusal
            self._refuse(about, error)

    def _refuse(self, about: str, error: Exception) -> None:
        """Tell of the "no" that something ended in; `about` is the member that says what was refused."""
        if isinstance(error, EnvelopeRefused):
            refusal, receipt = error.refusal, error.receipt or ""
        elif isinstance(error, Refusal):
            refusal, receipt = error, ""
        else:
            self._outgoing.put(frames.refused(about, self._failed(error)))
            return
        self._around.metrics.count_refusal(refusal.code)
        self._outgoing.put(frames.refused(about, self._problem_of(refusal, receipt=receipt)))

    def _problem_of(self, refusal: Refusal, *, receipt: str = "") -> str:
        request_id = self._bus.entropy.uuid7()
        return problem_text(refusal, language=self._around.language, request_id=request_id, receipt=receipt)

    def _failed(self, error: Exception) -> str:
        """Log a fault, which is ours, and return the problem that names the line."""
        request_id = self._bus.entropy.uuid7()
        get_logger().error("request.failed", request_id=request_id, method="GET", path="/v1/stream", exc_info=error)
        self._around.metrics.count_refusal("internal")
        return problem_text(Refusal("internal"), language=self._around.language, request_id=request_id)

    async def _submit(self, sends: Sequence[Send]) -> None:
        asked, wires = [], []
        for ref, size, value in sends:
            try:
                wires.append(self._own(envelope.from_structured(value)))
                asked.append((ref, size))
            except Refusal as refusal:
                self._bus.refusals.count(refusal.code, self._around.peer)
                self._answer_send(ref, size, refusal)
        if not wires:
            return
        with self._bus.figures.timed("submit", len(wires)):
            await self._bus.ingress.submit_all(
                wires,
                peer=self._around.peer,
                system=self.system,
                tell=lambda place, answer: self._answer_send(*asked[place], answer),
            )

    def _own(self, wire: Wire) -> Wire:
        if self._around.presented is not None:
            self._around.presented.check_envelope(wire, self._bus.registry.current)
        return wire

    def _answer_send(self, ref: str, size: int, answer: Answer) -> None:
        self._unanswered -= 1
        self._unanswered_bytes -= size
        metrics = self._around.metrics
        if isinstance(answer, Receipted):
            metrics.count_accepted(duplicate=answer.duplicate)
            self._outgoing.put(frames.receipt(ref, answer.receipt))
            return
        if isinstance(answer, EnvelopeRefused | Refusal):
            metrics.count_rejected()
        self._refuse(frames.about_ref(ref), answer)

    async def _acknowledge(self, acks: Sequence[Statement]) -> None:
        answers = await self._bus.settlement.acknowledge_all(self.system, acks)
        for ack, answer in zip(acks, answers, strict=True):
            if isinstance(answer, Exception):
                self._refuse(frames.about_env(ack.item), answer)
                continue
            self._outstanding.discard(answer)
            self._around.leavings.settled(self.system, answer)
            self._outgoing.put(frames.settled(answer))

    async def _put_back(self, nack: frames.Nack) -> None:
        await self._bus.settlement.put_back(
            self.system, env=nack.env, lease=nack.lease, code=nack.code, retry_after=nack.retry_after
        )
        self._outstanding.discard(nack.env)

    async def _extend(self, asked: frames.Extension) -> None:
        await self._bus.settlement.extend(self.system, env=asked.env, lease=asked.lease)

    async def _see(self, sightings: Sequence[Sighting]) -> None:
        refusals: Sequence[Exception | None]
        try:
            refusals = await self._telling.see(sightings)
        except Exception as error:  # noqa: BLE001 - logged and answered
            refusals = [error for _ in sightings]
        for sighting, refusal in zip(sightings, refusals, strict=True):
            if refusal is not None:
                self._refuse(frames.about_env(sighting.env), refusal)


def _size(envelope: object) -> int:
    """Return the bytes of an envelope's texts: what is kept of its frame until it is answered."""
    values = envelope.values() if isinstance(envelope, dict) else ()
    return sum(len(value) for value in values if isinstance(value, str))
