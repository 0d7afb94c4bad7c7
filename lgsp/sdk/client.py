"""The client of the bus: what a program opens to send, ask, receive and learn what became of things.

    async with Client.open(SystemSettings.load(path)) as client:
        sent = await client.send("vn.lgsp…v1", audience="urn:lgsp:…", schema="urn:lgsp:schema:…", body={…}, key="vessel 17")
        reply = await client.request("vn.lgsp…v1", …)
        async for message in client.inbox():
            async with message.effect() as effect:
                effect.reply({…})

It wires box, stream, sender and receiver; each keeps its own promises. One process at a time holds a box.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from operator import itemgetter
from typing import Any, Final, Self, TypeVar, Unpack

import aiohttp

from lgsp.domain.directory import Directory
from lgsp.keyfiles import read_private
from lgsp.logs import get_logger
from lgsp.ports.clock import Clock
from lgsp.sdk import frames, marks, outbox
from lgsp.sdk.awaited import in_time
from lgsp.sdk.box import Box, Committed, Writing
from lgsp.sdk.certificate import own_certificate
from lgsp.sdk.composition import Composer, Composing, Stated, Told, published
from lgsp.sdk.directories import Directories
from lgsp.sdk.errors import OutcomeUnknown, Refused, Unreachable
from lgsp.sdk.frames import Welcome
from lgsp.sdk.gateway import Gateway, envelope_path, evidence_path
from lgsp.sdk.joining import Joining
from lgsp.sdk.message import Failure, Message, Tables, Value, Work, carry_out
from lgsp.sdk.outbox import Outcome, Sent
from lgsp.sdk.receiver import Receiver
from lgsp.sdk.resuming import Resuming
from lgsp.sdk.sender import Sender
from lgsp.sdk.settings import SystemSettings
from lgsp.sdk.stream import Ended, Stream
from lgsp.sdk.surroundings import Surroundings
from lgsp.sdk.trust import Trust
from lgsp.tls import trusting

T = TypeVar("T")
KEPT: Final = timedelta(days=31)
"""How long rows outlive the expiry of their envelope: as long as the bus keeps the exchange, and a day."""
LEASES_LOOKED_AT: Final = 30.0


class Client:
    """One system on the bus."""

    def __init__(
        self,
        settings: SystemSettings,
        *,
        box: Box,
        composer: Composer,
        http: aiohttp.ClientSession,
        tls: ssl.SSLContext | bool,
        window: int,
        around: Surroundings,
    ) -> None:
        self.settings = settings
        self._certificate = own_certificate(settings, tls=tls)
        self._box = box
        self._clock = around.clock
        self._forget_every = around.forget_every
        self._broken: BaseException | None = None
        self._is_over = False
        self._quiet = asyncio.Event()
        self._gateway = gateway = Gateway(url=lambda: self._stream.url, http=http)
        self._directories = Directories(fetch=gateway.directory, box=box, registrar=settings.pinned, bus=settings.bus)
        self._joining = Joining(directories=self._directories, urls=settings.urls)
        self._compose = Composing(composer=composer, newest=lambda: self._directories.head)
        self._stream = Stream(
            urls=settings.urls,
            system=settings.system,
            http=http,
            authorize=lambda welcome: composer.authorization(settings.bus, nonce=welcome.nonce, at=welcome.now),
            listener=self,
            chance=around.chance,
            pace=around.pace,
        )
        trust = Trust(system=settings.system, bus=settings.bus, log=settings.log)
        self._receiver = Receiver(
            box=box,
            trust=trust,
            compose=self._compose,
            directories=self._directories,
            put=self._stream.put,
            window=window,
        )
        self._sender = Sender(
            box=box,
            trust=trust,
            clock=around.clock,
            directories=self._directories,
            put=self._stream.put,
            fail_expected=self._receiver.fail_expected,
        )
        self._resuming = Resuming(
            box=box,
            clock=around.clock,
            sender=self._sender,
            ask=lambda env, at: gateway.knows(env, composer.asking(settings.bus, envelope_path(env), at=at)),
        )
        box.on_commit = self._committed

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: SystemSettings,
        *,
        connect_within: float | None = 10.0,
        drain: float = 5.0,
        window: int = 256,
        around: Surroundings | None = None,
    ) -> AsyncIterator[Self]:
        """Open the box and the stream for the length of a block.

        Waits `connect_within` seconds for a gateway and raises `Unreachable`, or `Refused` when it does not let this system in: at once where
        every address says no for good. None does not wait. At the end it gives what is in the outbox `drain` seconds to go out. `window` is
        how many messages may be in hand.
        """
        around = around or Surroundings()
        signer = read_private(settings.key)
        composer = Composer(system=settings.system, signer=signer, clock=around.clock, entropy=around.entropy)
        tls = trusting(settings.ca, certificate=settings.certificate, key=settings.certificate_key)
        box = Box.open(settings.box, sign=composer.acks)
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as http:
                client = cls(settings, box=box, composer=composer, http=http, tls=tls, window=window, around=around)
                async with client._running(drain):
                    if connect_within is not None:
                        await client.ready(connect_within)
                    yield client
        finally:
            await box.close()

    @property
    def directory(self) -> Directory:
        """The newest version of the directory that was seen; version 0 before the first."""
        return self._directories.head

    @property
    def clock(self) -> Clock:
        """The clock that the client goes by."""
        return self._clock

    async def ready(self, within: float) -> None:
        """Wait up to `within` seconds for a stream and the newest directory; raise `Unreachable`, or `Refused`, as `open` does."""
        await self._joining.wait(within)

    # --- sending --------------------------------------------------------------------------------------------------------------------

    async def send(
        self,
        type: str,  # noqa: A002 - the envelope's attribute has this name
        *,
        wait: bool = True,
        timeout: float = 30.0,  # noqa: ASYNC109 - part of what the caller is told about
        **stated: Unpack[Stated],
    ) -> Sent:
        """Send an envelope and return it with its receipt; with `wait=False` once it is durable in the outbox.

        With a `key` that was used before, the first envelope is returned and nothing new is sent. Raises `Refused`, or `Unreachable` or
        `OutcomeUnknown` after `timeout` seconds, when the envelope stays in the outbox and goes on its way.
        """
        sent = await self._post(type, stated)
        return await self._receipted(sent, timeout) if wait and sent.state == "queued" else sent

    async def publish(
        self,
        type: str,  # noqa: A002 - the envelope's attribute has this name
        *,
        wait: bool = True,
        timeout: float = 30.0,  # noqa: ASYNC109 - part of what the caller is told about
        **told: Unpack[Told],
    ) -> Sent:
        """Send an event to all who subscribe to its type at that moment, as `send` does; with no subscriber it is accepted and done."""
        return await self.send(type, wait=wait, timeout=timeout, **published(type, told))

    async def request(
        self,
        type: str,  # noqa: A002 - the envelope's attribute has this name
        *,
        timeout: float = 30.0,  # noqa: ASYNC109 - part of what the caller is told about
        **stated: Unpack[Stated],
    ) -> Message:
        """Send a request and return its reply, settled; under a `key` a rerun returns the same reply.

        Raises `Refused` when the bus or the receiver says no, and `Unreachable` or `OutcomeUnknown` after `timeout` seconds.
        """
        sent = await self._post(type, stated)
        future = self._receiver.expect(sent.id)
        try:
            if not future.done():
                self._raise_failure(sent.id)
            return await in_time(timeout, future)
        except TimeoutError:
            raise self._unknown(sent) from None
        finally:
            self._receiver.give_up(sent.id, future)

    async def outcome(self, id: str, timeout: float = 30.0) -> Outcome:  # noqa: A002, ASYNC109 - as above
        """Return what became of an envelope at its receiver; raise `Refused` when the bus refused it, `OutcomeUnknown` after `timeout` seconds."""
        waits = self._sender.outcome_waits
        future = waits.wait(id)
        try:
            found = None if self._sender.awaits_outcome(id) else self._known_outcome(id)
            if found is None:
                found = await in_time(timeout, future)
        except TimeoutError:
            raise OutcomeUnknown(id) from None
        finally:
            waits.leave(id, future)
        if found.state == "refused":
            raise Refused(found.code, pointer=found.pointer)
        return found

    async def evidence(self, env: str, *, with_bodies: bool = False) -> bytes:
        """Return the bundle of an exchange of this system's, for `lgsp evidence verify`; with the bodies that it sent, while they are held.

        Raises `Refused` when the bus says no, and `Unreachable`.
        """
        body = b"{}" if with_bodies else b""
        path, now = evidence_path(env), self._clock.now()
        authorization = self._compose.composer.asking(self.settings.bus, path, at=now, body=body)
        return await self._gateway.evidence(env, authorization, body)

    def _known_outcome(self, identifier: str) -> Outcome | None:
        found = outbox.outcome_of(self._box.reader, identifier)
        if found is None and outbox.state_of(self._box.reader, identifier) is None:
            raise Refused("not_found", "no such envelope in the outbox")
        return found

    async def _post(self, type_: str, stated: Stated) -> Sent:
        key = stated.get("key")
        first = outbox.by_key(self._box.reader, key) if key is not None else None
        if first is not None:
            return first
        letter = self._compose.letter(type_, stated)
        return await self._box.write(lambda writing: outbox.add(writing, letter), sure=True)

    async def _receipted(self, sent: Sent, seconds: float) -> Sent:
        self._sender.hurry()  # an event that somebody waits for goes out at once
        waits = self._sender.receipt_waits
        future = waits.wait(sent.id)
        try:
            if self._sender.was_transmitted(sent.id) or outbox.state_of(self._box.reader, sent.id) == "queued":
                receipt = await in_time(seconds, future)
                if receipt is not None:
                    return replace(sent, state="receipted", receipt=receipt)
        except TimeoutError:
            raise self._unknown(sent) from None
        finally:
            waits.leave(sent.id, future)
        self._raise_failure(sent.id)
        return outbox.by_id(self._box.reader, sent.id) or sent

    def _raise_failure(self, identifier: str) -> None:
        """Raise what is known to have gone wrong with an envelope; whoever is told this way need not be told again."""
        found = outbox.outcome_of(self._box.reader, identifier)
        if found is not None and found.state != "acked":
            self._box.post(lambda writing: outbox.notice(writing, found))
            raise Refused(found.code or found.state, pointer=found.pointer)

    def _unknown(self, sent: Sent) -> Unreachable | OutcomeUnknown:
        reached = self._stream.is_open.is_set() or self._sender.was_transmitted(sent.id) or sent.receipt is not None
        return OutcomeUnknown(sent.id) if reached else Unreachable(sent.id)

    # --- receiving ------------------------------------------------------------------------------------------------------------------

    async def inbox(self, *, quiet: float | None = None) -> AsyncIterator[Message]:
        """Yield each message that no `request` waits for, in order of arrival; it is delivered again until its effect is done.

        Ends when the client does, and after `quiet` seconds in which nothing came.
        """
        while (message := await self._arrived(quiet)) is not None:
            yield message
        if self._broken is not None:
            raise self._broken

    async def _arrived(self, within: float | None) -> Message | None:
        if within is None:
            return await self._receiver.arrivals.next()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                return await self._receiver.arrivals.next()
        return None

    async def failures(self, *, quiet: float | None = None) -> AsyncIterator[Failure]:
        """Yield each envelope that came to a bad end and was not acted on, those of earlier runs first.

        Ends when the client does, and after `quiet` seconds in which nothing of the kind happened.
        """
        shown: set[tuple[str, str]] = set()
        is_quiet = False
        while not (is_quiet or self._is_over):
            self._sender.failed.clear()
            for outcome in outbox.unnoticed(self._box.reader):
                if (outcome.env, outcome.to) not in shown:
                    shown.add((outcome.env, outcome.to))
                    yield Failure(outcome=outcome, act=lambda outcome: self._acting(outcome, shown))
            is_quiet = not await self._something_failed(quiet)
        if self._broken is not None:
            raise self._broken

    async def _something_failed(self, within: float | None) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                return await self._sender.failed.wait()
        return False

    def put_back(self, message: Message, code: str, after: float | None = None) -> None:
        """Ask the bus to deliver a message again, in `after` seconds or when it thinks fit."""
        self._receiver.put_back(message, code, after)

    def shelve(self, message: Message) -> None:
        """Settle a reply that nobody acts on now; under a key it is kept, so that a later `request` with the key finds it."""
        self._receiver.shelve(message)

    @asynccontextmanager
    async def _acting(self, outcome: Outcome, shown: set[tuple[str, str]]) -> AsyncIterator[Work]:
        work = Work(compose=self._compose)
        yield work
        await self._box.write(lambda writing: _acted(writing, outcome, work))
        shown.discard((outcome.env, outcome.to))  # what was parked may be replayed, and come to another end

    # --- the program's own tables ---------------------------------------------------------------------------------------------------

    async def write(self, change: Callable[[Tables], T]) -> T:
        """Return the result of a function of the box's tables, run in one transaction on the box's thread."""
        return await self._box.write(lambda writing: change(Tables(writing.connection)))

    def read(self, sql: str, params: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a short query on the box."""
        return self._box.reader.execute(sql, params).fetchall()

    def work(self) -> AbstractAsyncContextManager[Work]:
        """Open a block whose statements and envelopes become durable together, outside of any message."""
        return self._working()

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[Work]:
        work = Work(compose=self._compose)
        yield work
        await self._box.write(lambda writing: carry_out(writing, work))

    # --- the stream -----------------------------------------------------------------------------------------------------------------

    def opened(self, welcome: Welcome) -> None:
        """Send what is due over a new stream."""
        self._sender.opened()
        self._sender.compare_clock((welcome.now - self._clock.now()).total_seconds())
        self._receiver.opened()
        self._resuming.opened(welcome)
        self._joining.opened()

    def closed(self) -> None:
        """Take back what no answer came for."""
        self._sender.backlog.closed()
        self._resuming.closed()
        self._look_quiet()

    def ended(self, url: str, ended: Ended) -> None:
        """Remember why there is no stream."""
        self._joining.ended(url, ended)

    async def hear(self, found: Sequence[dict[str, Any]]) -> None:
        """Take the frames of a message in their order, deliveries that follow each other at once."""
        for op, row in itertools.groupby(found, key=itemgetter("op")):
            if op == "deliver":
                await self._receiver.deliver([frames.handed(frame) for frame in row])
            else:
                for frame in row:
                    await self._frame(frame)
        self._look_quiet()

    async def _frame(self, frame: dict[str, Any]) -> None:
        """Hand a frame to the side that it concerns; what a later protocol adds is left alone."""
        match frame["op"]:
            case "receipt":
                await self._sender.receipt(frame)
            case "settled":
                self._receiver.confirmed(frames.text(frame, "env"))
            case "outcome":
                await self._sender.outcome(frames.became(frame))
            case "refused":
                self._sender.refused(frame)
                if frames.may_repeat_ack(frame):
                    self._receiver.refused(frames.text(frame, "env"))
                else:
                    self._receiver.not_taken(str(frame.get("env", "")))

    def _committed(self, committed: Committed) -> None:
        if committed.queued:
            self._sender.added(committed.queued)
        for env, statement in committed.acks:
            self._receiver.acked(env, statement)

    # --- life -----------------------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _running(self, drain: float) -> AsyncIterator[None]:
        # A task of its own and no group around the caller's block: his exceptions are to reach him as they are.
        running = asyncio.create_task(self._run())
        running.add_done_callback(self._stopped)
        try:
            yield
        finally:
            await self._drain(drain)
            running.cancel()
            await asyncio.wait([running])  # and not the task itself: whoever is called off here is to learn of it
            if not running.cancelled():
                running.result()

    async def _run(self) -> None:
        await self._box.write(self._forget)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._stream.run())
            tasks.create_task(self._resuming.run())
            tasks.create_task(self._joining.run())
            tasks.create_task(self._keep_leases())
            tasks.create_task(self._keep_forgetting())
            if self._certificate is not None:
                tasks.create_task(self._certificate.keep_fresh())

    def _forget(self, writing: Writing) -> None:
        before = self._clock.now() - KEPT
        outbox.forget(writing, before, self._clock.now())
        marks.forget(writing, before)

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(LEASES_LOOKED_AT)
            self._receiver.extend()

    async def _keep_forgetting(self) -> None:
        """Keep the box of a program that runs for months from growing for as long."""
        while True:
            await asyncio.sleep(self._forget_every)
            self._box.post(self._forget)

    def _stopped(self, running: asyncio.Task[None]) -> None:
        """Wake everybody who waits when the client cannot go on."""
        if not running.cancelled() and running.exception() is not None:
            self._broken = running.exception()
            get_logger().error("task.failed", task="client", exc_info=self._broken)
        self._is_over = True
        self._joining.over(self._broken)
        self._receiver.arrivals.close()
        self._sender.failed.set()

    async def _drain(self, seconds: float) -> None:
        """Let what is on its way arrive, while a stream is open."""
        self._receiver.is_ending = True
        self._sender.hurry()
        self._box.hurry()
        self._look_quiet()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._quiet.wait()
        self._sender.backlog.stop()
        self._receiver.stop()

    def _look_quiet(self) -> None:
        """Note, while the client is ending, that nothing is on its way any more, or has no way to go."""
        if not self._receiver.is_ending:
            return
        is_done = self._sender.backlog.empty and self._receiver.quiet
        if is_done or not self._stream.is_open.is_set():
            self._quiet.set()


def _acted(writing: Writing, outcome: Outcome, work: Work) -> None:
    outbox.notice(writing, outcome)
    carry_out(writing, work)
