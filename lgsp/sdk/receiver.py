"""The receiving side of a client: deliveries are checked, handed to the program once, settled with the ack that is durable beside its effect.

What is in hand is known by env hash, so that a second delivery of it changes the lease and nothing else; what was dealt with before, in this
process or another, is answered with the ack of that time.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from lgsp.domain import envelope, statements, strictjson
from lgsp.domain.directory import Directory
from lgsp.domain.envelope import Wire
from lgsp.errors import Refusal
from lgsp.gathering import Gathering
from lgsp.logs import get_logger
from lgsp.sdk import frames, marks, outbox, trust
from lgsp.sdk.arrivals import Arrivals
from lgsp.sdk.box import Box, Writing
from lgsp.sdk.directories import Directories
from lgsp.sdk.errors import ClientError, NotReady, Reject, Retry
from lgsp.sdk.frames import Handed
from lgsp.sdk.message import Compose, Effect, Message, carry_out
from lgsp.sdk.trust import Believed, Trust
from lgsp.tracing import Traces

EXTEND_AFTER: Final = 120.0
"""Seconds in hand after which a lease (5 minutes) is extended, and again after as many."""
HOLD_MOST: Final = 600.0
"""Seconds in hand after which it is not extended any more: the row decides again (protocol section 5)."""
DIRECTORY_PAUSE: Final = 5.0
"""Seconds after which a delivery is asked for again whose directory could not be fetched."""
AGAIN_FIRST: Final = 0.5
AGAIN_LONGEST: Final = 30.0
"""Seconds after which acks and nacks go out again that the bus could not write down; the pause doubles until it takes an ack."""
NACKS_KEPT: Final = 1024
"""Nacks that are remembered for the case that the bus refuses them; it does not confirm those that it takes."""


class Receiver:
    """Messages to this system, from the stream to the program and back as acks."""

    def __init__(
        self,
        *,
        box: Box,
        trust: Trust,
        compose: Compose,
        directories: Directories,
        put: Callable[[bytes], None],
        window: int,
    ) -> None:
        self.arrivals = Arrivals()
        self.is_ending = False
        self._box = box
        self._trust = trust
        self._compose = compose
        self._directories = directories
        self._put = put
        self._window = window
        self._in_hand: dict[str, Message] = {}
        self._expected: dict[str, list[asyncio.Future[Message]]] = {}
        self._unsettled: set[str] = set()
        self._refused: set[str] = set()
        self._nacks: OrderedDict[str, bytes] = OrderedDict()
        self._repeating: asyncio.TimerHandle | None = None
        self._pause = AGAIN_FIRST
        self._traces = Traces.found()
        self._credit: Gathering[int] = Gathering(self._give_credit)
        self._confirmed: Gathering[str] = Gathering(self._mark_settled)

    # --- the stream -----------------------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """Repeat the acks that the bus has not confirmed, then allow deliveries."""
        self.stop()
        self._nacks.clear()  # with the old stream its leases went back
        for env, statement in marks.unsettled(self._box.reader):
            self.acked(env, statement)
        for message in self._in_hand.values():
            message.has_credit = False
        room = max(self._window - len(self._in_hand), 1)
        self._put(frames.credit(room, room * 64 * 1024))

    def acked(self, env: str, statement: str) -> None:
        """Send an ack that is durable."""
        self._unsettled.add(env)
        self._put(frames.ack(statement))

    def confirmed(self, env: str) -> None:
        """The bus has the ack."""
        self._pause = AGAIN_FIRST
        self._unsettled.discard(env)
        self._confirmed.add(env)

    def not_taken(self, env: str) -> None:
        """Wait no more on this stream for an ack that the bus does not take; it is repeated on the next one."""
        self._unsettled.discard(env)

    def refused(self, env: str) -> None:
        """Have an ack or nack sent again that the bus could not take just now: the delivery would wait for the end of its lease."""
        self._refused.add(env)
        if self._repeating is None:
            self._repeating = asyncio.get_running_loop().call_later(self._pause, self._repeat)
            self._pause = min(self._pause * 2, AGAIN_LONGEST)

    def _repeat(self) -> None:
        refused = self._refused
        self.stop()
        for env, statement in marks.unsettled(self._box.reader):
            if env in refused:
                self.acked(env, statement)
        for env in refused & self._nacks.keys():
            self._put(self._nacks[env])

    def _nack(self, env: str, lease: str, code: str, after: float | None) -> None:
        self._nacks[env] = frame = frames.nack(env, lease, code, after)
        self._nacks.move_to_end(env)
        if len(self._nacks) > NACKS_KEPT:
            self._nacks.popitem(last=False)
        self._put(frame)

    def stop(self) -> None:
        """Repeat nothing that was refused; all acks go out when the next stream opens."""
        if self._repeating is not None:
            self._repeating.cancel()
        self._repeating, self._refused = None, set()

    @property
    def quiet(self) -> bool:
        """Whether the bus has every ack that was sent."""
        return not self._unsettled

    async def deliver(self, handed: Sequence[Handed]) -> None:
        """Take deliveries that came together: answer each, refuse it or hand it to the program."""
        fresh: dict[str, Handed] = {}
        for each in handed:
            self._nacks.pop(each.env, None)
            held = self._in_hand.get(each.env)
            if held is not None:
                held.lease = each.lease
            if held is not None or each.env in fresh:
                self._credit.add(each.size)
            if held is None:
                fresh[each.env] = each  # of one that came twice the last lease holds
        directories = [await self._directory_of(each) for each in fresh.values()]
        # From here on nothing is awaited: what the box knows is still so when its turn comes.
        known = marks.find(self._box.reader, list(fresh))
        for (env, each), directory in zip(fresh.items(), directories, strict=True):
            mark = known.get(env)
            if mark is not None and mark.state == "done":
                self.acked(env, mark.statement)
                self._credit.add(each.size)
                continue
            believed = self._believed(each, directory)
            if believed is not None:
                self._take(each, believed, uncertain=mark is not None)

    async def _directory_of(self, handed: Handed) -> Directory | Refusal | ClientError:
        """Return the version of the directory that a delivery is to be judged by, or why there is none."""
        try:
            return await self._directories.at(trust.policy_of(handed.receipt))
        except (Refusal, ClientError) as error:
            return error

    def _believed(self, handed: Handed, directory: Directory | Refusal | ClientError) -> Believed | None:
        """Return what the delivery says, or put it back with the code of what is wrong with it."""
        try:
            if not isinstance(directory, Directory):
                raise directory
            return self._trust.delivery(handed, directory)
        except Refusal as refusal:
            code, after = refusal.code, None
        except ClientError:
            code, after = "unavailable", DIRECTORY_PAUSE
        get_logger().warning("client.refused", code=code, env=handed.env)
        self._nack(handed.env, handed.lease, code, after)
        self._credit.add(handed.size)
        return None

    def _take(self, handed: Handed, believed: Believed, *, uncertain: bool) -> None:
        manifest = believed.manifest
        cause = manifest.text("causationid") if manifest.is_reply else ""
        asked = outbox.by_id(self._box.reader, cause) if cause else None
        message = Message(
            manifest=manifest,
            body=believed.body,
            env=handed.env,
            attempt=handed.attempt,
            key=asked.key if asked else None,
            uncertain=uncertain,
            wire=handed.wire,
            settles=self,
            lease=handed.lease,
            held_since=asyncio.get_running_loop().time(),
        )
        self._in_hand[handed.env] = message
        if cause in self._expected:
            self.shelve(message)
        else:
            self.arrivals.push(message, cause)

    def extend(self) -> None:
        """Ask for longer leases where a program still works on a message."""
        now = asyncio.get_running_loop().time()
        for message in self._in_hand.values():
            if EXTEND_AFTER <= now - message.held_since <= HOLD_MOST:
                self._put(frames.extend(message.env, message.lease))

    # --- replies that a call waits for -----------------------------------------------------------------------------------------------

    def expect(self, request: str) -> asyncio.Future[Message]:
        """Return what the reply to a request is handed to, wherever it is: kept, arrived, or still to come."""
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        kept = marks.kept_reply(self._box.reader, request)
        if kept is not None:
            future.set_result(self._kept(kept, request))
            return future
        self._expected.setdefault(request, []).append(future)
        waiting = self.arrivals.claim(request)
        if waiting is not None:
            self.shelve(waiting)
        return future

    def give_up(self, request: str, future: asyncio.Future[Message]) -> None:
        """Wait no longer for the reply to a request; the empty place stays, so that a late reply is shelved."""
        waiting = self._expected.get(request, [])
        if future in waiting:
            waiting.remove(future)

    def fail_expected(self, request: str, error: Exception) -> bool:
        """Tell the calls that wait for a reply that none will come; False when no call waits."""
        waiting = [future for future in self._expected.pop(request, []) if not future.done()]
        for future in waiting:
            future.set_exception(error)
        return bool(waiting)

    def shelve(self, message: Message) -> None:
        """Settle a reply and hand it to the calls that wait for it; when its request had a key it is kept for a rerun."""
        item = statements.ack_item(message.env, "accepted")
        cause = message.manifest.text("causationid")

        def operation(writing: Writing) -> None:
            marks.settle(writing, message.manifest, message.env, item)
            if message.key is not None:
                marks.keep_reply(writing, message.env, cause, message.wire)

        def done(_: None) -> None:
            self._leave(message)
            for future in self._expected.pop(cause, []):
                if not future.done():
                    future.set_result(message)

        def failed(error: Exception) -> None:
            self.put_back(message, "failed", None)
            self.fail_expected(cause, error)

        self._box.post(operation, done=done, failed=failed)

    def _kept(self, wire: Wire, request: str) -> Message:
        """Return a reply that was settled earlier; it was verified then."""
        asked = outbox.by_id(self._box.reader, request)
        return Message(
            manifest=envelope.manifest_of(wire.compact),
            body=strictjson.parse(wire.body),
            env=wire.hash,
            attempt=1,
            key=asked.key if asked else None,
            uncertain=False,
            wire=wire,
            settles=self,
            is_settled=True,
        )

    # --- effects -------------------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def effect(self, message: Message, *, outside: bool) -> AsyncIterator[Effect]:
        """Run the block; settle the message when it ends well, put it back when it does not."""
        manifest = message.manifest
        effect = Effect(compose=self._compose, request=manifest)
        with self._traces.span("handle", parent=manifest.text("traceparent"), type=manifest.type, env=message.env):
            if outside:
                await self._box.write(lambda writing: marks.begin(writing, manifest, message.env))
            try:
                try:
                    yield effect
                    await self._settle(message, effect)
                except Reject as rejection:
                    effect.refuse(rejection)
                    await self._settle(message, effect)
            except (Retry, NotReady) as pause:
                if outside and not message.uncertain:  # whether an earlier effect took place is no clearer than before
                    await self._box.write(lambda writing: marks.withdraw(writing, message.env))
                self.put_back(message, pause.code, pause.after)
            except asyncio.CancelledError:
                if not self.is_ending:  # else what is in hand goes back with the stream, as no attempt
                    self.put_back(message, "cancelled", None)
                raise
            except Exception:
                self.put_back(message, "failed", None)
                raise

    async def _settle(self, message: Message, effect: Effect) -> None:
        item = statements.ack_item(message.env, effect.outcome, code=effect.code, pointer=effect.pointer)

        def operation(writing: Writing) -> None:
            marks.settle(writing, message.manifest, message.env, item)
            carry_out(writing, effect)

        is_mark_alone = not (effect.steps or effect.letters)
        await self._box.write(operation, sure=is_mark_alone)
        self._leave(message)

    def put_back(self, message: Message, code: str, after: float | None = None) -> None:
        """Ask the bus to deliver a message again, in `after` seconds or when it thinks fit."""
        if message.env in self._in_hand:
            self._nack(message.env, message.lease, code, after)
        self._leave(message)

    def _leave(self, message: Message) -> None:
        """The message is in hand no more: its place is free."""
        message.is_settled = True
        if self._in_hand.pop(message.env, None) is not None and message.has_credit:
            self._credit.add(message.size)

    def _give_credit(self, sizes: list[int]) -> None:
        self._put(frames.credit(len(sizes), sum(sizes)))

    def _mark_settled(self, envs: list[str]) -> None:
        # What is lost of this in a crash makes for a few acks that are sent once more.
        self._box.post(lambda writing: marks.settled(writing, envs), lazy=True, sure=True)
