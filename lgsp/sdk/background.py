"""An event loop on a thread of its own, for programs that have none: what is opened lives there, and other threads wait for what they ask of it.

Any number of threads may ask at once. Whoever is interrupted while waiting (Ctrl-C) takes back what was asked. What is still open when the
interpreter ends is closed then. What is run is the caller's.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

from lgsp.sdk.errors import Closed

T = TypeVar("T")


class Background:
    """One loop, one thread, one thing that is open as long as they last; `patience` is how many seconds its closing may take."""

    def __init__(self, name: str, *, patience: float) -> None:
        refuse_running_loop()
        self.awaited: set[int] = set()
        """Threads that what runs on the loop waits for: they may not wait for the loop."""
        self._patience = patience
        self._guard = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._is_entered = False
        self._is_over = False
        self._life: asyncio.Task[None]
        """From `open` on."""
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def open(self, life: AbstractAsyncContextManager[T]) -> T:
        """Start the thread, enter the block there and return what it gives; raise what it raises. Once only."""
        opened: Future[T] = Future()
        self._life = self._loop.create_task(self._live(life, opened))
        self._thread.start()
        # A daemon thread, since one that is waited for would keep an interpreter alive whose program has ended; so somebody has to close.
        atexit.register(self.close)
        try:
            return opened.result()
        except BaseException:
            self.close()
            raise

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and return its result; raise what it raises, `Closed` once it is closed."""
        try:
            self._refuse_this_thread()
            future = self._submit(work)
        except BaseException:
            work.close()
            raise
        try:
            return future.result()
        except CancelledError:
            raise Closed("it was closed meanwhile") from None
        except BaseException:
            future.cancel()  # for the one who waited and was interrupted; what is done already stays done
            raise

    @contextmanager
    def block(self, make: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
        """Run an asynchronous block around a plain one; an interruption of the latter ends the former as a cancelled task would."""
        around = make()
        entered = self.call(around.__aenter__())
        try:
            yield entered
        except Exception as error:
            if not self.call(_left(around, error)):
                raise
        except BaseException:
            self.call(_abandoned(around))
            raise
        else:
            self.call(_left(around, None))

    def close(self) -> None:
        """Leave the block and end the thread; raise what leaving raises, `TimeoutError` when it takes longer than the patience."""
        atexit.unregister(self.close)
        with self._guard:
            if not self._is_over:
                self._loop.call_soon_threadsafe(self._end)
        self._thread.join(self._patience)
        if self._thread.is_alive():
            raise TimeoutError(f"{self._thread.name} has not ended in {self._patience:g} s")
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _refuse_this_thread(self) -> None:
        refuse_running_loop()
        if threading.get_ident() in self.awaited:
            raise RuntimeError(
                "a change of the tables runs here, and the client waits for its end: ask before or after it"
            )

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        with self._guard:
            if self._is_over:
                raise Closed("it is closed")
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _end(self) -> None:
        if self._is_entered:
            self._stop.set()
        else:
            self._life.cancel()

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._life)
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    async def _live(self, life: AbstractAsyncContextManager[T], opened: Future[T]) -> None:
        try:
            async with life as entered:
                self._is_entered = True
                opened.set_result(entered)
                await self._stop.wait()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that opens or closes
            if opened.done():
                self._failure = error
            else:
                opened.set_exception(error)
        finally:
            await self._end_others()

    async def _end_others(self) -> None:
        """Let nobody wait for what will not come any more."""
        with self._guard:
            self._is_over = True
        await asyncio.sleep(0)  # what was asked before the line above is a task by now
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def _left(block: AbstractAsyncContextManager[Any], error: Exception | None) -> bool:
    if error is None:
        return bool(await block.__aexit__(None, None, None))
    return bool(await block.__aexit__(type(error), error, error.__traceback__))


async def _abandoned(block: AbstractAsyncContextManager[Any]) -> None:
    """Leave a block as a cancelled task does; Ctrl-C itself, raised on the loop, would end the loop."""
    cancelled = asyncio.CancelledError()
    with contextlib.suppress(asyncio.CancelledError):
        await block.__aexit__(type(cancelled), cancelled, None)


def refuse_running_loop() -> None:
    """Raise `RuntimeError` in a thread that runs an event loop: to wait there would stop everything that runs on it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("an event loop runs in this thread, and waiting would stop it: use the asynchronous form here")
