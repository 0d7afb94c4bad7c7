"""The loop on a thread of its own: an end that comes while it still opens, and one that takes too long."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from lgsp.sdk.background import Background


def test_what_is_still_opening_is_called_off_by_who_closes():
    background, begun = Background("slow to open", patience=10), threading.Event()

    @asynccontextmanager
    async def opening():
        begun.set()
        await asyncio.Event().wait()
        yield

    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(background.open, opening())
        assert begun.wait(10)
        background.close()
        with pytest.raises(asyncio.CancelledError):
            asking.result(timeout=10)


def test_whoever_closes_does_not_wait_longer_than_his_patience():
    background, let_go = Background("slow to close", patience=0.05), threading.Event()

    @asynccontextmanager
    async def closing():
        yield
        await asyncio.to_thread(let_go.wait, 10)

    background.open(closing())
    with pytest.raises(TimeoutError, match=r"slow to close has not ended in 0\.05 s"):
        background.close()
    let_go.set()
    background._thread.join(10)
    assert not background._thread.is_alive()
