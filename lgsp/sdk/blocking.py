"""The client for programs without an event loop: scripts, batch jobs, programs with threads of their own.

    with BlockingClient.open(SystemSettings.load(path)) as client:
        reply = client.request("vn.lgsp…v1", audience="urn:lgsp:…", schema="urn:lgsp:schema:…", body={…}, key="vessel 17")
        for message in client.inbox(quiet=5):
            with message.effect() as effect:
                effect.reply({…})

Each method is the twin of `client.Client`'s, with the same words, errors and box; it waits where that one is awaited. Any thread may call. How
waiting works is `background`'s.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self, TypeVar, Unpack

from lgsp.domain import names
from lgsp.domain.directory import Directory
from lgsp.domain.envelope import Manifest
from lgsp.logs import get_logger
from lgsp.ports.clock import Clock
from lgsp.sdk.background import Background
from lgsp.sdk.client import Client
from lgsp.sdk.composition import Stated, Told
from lgsp.sdk.errors import AdapterError, Closed, ConfigInvalid, Reject, Retry
from lgsp.sdk.message import Effect, Failure, Message, Tables, Value, Work
from lgsp.sdk.outbox import Outcome, Sent
from lgsp.sdk.runner import withheld
from lgsp.sdk.settings import SystemSettings
from lgsp.sdk.surroundings import Surroundings

T = TypeVar("T")
CLOSING: Final = 20.0
"""Seconds that closing may take beside the drain: the goodbye to the gateway has 10 of them."""


Handler = Callable[["BlockingMessage"], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockingMessage:
    """A message whose sender, receipt, audience and bytes were verified."""

    message: Message
    background: Background = field(repr=False)

    @property
    def manifest(self) -> Manifest:
        """What the sender signed."""
        return self.message.manifest

    @property
    def body(self) -> Any:  # noqa: ANN401 - any JSON value
        """The parsed body."""
        return self.message.body

    @property
    def env(self) -> str:
        """The env hash."""
        return self.message.env

    @property
    def attempt(self) -> int:
        """1 for the first time that counts."""
        return self.message.attempt

    @property
    def key(self) -> str | None:
        """The program's key of the request that this answers, where it gave one."""
        return self.message.key

    @property
    def uncertain(self) -> bool:
        """An effect outside of the box had begun when a program last dealt with this: whether it took place is for the program to find out."""
        return self.message.uncertain

    @property
    def is_settled(self) -> bool:
        """Whether it has been dealt with."""
        return self.message.is_settled

    @property
    def id(self) -> str:
        """The envelope's id."""
        return self.message.id

    @property
    def type(self) -> str:
        """The message type."""
        return self.message.type

    @property
    def source(self) -> str:
        """The sending system."""
        return self.message.source

    def effect(self, *, outside: bool = False) -> AbstractContextManager[Effect]:
        """Deal with the message in a block; with `outside` a mark says beforehand that an effect elsewhere is about to begin.

        Inside the block `Reject` answers the sender for good, `Retry` and `NotReady` put the message back; all three end the block quietly.
        Any other exception puts the message back and goes on its way.
        """
        return self.background.block(lambda: self.message.effect(outside=outside))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockingFailure:
    """Something sent that the bus or a receiver refused, or that was parked or expired: no answer will come."""

    failure: Failure
    background: Background = field(repr=False)

    @property
    def outcome(self) -> Outcome:
        """What became of it."""
        return self.failure.outcome

    def effect(self) -> AbstractContextManager[Work]:
        """Act on it in a block; when that ends well, the failure is not shown again."""
        return self.background.block(self.failure.effect)


class BlockingClient:
    """One system on the bus."""

    kind: ClassVar[type[Client]] = Client
    """What runs on the loop; a test kit puts its own in place."""

    def __init__(self, client: Client, background: Background) -> None:
        self.settings = client.settings
        self._client = client
        self._background = background

    @classmethod
    @contextmanager
    def open(
        cls,
        settings: SystemSettings,
        *,
        connect_within: float | None = 10.0,
        drain: float = 5.0,
        window: int = 256,
        around: Surroundings | None = None,
    ) -> Iterator[Self]:
        """Open the box and the stream for the length of a block.

        Waits `connect_within` seconds for a gateway and raises `Unreachable`, or `Refused` when it does not let this system in: at once where
        every address says no for good. None does not wait. At the end it gives what is in the outbox `drain` seconds to go out. `window` is
        how many messages may be in hand.
        """
        background = Background(f"client of {names.short_system(settings.system)}", patience=drain + CLOSING)

        @asynccontextmanager
        async def opening() -> AsyncIterator[Client]:
            async with cls.kind.open(
                settings, connect_within=connect_within, drain=drain, window=window, around=around
            ) as client:
                background.awaited.add(await client.write(lambda _tables: threading.get_ident()))
                yield client

        client = background.open(opening())
        try:
            yield cls(client, background)
        finally:
            background.close()

    @property
    def directory(self) -> Directory:
        """The newest version of the directory that was seen; version 0 before the first."""
        return self._client.directory

    @property
    def clock(self) -> Clock:
        """The clock that the client goes by."""
        return self._client.clock

    def ready(self, within: float) -> None:
        """Wait up to `within` seconds for a stream and the newest directory; raise `Unreachable`, or `Refused`, as `open` does."""
        self._background.call(self._client.ready(within))

    # --- sending --------------------------------------------------------------------------------------------------------------------

    def send(
        self,
        type: str,  # noqa: A002 - the envelope's attribute has this name
        *,
        wait: bool = True,
        timeout: float = 30.0,
        **stated: Unpack[Stated],
    ) -> Sent:
        """Send an envelope and return it with its receipt; with `wait=False` once it is durable in the outbox.

        With a `key` that was used before, the first envelope is returned and nothing new is sent. Raises `Refused`, or `Unreachable` or
        `OutcomeUnknown` after `timeout` seconds, when the envelope stays in the outbox and goes on its way.
        """
        return self._background.call(self._client.send(type, wait=wait, timeout=timeout, **stated))

    def publish(
        self,
        type: str,  # noqa: A002 - the envelope's attribute has this name
        *,
        wait: bool = True,
        timeout: float = 30.0,
        **told: Unpack[Told],
    ) -> Sent:
        """Send an event to all who subscribe to its type at that moment, as `send` does; with no subscriber it is accepted and done."""
        return self._background.call(self._client.publish(type, wait=wait, timeout=timeout, **told))

    def request(
        self,
        type: str,  # noqa: A002 - the envelope's attribute has this name
        *,
        timeout: float = 30.0,
        **stated: Unpack[Stated],
    ) -> BlockingMessage:
        """Send a request and return its reply, settled; under a `key` a rerun returns the same reply.

        Raises `Refused` when the bus or the receiver says no, and `Unreachable` or `OutcomeUnknown` after `timeout` seconds.
        """
        return self._of(self._background.call(self._client.request(type, timeout=timeout, **stated)))

    def outcome(self, id: str, timeout: float = 30.0) -> Outcome:  # noqa: A002 - as above
        """Return what became of an envelope at its receiver; raise `Refused` when the bus refused it, `OutcomeUnknown` after `timeout` seconds."""
        return self._background.call(self._client.outcome(id, timeout))

    def evidence(self, env: str, *, with_bodies: bool = False) -> bytes:
        """Return the bundle of an exchange of this system's, for `lgsp evidence verify`; with the bodies that it sent, while they are held.

        Raises `Refused` when the bus says no, and `Unreachable`.
        """
        return self._background.call(self._client.evidence(env, with_bodies=with_bodies))

    # --- receiving ------------------------------------------------------------------------------------------------------------------

    def inbox(self, *, quiet: float | None = None) -> Iterator[BlockingMessage]:
        """Yield each message that no `request` waits for, in order of arrival; it is delivered again until its effect is done.

        Ends when the client does, and after `quiet` seconds in which nothing came.
        """
        for message in self._until_closed(self._client.inbox(quiet=quiet)):
            yield self._of(message)

    def serve(
        self, handlers: Mapping[str, Handler], *, recover: Handler | None = None, quiet: float | None = None
    ) -> None:
        """Hand each message to the handler of its type, one after the other in this thread, until the inbox ends.

        What a handler raises is answered as `run_adapter` answers it: `Reject` tells the sender, `Retry` and `NotReady` put the message
        back, and so does any other exception, which is logged without its words. `ConfigInvalid` ends the loop. A message that its handler
        leaves undone, or that has none, is put back until the bus parks it; a reply without a handler is settled. An uncertain message goes
        to `recover` in place of its handler; without it, it is put back until the bus parks it for an operator.
        """
        for message in self.inbox(quiet=quiet):
            if message.type not in handlers and message.manifest.is_reply:
                self.shelve(message)
            else:
                handler = handlers.get(message.type, _unhandled)
                self._handle(message, (recover or _unrecovered) if message.uncertain else handler)

    def _handle(self, message: BlockingMessage, handler: Handler) -> None:
        try:
            handler(message)
            if not message.is_settled:
                raise Retry(code="unsettled")
        except ConfigInvalid:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a handler raises, the next message is handled
            self._mishap(message, error)

    def _mishap(self, message: BlockingMessage, error: Exception) -> None:
        code = error.code if isinstance(error, AdapterError) else "failed"
        get_logger().error(
            "adapter.failed",
            system=names.short_system(self.settings.system),
            code=code,
            env=message.env,
            exc_info=withheld(error),
        )
        if message.is_settled:
            return
        with contextlib.suppress(Closed):  # the bus delivers it again when its lease has run out, and the inbox ends
            if isinstance(error, Reject):
                with message.effect() as effect:
                    effect.refuse(error)
            else:
                self.put_back(message, code, getattr(error, "after", None))

    def failures(self, *, quiet: float | None = None) -> Iterator[BlockingFailure]:
        """Yield each envelope that came to a bad end and was not acted on, those of earlier runs first.

        Ends when the client does, and after `quiet` seconds in which nothing of the kind happened.
        """
        for failure in self._until_closed(self._client.failures(quiet=quiet)):
            yield BlockingFailure(failure=failure, background=self._background)

    def put_back(self, message: BlockingMessage, code: str, after: float | None = None) -> None:
        """Ask the bus to deliver a message again, in `after` seconds or when it thinks fit."""
        self._background.call(_on_loop(lambda: self._client.put_back(message.message, code, after)))

    def shelve(self, message: BlockingMessage) -> None:
        """Settle a reply that nobody acts on now; under a key it is kept, so that a later `request` with the key finds it."""
        self._background.call(_on_loop(lambda: self._client.shelve(message.message)))

    # --- the program's own tables ---------------------------------------------------------------------------------------------------

    def write(self, change: Callable[[Tables], T]) -> T:
        """Return the result of a function of the box's tables, run in one transaction on the box's thread."""
        return self._background.call(self._client.write(change))

    def read(self, sql: str, params: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a short query on the box."""
        return self._background.call(_on_loop(lambda: self._client.read(sql, params)))

    def work(self) -> AbstractContextManager[Work]:
        """Open a block whose statements and envelopes become durable together, outside of any message."""
        return self._background.block(self._client.work)

    def _until_closed(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Yield what comes; that the client is closed, be it while the next one is asked for, is the end and no error."""
        with contextlib.suppress(Closed):
            while (item := self._background.call(_next(items))) is not None:
                yield item

    def _of(self, message: Message) -> BlockingMessage:
        return BlockingMessage(message=message, background=self._background)


async def _next(items: AsyncIterator[T]) -> T | None:
    return await anext(items, None)


async def _on_loop(function: Callable[[], T]) -> T:
    """Call a function on the loop's thread, to which what it touches belongs."""
    return function()


def _unhandled(_message: BlockingMessage) -> None:
    raise Retry(code="unhandled")


def _unrecovered(_message: BlockingMessage) -> None:
    raise Retry(code="uncertain")
