"""Runs an adapter: opens its client, checks what it may, waits until it is ready, hands it messages, pulls, and ends in order.

What the adapter raises decides what follows; the events that are logged carry names and codes, never a word out of a message or an exception.
"""

from __future__ import annotations

import asyncio
import importlib
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lgsp.domain import names
from lgsp.domain.directory import day_of
from lgsp.errors import Unusable
from lgsp.logs import get_logger
from lgsp.sdk.adapter import Adapter, handled_types, handlers_of
from lgsp.sdk.client import Client
from lgsp.sdk.errors import AdapterError, ClientError, ConfigInvalid, NotReady, Reject, Retry
from lgsp.sdk.manifest import AdapterManifest, AdapterSettings
from lgsp.sdk.message import Failure, Message
from lgsp.sdk.settings import SystemSettings
from lgsp.sdk.surroundings import Surroundings

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An adapter that was found fit to run."""

    manifest: AdapterManifest
    settings: SystemSettings
    values: AdapterSettings
    kind: type[Adapter]


def plan(manifest_path: Path, settings_path: Path) -> Plan:
    """Load manifest, settings and class; refuse as `adapter_invalid` or `config_invalid`, with all that is wrong in each."""
    manifest = AdapterManifest.load(manifest_path)
    settings = SystemSettings.load(settings_path)
    if not manifest.serves(settings.system):
        raise Unusable("config_invalid", f"{settings_path}: the adapter does not serve {settings.system}")
    kind = _load(manifest.adapter.code, manifest_path)
    problems = manifest.handler_problems(handled_types(kind))
    if problems:
        raise Unusable("adapter_invalid", f"{manifest_path}: {'; '.join(problems)}")
    return Plan(manifest=manifest, settings=settings, values=manifest.values(settings.settings), kind=kind)


def _load(code: str, manifest_path: Path) -> type[Adapter]:
    """Return the class that a manifest names; a module beside the manifest is found too."""
    module, _, name = code.partition(":")
    folder = str(manifest_path.absolute().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # noqa: BLE001 - a department's own code, and all of it runs when it is imported
        raise Unusable("adapter_invalid", f"{manifest_path}: class: {type(error).__name__}: {error}") from None
    if not isinstance(found, type) or not issubclass(found, Adapter):
        raise Unusable("adapter_invalid", f"{manifest_path}: class: {code} is no adapter")
    return found


async def run_adapter(
    manifest_path: Path,
    settings_path: Path,
    *,
    stop: asyncio.Event | None = None,
    around: Surroundings | None = None,
    drain: float = 10.0,
) -> None:
    """Run an adapter until SIGTERM, SIGINT or `stop`; raise `Unusable` for what no waiting mends.

    At the end messages in work get `drain` seconds, and so do envelopes and acks on their way.
    """
    found = plan(manifest_path, settings_path)
    # No more in hand than are handled at the same time: the bus draws by lanes, a queue of the adapter's own would not.
    window = found.manifest.concurrency
    with _signals(stop or asyncio.Event()) as stopping:
        async with Client.open(
            found.settings, connect_within=None, drain=drain, window=window, around=around
        ) as client:
            await Runner(_made(found, client), stopping, drain=drain).run()
    get_logger().info("adapter.stopped", system=names.short_system(found.settings.system))


def _made(found: Plan, client: Client) -> Adapter:
    try:
        return found.kind(client=client, manifest=found.manifest, settings=found.values)
    except ConfigInvalid as error:
        raise Unusable("config_invalid", error.problem) from None


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[asyncio.Event]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class Runner:
    """One adapter with an open client, from its first check to its end."""

    def __init__(self, adapter: Adapter, stop: asyncio.Event, *, drain: float) -> None:
        self._adapter = adapter
        self._client = adapter.client
        self._manifest = adapter.manifest
        self._system = names.short_system(adapter.client.settings.system)
        self._stop = stop
        self._drain = drain
        self._handlers = handlers_of(adapter)
        self._places = asyncio.Semaphore(adapter.manifest.concurrency)
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Run until told to stop; raise `Unusable` for what no waiting mends."""
        try:
            async with asyncio.TaskGroup() as tasks:
                work = tasks.create_task(self._work(tasks))
                await self._stop.wait()
                work.cancel()
                asyncio.get_running_loop().call_later(self._drain, self._cut)
        except BaseExceptionGroup as group:
            raise _meant(group) from None
        finally:
            await self._adapter.close()

    def _cut(self) -> None:
        """End the handlers that did not end by themselves; their messages are delivered again."""
        for task in self._running:
            task.cancel()

    async def _work(self, handling: asyncio.TaskGroup) -> None:
        await self._until_ready(self._admitted)
        await self._until_ready(self._adapter.check)
        get_logger().info("adapter.started", system=self._system, version=self._manifest.adapter.version)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._take_messages(handling))
            tasks.create_task(self._take_failures())
            if self._manifest.pull_every is not None:
                tasks.create_task(self._pull(self._manifest.pull_every))

    # --- getting ready --------------------------------------------------------------------------------------------------------------

    async def _admitted(self) -> None:
        """See whether what the manifest asks for is granted, and its topics are subscribed to, in the newest directory."""
        try:
            await self._client.ready(LONGEST_PAUSE)
        except ClientError as error:
            raise _Away(getattr(error, "code", "unavailable")) from None
        today = day_of(self._client.clock.now())
        missing = self._manifest.overreach(self._client.directory, self._client.settings.system, today)
        if missing:
            raise Unusable("adapter_overreaches", "; ".join(missing))
        silent = self._manifest.unsubscribed(self._client.directory, self._client.settings.system)
        if silent:
            raise Unusable("adapter_unsubscribed", "; ".join(silent))

    async def _until_ready(self, step: Callable[[], Awaitable[None]]) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                return await step()
            except NotReady as waiting:
                get_logger().warning("adapter.waiting", system=self._system, code=waiting.code)
                await asyncio.sleep(waiting.after or pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    # --- messages -------------------------------------------------------------------------------------------------------------------

    async def _take_messages(self, handling: asyncio.TaskGroup) -> None:
        inbox = self._client.inbox()
        while True:
            await self._places.acquire()
            message = await anext(inbox)
            task = handling.create_task(self._handle(message))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._places.release()

    async def _handle(self, message: Message) -> None:
        """Hand a message to its handler, and put it back when that did not deal with it."""
        handler = self._handlers.get(message.type)
        if handler is None and message.manifest.is_reply:
            self._client.shelve(message)
            return
        try:
            await (self._adapter.recover if message.uncertain else handler or _unhandled)(message)
            if not message.is_settled:
                raise Retry(code="unsettled")
        except ConfigInvalid:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an adapter raises, the others go on
            await self._mishap(message, error)

    async def _mishap(self, message: Message, error: Exception) -> None:
        code = getattr(error, "code", "failed") if isinstance(error, AdapterError) else "failed"
        self._report(code, error, env=message.env)
        if message.is_settled:
            return
        if isinstance(error, Reject):
            await self._reject(message, error)
        else:
            self._client.put_back(message, code, getattr(error, "after", None))

    async def _reject(self, message: Message, rejection: Reject) -> None:
        try:
            async with message.effect() as effect:
                effect.refuse(rejection)
        except Exception as error:  # noqa: BLE001 - it could not be written down: the effect has put the message back
            self._report("failed", error, env=message.env)

    # --- failures and work of its own -----------------------------------------------------------------------------------------------

    async def _take_failures(self) -> None:
        async for failure in self._client.failures():
            await self._act_on(failure)

    async def _act_on(self, failure: Failure) -> None:
        try:
            await self._adapter.failed(failure)
        except ConfigInvalid:
            raise
        except Exception as error:  # noqa: BLE001 - it is shown again at the next start
            self._report("failed", error, env=failure.outcome.env)

    async def _pull(self, every: float) -> None:
        """Let the adapter look for work; while the system behind is away it is asked at growing intervals."""
        pause = every
        while True:
            try:
                await self._adapter.pull()
                pause = every
            except NotReady as waiting:
                get_logger().warning("adapter.waiting", system=self._system, code=waiting.code)
                pause = waiting.after or min(pause * 2, max(LONGEST_PAUSE, every))
            except ConfigInvalid:
                raise
            except Exception as error:  # noqa: BLE001 - the next pull tries again
                self._report("failed", error, env="")
            await asyncio.sleep(pause)

    def _report(self, code: str, error: Exception, *, env: str) -> None:
        get_logger().error("adapter.failed", system=self._system, code=code, env=env, exc_info=withheld(error))


class _Away(NotReady):
    """The bus, not the system behind the adapter, is not there yet; the client goes on trying, and is asked again soon."""

    def __init__(self, code: str) -> None:
        super().__init__(after=FIRST_PAUSE)
        self.code = code


class Withheld(Exception):
    """Stands in a log for an exception whose own words may hold somebody's data: its kind, and where it came from."""


def withheld(error: Exception) -> Withheld:
    """Return what may be logged of an adapter's exception."""
    return Withheld(type(error).__name__).with_traceback(error.__traceback__)


async def _unhandled(_message: Message) -> None:
    raise Retry(code="unhandled")


def _meant(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one exception that a group stands for, settings that no waiting mends first."""
    found = list(_flat(group))
    for error in found:
        if isinstance(error, ConfigInvalid):
            return Unusable("config_invalid", error.problem)
    return next((error for error in found if isinstance(error, Unusable)), found[0])


def _flat(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _flat(inner)
    else:
        yield error
